//! JSON laid out for people, its members and numbers left as the server wrote them.

use std::io::{self, Write};

/// Writes the JSON text `json` with `unit` for each level of nesting, and a line feed at the end.
///
/// The text is only laid out anew: nothing is parsed into values, so order and digits stay. What is
/// no JSON comes out as it is.
///
/// # Errors
/// Those of `out`.
pub(crate) fn indent(json: &[u8], unit: &str, out: &mut impl Write) -> io::Result<()> {
    let mut depth = 0_usize;
    let mut rest = json.trim_ascii();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'"' => {
                let end = string_end(rest);
                out.write_all(b"\"")?;
                out.write_all(&rest[..end])?;
                rest = &rest[end..];
            }
            b'{' | b'[' => {
                out.write_all(&[byte])?;
                rest = rest.trim_ascii_start();
                // Empty ones stay on their line.
                if let Some((&close @ (b'}' | b']'), tail)) = rest.split_first() {
                    out.write_all(&[close])?;
                    rest = tail;
                } else {
                    depth += 1;
                    new_line(out, unit, depth)?;
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                new_line(out, unit, depth)?;
                out.write_all(&[byte])?;
            }
            b',' => {
                out.write_all(b",")?;
                new_line(out, unit, depth)?;
            }
            b':' => out.write_all(b": ")?,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            other => out.write_all(&[other])?,
        }
    }
    out.write_all(b"\n")
}

/// Length of the string that `text` continues, its closing quote included.
fn string_end(text: &[u8]) -> usize {
    let mut escaped = false;
    let closing = text.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    closing.map_or(text.len(), |at| at + 1)
}

fn new_line(out: &mut impl Write, unit: &str, depth: usize) -> io::Result<()> {
    out.write_all(b"\n")?;
    (0..depth).try_for_each(|_| out.write_all(unit.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(json: &str, unit: &str) -> String {
        let mut out = Vec::new();
        indent(json.as_bytes(), unit, &mut out).expect("a Vec takes all");
        String::from_utf8(out).expect("UTF-8 in, UTF-8 out")
    }

    #[test]
    fn lays_out_as_go_does() {
        assert_eq!(
            laid_out(r#"[{"b":1,"a":[],"s":"x, \"y\": {\\"},2]"#, "\t"),
            "[\n\t{\n\t\t\"b\": 1,\n\t\t\"a\": [],\n\t\t\"s\": \"x, \\\"y\\\": {\\\\\"\n\t},\n\t2\n]\n"
        );
        assert_eq!(laid_out(" null\n", "\t"), "null\n");
        assert_eq!(laid_out("{ }", "  "), "{}\n");
    }

    #[test]
    fn agrees_with_serde_json() {
        let value = serde_json::json!({"a": [1, {"b": "ü\n"}, [[]], {}], "c": {"d": null}, "e": -1.5e300});
        let pretty = serde_json::to_string_pretty(&value).expect("serializes");
        assert_eq!(laid_out(&value.to_string(), "  "), pretty.clone() + "\n");
        assert_eq!(laid_out(&pretty, "  "), pretty + "\n");
    }

    #[test]
    fn broken_text_ends() {
        assert_eq!(laid_out(r#"{"a\"#, " "), "{\n \"a\\\n");
    }
}
