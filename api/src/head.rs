//! One request's head as bytes: whether it may go on to hyper, and how far its body reaches. Pure.
//!
//! Uses hyper's own parser, so that both read the same. Refuses what two servers could read in two ways: more than one length, a
//! length beside chunks, more than one host. Source: RFC 9112, sections 3.2, 6.1 and 6.3.

use bytes::BytesMut;
use http::Uri;
use std::mem::MaybeUninit;

/// Most header lines of a request: hyper's bound.
const LINES_MAX: usize = 100;
/// Longest target of a request, bytes: the bound of the crate `http`.
const TARGET_MAX_BYTES: usize = 65_534;
/// What is kept of a line with a token that is too long for any, bytes.
pub(crate) const CLIPPED_BYTES: usize = 1_024;
/// No token has it: what was clipped never verifies.
const CLIP_MARK: u8 = b'~';
/// The lines that carry tokens.
const TOKEN_LINES: [&[u8]; 2] = [b"authorization:", b"sec-websocket-protocol:"];
/// Lines that a refused request goes without.
const FRAMING: [&str; 6] = ["content-length", "transfer-encoding", "expect", "upgrade", "connection", "trailer"];
/// What goes on to be refused when nothing of a head can be read.
pub(crate) const UNREADABLE: &[u8] = b"GET /v1/ HTTP/1.1\r\n\r\n";

/// What the service is told of a request that it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Note {
    /// Nothing.
    #[default]
    Plain,
    /// What follows it is not looked at: unless it is upgraded, it is the last one of its connection.
    Last,
    /// It has more than one length, or one that is none.
    Lengths,
    /// It has more than one host.
    Hosts,
    /// It is no HTTP.
    Malformed,
    /// Its head is too large.
    TooLarge,
    /// Its head did not come in time.
    Late,
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Not yet a head.
    Partial,
    /// A head of `len` bytes, with a body of so many, or `None` for one whose end is not looked for.
    Whole { len: usize, body: Option<u64> },
    /// A head to refuse, and what goes on instead of it.
    Refused(Note, Vec<u8>),
}

/// Looks at what came in since the last request's end.
pub(crate) fn look(bytes: &[u8]) -> Look {
    let mut lines = [const { MaybeUninit::uninit() }; LINES_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut lines) {
        Ok(httparse::Status::Partial) => Look::Partial,
        Ok(httparse::Status::Complete(len)) => match judged(&request) {
            Ok(body) => Look::Whole { len, body },
            Err(note) => Look::Refused(note, instead(&request)),
        },
        Err(httparse::Error::TooManyHeaders) => Look::Refused(Note::TooLarge, UNREADABLE.into()),
        Err(_) => Look::Refused(Note::Malformed, UNREADABLE.into()),
    }
}

/// How long the body is, or why there is no telling.
fn judged(request: &httparse::Request<'_, '_>) -> Result<Option<u64>, Note> {
    let (mut length, mut chunked, mut hosts) = (None, false, 0);
    let newer = request.version == Some(1);
    let mut upgrade = request.method == Some("CONNECT");
    for line in request.headers.iter() {
        let is = |name: &str| line.name.eq_ignore_ascii_case(name);
        match line.name.len() {
            4 if is("host") => hosts += 1,
            7 if is("upgrade") => upgrade |= newer,
            14 if is("content-length") => {
                let before = length.replace(digits(line.value).ok_or(Note::Lengths)?);
                before.map_or(Ok(()), |_| Err(Note::Lengths))?;
            }
            17 if is("transfer-encoding") => {
                if chunked || !newer || !line.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Note::Lengths);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    let target = request.path.unwrap_or("");
    if target.len() > TARGET_MAX_BYTES {
        return Err(Note::TooLarge);
    }
    if !plain(target) && target.parse::<Uri>().is_err() {
        return Err(Note::Malformed);
    }
    match (length, chunked) {
        (Some(_), true) => Err(Note::Lengths),
        _ if hosts > 1 => Err(Note::Hosts),
        (_, true) => Ok(None),
        _ if upgrade => Ok(None),
        (length, false) => Ok(Some(length.unwrap_or(0))),
    }
}

fn digits(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    // The two largest mean something else to hyper.
    let in_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| in_digits && *n < u64::MAX - 1)
}

/// Whether a target is a path of bytes that every path may have; anything else is read more closely.
fn plain(target: &str) -> bool {
    target.starts_with('/') && target.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~:@!$&'()*+,;=%?".contains(&b))
}

/// A refused request as it goes on: without what frames its body, so that it ends where it ends.
fn instead(request: &httparse::Request<'_, '_>) -> Vec<u8> {
    let target = request.path.filter(|t| t.len() <= TARGET_MAX_BYTES && t.parse::<Uri>().is_ok()).unwrap_or("/v1/");
    let mut bytes = format!("{} {target} HTTP/1.1\r\n", request.method.unwrap_or("GET")).into_bytes();
    for line in request.headers.iter().filter(|l| !FRAMING.iter().any(|name| l.name.eq_ignore_ascii_case(name))) {
        bytes.extend_from_slice(line.name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(line.value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Whether an empty line stands in `bytes` behind `from`, or one that `from` cuts through.
pub(crate) fn ends(bytes: &[u8], from: usize) -> bool {
    let tail = &bytes[from.saturating_sub(2).min(bytes.len())..];
    let ended = |(at, _): (usize, &u8)| matches!(&tail[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]);
    tail.iter().enumerate().filter(|(_, b)| **b == b'\n').any(ended)
}

/// Clips every line of a head that carries a token longer than any, also the last one that is still coming in; says whether that
/// one was.
pub(crate) fn clip(head: &mut BytesMut) -> bool {
    let whole = head.split();
    let mut cut = false;
    for line in whole.split_inclusive(|b| *b == b'\n') {
        let carries = |name: &&[u8]| line.len() >= name.len() && line[..name.len()].eq_ignore_ascii_case(name);
        if line.len() <= CLIPPED_BYTES || !TOKEN_LINES.iter().any(carries) {
            head.extend_from_slice(line);
            continue;
        }
        head.extend_from_slice(&line[..CLIPPED_BYTES]);
        head.extend_from_slice(&[CLIP_MARK]);
        cut = !line.ends_with(b"\n");
        if !cut {
            head.extend_from_slice(b"\r\n");
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(lines: &str) -> Result<Option<u64>, Note> {
        match look(format!("PUT /x HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes()) {
            Look::Whole { body, .. } => Ok(body),
            Look::Refused(note, _) => Err(note),
            Look::Partial => panic!("{lines} is no head"),
        }
    }

    #[test]
    fn a_body_has_one_length_or_comes_in_chunks() {
        assert_eq!(body(""), Ok(Some(0)));
        assert_eq!(body("Content-Length: 7\r\n"), Ok(Some(7)));
        assert_eq!(body("Transfer-Encoding: Chunked\r\n"), Ok(None));
        assert_eq!(body("Connection: upgrade\r\nUpgrade: websocket\r\n"), Ok(None));
        for two in [
            "Content-Length: 7\r\nContent-Length: 7\r\n",
            "Content-Length: 7\r\ncontent-length: 8\r\n",
            "Content-Length: 7, 7\r\n",
            "Content-Length: +7\r\n",
            "Content-Length: \r\n",
            "Content-Length: 0x7\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 7\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: \u{b}chunked\r\n",
        ] {
            let refused = body(two);
            assert!(matches!(refused, Err(Note::Lengths | Note::Malformed)), "{two} {refused:?}");
        }
        assert_eq!(body("Host: other\r\n"), Err(Note::Hosts));
        for bad in ["Content-Length : 7\r\n", "Content-Length: 7\r\n folded\r\n", "Transfer-Encoding\r\n"] {
            assert_eq!(body(bad), Err(Note::Malformed), "{bad}");
        }
    }

    #[test]
    fn a_head_of_too_many_lines_is_too_large() {
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: b\r\n".repeat(200));
        assert_eq!(look(many.as_bytes()), Look::Refused(Note::TooLarge, UNREADABLE.into()));
    }

    #[test]
    fn a_refused_request_goes_on_without_what_frames_it() {
        let head = b"PUT /v1/a?b HTTP/1.1\r\nX-Request-Id: r\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n";
        let Look::Refused(_, instead) = look(head) else { panic!("two lengths") };
        assert_eq!(instead, b"PUT /v1/a?b HTTP/1.1\r\nX-Request-Id: r\r\n\r\n");
        assert!(matches!(look(&instead), Look::Whole { body: Some(0), .. }));
        assert!(matches!(look(UNREADABLE), Look::Whole { body: Some(0), .. }));
    }

    #[test]
    fn an_empty_line_is_found_wherever_pieces_part() {
        for head in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"GET / HTTP/1.1\n\n", b"GET / HTTP/1.1\n\r\n"] {
            for at in 0..head.len() {
                assert!(!ends(&head[..at], 0) && ends(head, at), "{at}");
            }
        }
        assert!(!ends(b"GET / HTTP/1.1\r\nA: b\r\n", 0));
    }

    #[test]
    fn only_lines_with_tokens_are_clipped() {
        let (long, short) = ("x".repeat(5_000), "y".repeat(100));
        let head = format!("GET / HTTP/1.1\r\nauthorization: {long}\r\nX-Other: {long}\r\nAuthorization: {short}\r\n");
        let mut clipped = BytesMut::from(head.as_bytes());
        assert!(!clip(&mut clipped));
        assert!(clipped.len() < head.len() - 3_900);
        let text = String::from_utf8(clipped.to_vec()).unwrap();
        assert!(text.contains("xxx~\r\nX-Other: ") && text.contains(&long) && text.contains(&short), "{text}");
        let mut cut = BytesMut::from(format!("GET / HTTP/1.1\r\nSec-WebSocket-Protocol: {long}").as_bytes());
        assert!(clip(&mut cut) && cut.ends_with(b"x~"));
    }
}
