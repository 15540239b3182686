//! The client's side of a WebSocket handshake.
//!
//! tungstenite's own keeps of a refusal's body only what came in the same read as its head; here the whole body is read.

use crate::{
    client::Reply,
    raw::{head_of, parse},
};
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{client::generate_request, derive_accept_key},
        http::Request,
        protocol::Role,
    },
};

/// An answer longer than this is no answer to a handshake.
const ANSWER_MAX_BYTES: usize = 64 * 1_024;

/// What a server answers to a handshake.
pub(crate) enum Upgrade {
    /// It speaks WebSocket from now on; the subprotocol that it chose.
    Done(Box<WebSocketStream<TcpStream>>, Option<String>),
    /// Plain HTTP, whole.
    Refused(Reply),
}

fn broken(detail: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail.into())
}

/// Shakes hands over `stream`.
///
/// # Errors
/// When the connection breaks, or the answer is none of HTTP's or does not fit the request.
pub(crate) async fn upgrade(request: Request<()>, mut stream: TcpStream) -> io::Result<Upgrade> {
    let (request, key) = generate_request(request).map_err(|e| broken(e.to_string()))?;
    stream.write_all(&request).await?;
    let mut answer = Vec::new();
    let head = loop {
        if let Some(end) = head_of(&answer) {
            break end;
        }
        more(&mut stream, &mut answer).await?;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut reply = parse(&text(&answer[..head])).ok_or_else(|| broken("no HTTP answer"))?;
    if reply.status == 101 {
        if reply.header("sec-websocket-accept") != Some(derive_accept_key(key.as_bytes()).as_str()) {
            return Err(broken("the accept key does not fit"));
        }
        let subprotocol = reply.header("sec-websocket-protocol").map(Into::into);
        let tail = answer.split_off(head);
        let socket = WebSocketStream::from_partially_read(stream, tail, Role::Client, None).await;
        return Ok(Upgrade::Done(Box::new(socket), subprotocol));
    }
    let length = reply.header("content-length").and_then(|l| l.parse::<usize>().ok()).unwrap_or(0);
    while answer.len() < head + length {
        more(&mut stream, &mut answer).await?;
    }
    reply.body = text(&answer[head..head + length]);
    Ok(Upgrade::Refused(reply))
}

async fn more(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(answer).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if answer.len() > ANSWER_MAX_BYTES {
        return Err(broken("an answer without an end"));
    }
    Ok(())
}
