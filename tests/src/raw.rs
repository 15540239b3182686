//! HTTP without a client library, for requests that no library sends: odd paths, bare handshakes, oversized bodies.

use crate::{client::Reply, wait::DEADLINE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Sends `head` (request line and headers, lines ended by `\n`, without the empty one) and `body` on a connection of its
/// own, and reads the answer to its end. Adds `Host` and `Connection: close`.
///
/// # Panics
/// When there is no answer that can be read.
pub async fn exchange(address: &str, head: &str, body: &[u8]) -> Reply {
    let answer = timeout(DEADLINE, async {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let closing = if head.to_ascii_lowercase().contains("connection:") { "" } else { "Connection: close\r\n" };
        let head = head.trim_end().replace('\n', "\r\n");
        let head = format!("{head}\r\nHost: {address}\r\n{closing}\r\n");
        stream.write_all(head.as_bytes()).await.expect("the request leaves");
        // A server may answer and close before it has read a body that it refuses.
        stream.write_all(body).await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        answer
    });
    let answer = answer.await.unwrap_or_else(|_| panic!("no answer to {head:?}"));
    parse(&String::from_utf8_lossy(&answer)).unwrap_or_else(|| panic!("no HTTP answer to {head:?}"))
}

/// Where the head in `answer` ends, the empty line included.
pub(crate) fn head_of(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

/// The answer in these bytes, its body as far as they go.
pub(crate) fn parse(answer: &str) -> Option<Reply> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()));
    Some(Reply { status, headers: headers.collect(), body: body.to_owned() })
}
