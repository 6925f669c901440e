//! One gzip member, inflated as its bytes come (RFC 1952).

use std::io::Write;

use flate2::write::GzDecoder;

use super::error::PcapError;

/// Inflates one member.
///
/// The caller takes the output after each step, so that a small input that inflates to much (up to
/// 1,032 times its size) costs time and no memory: a step yields about 32 KiB.
#[derive(Debug)]
pub(super) struct Member {
    decoder: GzDecoder<Vec<u8>>,
}

impl Default for Member {
    fn default() -> Self {
        Self {
            decoder: GzDecoder::new(Vec::new()),
        }
    }
}

impl Member {
    /// Takes part of `input`, which is not empty, and gives the number of bytes taken: none once the
    /// member has ended, with the right checksum.
    pub(super) fn write(&mut self, input: &[u8]) -> Result<usize, PcapError> {
        let taken = self.decoder.write(input).map_err(PcapError::Gzip)?;
        if taken == 0 {
            self.decoder.try_finish().map_err(PcapError::Gzip)?;
        }
        Ok(taken)
    }

    /// Brings out what is inflated but still held back by the decoder.
    pub(super) fn flush(&mut self) -> Result<(), PcapError> {
        self.decoder.flush().map_err(PcapError::Gzip)
    }

    /// At the end of the input: true if the member is whole and its checksum right.
    pub(super) fn is_whole(&mut self) -> bool {
        self.decoder.try_finish().is_ok()
    }

    /// What was inflated; the caller clears it.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        self.decoder.get_mut()
    }
}
