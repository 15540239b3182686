//! Free JSON objects of clients, brought into compact form.
//!
//! Members keep their order and numbers their digits; white space goes, and strings lose needless escapes, so that a
//! client that escapes more than it must is not charged for it.

use rollcall_presence::Meta;
use serde_json::Value;

/// Deepest nesting taken: other clients have to parse it inside a frame, and common parsers give up at 128.
const DEPTH_MAX: usize = 100;

/// Why an object is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("must be a JSON object nested at most {DEPTH_MAX} deep")]
    NotAnObject,
    #[error("must be at most {0} bytes in compact form")]
    TooLong(usize),
}

/// The object in `json` in compact form, at most `max` bytes.
pub(crate) fn compact(json: &str, max: usize) -> Result<Meta, Refused> {
    // Parsed for what it refuses: depth, lone surrogates, numbers that no client could read.
    if !matches!(serde_json::from_str::<Value>(json), Ok(Value::Object(_))) {
        return Err(Refused::NotAnObject);
    }
    let mut out = String::with_capacity(json.len().min(max));
    let mut depth = 0;
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| matches!(c, '"' | '{' | '[' | '}' | ']') || c.is_ascii_whitespace()) {
        out.push_str(&rest[..at]);
        let from = &rest[at..];
        let taken = match from.as_bytes()[0] {
            b'"' => string(from, &mut out).ok_or(Refused::NotAnObject)?,
            mark => {
                match mark {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                if !mark.is_ascii_whitespace() {
                    out.push(char::from(mark));
                }
                1
            }
        };
        if depth > DEPTH_MAX {
            return Err(Refused::NotAnObject);
        }
        rest = &from[taken..];
    }
    out.push_str(rest);
    Meta::from_compact_json(out, max).ok_or(Refused::TooLong(max))
}

/// Writes the string that `from` starts with in its shortest form, and says how much of `from` it was.
fn string(from: &str, out: &mut String) -> Option<usize> {
    let mut escaped = false;
    let end = 1 + from[1..].bytes().position(|b| {
        let ends = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        ends
    })?;
    let literal = &from[..=end];
    if literal.contains('\\') {
        let text: String = serde_json::from_str(literal).ok()?;
        out.push_str(&serde_json::to_string(&text).ok()?);
    } else {
        out.push_str(literal);
    }
    Some(literal.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_needless_escapes_go_and_the_rest_stays() {
        let json =
            "{ \"z\" : 1.50 ,\n\"a b\":[ true , null ],\"s\":\"\\u00e4 \\\" \\\\\", \"n\": 12345678901234567890123 }";
        let meta = compact(json, 1_000).unwrap();
        assert_eq!(
            meta.as_json(),
            "{\"z\":1.50,\"a b\":[true,null],\"s\":\"ä \\\" \\\\\",\"n\":12345678901234567890123}"
        );
    }

    #[test]
    fn the_size_counts_bytes_of_the_compact_form() {
        let json = format!("{{ \"k\" : \"{}\" }}", "x".repeat(92));
        assert!(compact(&json, 100).is_ok());
        assert_eq!(compact(&json, 99), Err(Refused::TooLong(99)));
    }

    #[test]
    fn what_is_no_object_or_unreadable_for_others_is_refused() {
        let deep = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(compact(&deep(99), 1_000).is_ok());
        for bad in ["[]", "1", "\"{}\"", "{\"a\":1e999}", "{\"a\":\"\\ud800\"}", &deep(100), &deep(50_000)] {
            assert_eq!(compact(bad, 200_000), Err(Refused::NotAnObject), "{:.20}", bad);
        }
    }
}
