//! Where one message ends and the next begins.
//!
//! RFC 7047 §4.1 sends JSON values one after another with nothing between them, so the end of a value
//! is found by counting brackets outside of strings. Bytes are looked at once, however they arrive.

use bytes::{Bytes, BytesMut};

use super::error::OvsdbError;

/// Deepest nesting read. The protocol itself needs about 10; the JSON parser would stop at 128.
const MAX_DEPTH: u32 = 64;

/// Cuts a stream of bytes into JSON objects.
#[derive(Debug)]
pub(super) struct Splitter {
    /// Bytes at the front of the buffer that have been looked at.
    scanned: usize,
    depth: u32,
    in_string: bool,
    escaped: bool,
    max_message: usize,
}

impl Splitter {
    /// A splitter that refuses messages of more than `max_message` bytes.
    pub(super) fn new(max_message: usize) -> Self {
        Self {
            scanned: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            max_message,
        }
    }

    /// Takes the next whole object off the front of `buffer`; `None` if the rest of it is yet to come.
    ///
    /// # Errors
    /// [`OvsdbError::Protocol`] for anything that is not an object, is nested too deeply or is too long.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, OvsdbError> {
        if self.scanned == 0 {
            let blank = buffer
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
            let _blank = buffer.split_to(blank);
        }
        while let Some(&byte) = buffer.get(self.scanned) {
            if self.depth == 0 && byte != b'{' {
                let seen = buffer[..buffer.len().min(24)].escape_ascii();
                return Err(OvsdbError::Protocol(format!(
                    "it sent `{seen}`, not a JSON object"
                )));
            }
            self.scanned += 1;
            if self.step(byte)? {
                let end = std::mem::take(&mut self.scanned);
                return Ok(Some(buffer.split_to(end).freeze()));
            }
            if self.scanned >= self.max_message {
                let max = self.max_message;
                return Err(OvsdbError::Protocol(format!(
                    "it sent a message of more than {max} bytes"
                )));
            }
        }
        Ok(None)
    }

    /// True if `byte` is the last one of the object.
    fn step(&mut self, byte: u8) -> Result<bool, OvsdbError> {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Ok(false);
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(OvsdbError::Protocol(format!(
                        "it sent JSON nested more than {MAX_DEPTH} deep"
                    )));
                }
            }
            // Whether the brackets match is for the parser to say.
            b'}' | b']' => {
                self.depth -= 1;
                return Ok(self.depth == 0);
            }
            _ => {}
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]], max: usize) -> Result<Vec<Bytes>, OvsdbError> {
        let (mut splitter, mut buffer) = (Splitter::new(max), BytesMut::new());
        let mut messages = Vec::new();
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while let Some(message) = splitter.next(&mut buffer)? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn values_without_anything_between_them() {
        let messages = split(&[br#"{"a":"}{\""}{"b":[{}]}"#, b" \n {}"], 100).unwrap();
        assert_eq!(messages, [&br#"{"a":"}{\""}"#[..], br#"{"b":[{}]}"#, b"{}"]);
    }

    #[test]
    fn what_is_no_object_is_refused_at_once() {
        for garbage in [&b"HTTP/1.1 400"[..], b"[]", b"{}x", b"\"", b"}", b"\0\0\0"] {
            let error = split(&[garbage], 100).unwrap_err().to_string();
            assert!(error.contains("no OVSDB server"), "{error}");
        }
    }

    #[test]
    fn length_and_depth_are_bounded() {
        assert!(split(&[&[b'{'; 64]], 1000).unwrap().is_empty());
        assert!(split(&[&[b'{'; 65]], 1000).is_err());
        let long = [&b"{\""[..], &[b'x'; 200]].concat();
        assert!(
            split(&[&long], 200)
                .unwrap_err()
                .to_string()
                .contains("200 bytes")
        );
        assert!(split(&[&long], 300).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_messages(
            texts in proptest::collection::vec("[a-z\"\\\\{}\\[\\]]{0,12}", 1..6),
            cut in 1_usize..9,
        ) {
            let sent: Vec<Vec<u8>> = texts
                .iter()
                .map(|text| serde_json::to_vec(&serde_json::json!({"id": [text]})).unwrap())
                .collect();
            let stream = sent.concat();
            let chunks: Vec<&[u8]> = stream.chunks(cut).collect();
            let got = split(&chunks, 1000).unwrap();
            prop_assert_eq!(got.iter().map(|one| one.to_vec()).collect::<Vec<_>>(), sent);
        }

        #[test]
        fn any_bytes_are_messages_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = split(&[&bytes], 200);
        }
    }
}
