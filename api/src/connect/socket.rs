//! One WebSocket: tungstenite reads and keeps the protocol; frames of ours are written straight to the stream below it.
//!
//! tungstenite's own write buffer keeps the size of the largest frame for as long as the socket lives, a snapshot's size
//! on every idle connection. So data frames go around it, after whatever it still has to write itself.

use super::outbound::Frame;
use futures::{SinkExt, Stream, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

/// Largest frame and message of a client, bytes. Contract, section 8.
const CLIENT_FRAME_MAX_BYTES: usize = 128 * 1_024;
/// What an idle socket holds ready for reading, bytes.
const READ_BUFFER_BYTES: usize = 1_024;
/// tungstenite writes only pings, pongs and closes itself, bytes.
const WRITE_BUFFER_MAX_BYTES: usize = 4 * 1_024;
/// How long a closed socket waits for the client to close its side, so that it gets to read why.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// An upgraded connection.
#[derive(Debug)]
pub(super) struct Socket(WebSocketStream<TokioIo<Upgraded>>);

impl Socket {
    pub(super) async fn new(upgraded: Upgraded) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_MAX_BYTES)
            .max_message_size(Some(CLIENT_FRAME_MAX_BYTES))
            .max_frame_size(Some(CLIENT_FRAME_MAX_BYTES));
        Self(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await)
    }

    /// The next message of the client; `None` once it has closed.
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        Pin::new(&mut self.0).poll_next(cx)
    }

    /// Sends the rest of `frame`.
    ///
    /// # Errors
    /// `TimedOut` when the client has stopped reading; the rest may still be sent. Any other: the connection is gone.
    pub(super) async fn send(&mut self, frame: &mut Frame) -> io::Result<()> {
        self.0.flush().await.map_err(broken)?;
        self.0.get_mut().write_all_buf(frame).await
    }

    /// Asks the client for a sign of life.
    pub(super) async fn ping(&mut self) -> io::Result<()> {
        self.0.send(Message::Ping(bytes::Bytes::new())).await.map_err(broken)
    }

    /// Answers the client's close.
    pub(super) async fn acknowledge(&mut self) {
        let _ = timeout(LINGER_MAX, self.0.flush()).await;
    }

    /// Closes with `code`, and waits a little for the client to have read it.
    pub(super) async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let closing = async {
            if self.0.send(Message::Close(Some(frame))).await.is_err() {
                return;
            }
            while let Some(Ok(_)) = self.0.next().await {}
            // After a protocol error tungstenite reads no more; what still comes in would reset the connection, and
            // take the close with it.
            let below = self.0.get_mut();
            let _ = below.shutdown().await;
            let mut rest = [0; READ_BUFFER_BYTES];
            while below.read(&mut rest).await.is_ok_and(|n| n > 0) {}
        };
        let _ = timeout(LINGER_MAX, Box::pin(closing)).await;
    }
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
