//! The WebSocket side of a client command.
//!
//! Owns the upgrade, small buffers and clean closing. Relies on `tokio-tungstenite`, which answers pings while somebody
//! reads. Promises that dropping a socket ends the connection without a close frame, as a lost one would.

use super::{
    client::{CONNECT_MAX, ClientError, refused},
    frame,
    server::{Server, fault_of_tls},
};
use futures::{SinkExt as _, StreamExt as _};
use reqwest::Url;
use std::{fmt, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self, Message, Utf8Bytes,
        client::IntoClientRequest as _,
        http::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// Read buffer, bytes: frames are small, and a replay holds ten thousand sockets.
const READ_BUFFER_BYTES: usize = 1_024;
/// Most bytes waiting to be written: commands are small.
const WRITE_BUFFER_MAX_BYTES: usize = 256 * 1_024;
/// Largest frame taken, bytes: four times the server's maximum, for snapshots that it grows by.
const FRAME_MAX_BYTES: usize = 1 << 20;
/// How long a server may take to answer a close.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// How to connect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) server: &'a Server,
    pub(crate) token: &'a str,
    pub(crate) device: Option<&'a str>,
    /// Whether contacts are watched from the start.
    pub(crate) contacts: bool,
    /// Whether a session is opened; an observer has none.
    pub(crate) session: bool,
    pub(crate) resume: Option<&'a str>,
}

/// Why a socket could not be opened, or said something wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Nothing was touched, or the server's problem says what.
    #[error(transparent)]
    Refused(#[from] ClientError),
    /// Nothing was touched: the server says when this client's turn is.
    #[error("{source}")]
    Later { source: ClientError, after: Duration },
    /// A session may have been opened; the server ends it after its grace.
    #[error("the connection to {url} failed: {detail}")]
    Broken { url: String, detail: String },
    /// A session was opened; dropping the socket leaves it to its grace.
    #[error(transparent)]
    Unreadable(#[from] frame::UnreadableFrame),
}

/// What a server says first.
#[derive(Debug)]
pub(crate) struct Welcome {
    pub(crate) resumed: bool,
    pub(crate) resume: Option<String>,
    pub(crate) ping_ms: u64,
}

/// What came in.
#[derive(Debug)]
pub(crate) enum Event {
    Text(Utf8Bytes),
    /// The server pinged: it lives.
    Ping,
    /// The connection is over; the code of the server's close frame, if it sent one.
    Over(Option<u16>),
}

/// Bytes to and from a server, with TLS around them or without.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Wire for S {}

/// A connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<Box<dyn Wire>>,
    url: String,
}

impl Socket {
    /// Connects, and waits for the welcome.
    pub(crate) async fn open(opening: &Opening<'_>) -> Result<(Self, Welcome), SocketError> {
        let broken = |detail: &dyn fmt::Display| SocketError::Broken {
            url: opening.server.url.to_string(),
            detail: detail.to_string(),
        };
        match timeout(CONNECT_MAX, Self::upgrade(opening)).await {
            Ok(opened) => opened,
            Err(_) => Err(broken(&"no welcome in time")),
        }
    }

    async fn upgrade(opening: &Opening<'_>) -> Result<(Self, Welcome), SocketError> {
        let url = opening.server.url.to_string();
        let broken = |detail: &dyn fmt::Display| SocketError::Broken { url: url.clone(), detail: detail.to_string() };
        let wire = wire(opening.server, &broken).await?;
        let mut request = connect_url(opening).as_str().into_client_request().map_err(|e| broken(&e))?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", opening.token)).map_err(|e| broken(&e))?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_MAX_BYTES)
            .max_message_size(Some(FRAME_MAX_BYTES))
            .max_frame_size(Some(FRAME_MAX_BYTES));
        let stream = match client_async_with_config(request, wire, Some(config)).await {
            Ok((stream, _)) => stream,
            Err(tungstenite::Error::Http(answer)) => {
                let body = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned();
                let source = handshake_refused(&opening.server.url, answer.status().as_u16(), &body);
                return Err(match retry_after(answer.headers()) {
                    Some(after) => SocketError::Later { source, after },
                    None => source.into(),
                });
            }
            Err(e) => return Err(broken(&e)),
        };
        let mut socket = Self { stream, url: url.clone() };
        loop {
            match socket.event().await {
                Event::Text(text) => return Ok((socket, welcome(&text, &broken)?)),
                Event::Ping => {}
                Event::Over(code) => return Err(broken(&format!("closed before the welcome, code {code:?}"))),
            }
        }
    }

    /// This connection failed for `detail`.
    pub(crate) fn broken(&self, detail: &str) -> SocketError {
        SocketError::Broken { url: self.url.clone(), detail: detail.into() }
    }

    /// The next thing that comes in.
    pub(crate) async fn event(&mut self) -> Event {
        let mut code = None;
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Event::Text(text),
                Some(Ok(Message::Close(close))) => code = close.map(|c| u16::from(c.code)),
                Some(Ok(Message::Ping(_))) => return Event::Ping,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Event::Over(code),
            }
        }
    }

    /// Sends a frame.
    pub(crate) async fn say(&mut self, text: String) -> Result<(), SocketError> {
        let sent = self.stream.send(Message::text(text)).await;
        sent.map_err(|e| SocketError::Broken { url: self.url.clone(), detail: e.to_string() })
    }

    /// Ends the session: closes with 1000, and waits until the server has closed too. The code of its close frame: 1000 if
    /// it answers this one, another if it closed by itself meanwhile.
    pub(crate) async fn close(mut self) -> Option<u16> {
        let normal = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
        let closed = async {
            if self.stream.send(Message::Close(Some(normal))).await.is_err() {
                return None;
            }
            loop {
                if let Event::Over(code) = self.event().await {
                    return code;
                }
            }
        };
        timeout(CLOSE_MAX, closed).await.unwrap_or(None)
    }
}

/// Reaches a server, and shakes hands with it if it is spoken to over TLS.
async fn wire(
    server: &Server,
    broken: &(dyn Fn(&dyn fmt::Display) -> SocketError + Sync),
) -> Result<Box<dyn Wire>, SocketError> {
    let url = || server.url.to_string();
    let host = server.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = server.url.port_or_known_default().unwrap_or(80);
    let tcp = TcpStream::connect((host, port)).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::ConnectionRefused => ClientError::Unreachable { url: url() }.into(),
        _ => broken(&e),
    })?;
    tcp.set_nodelay(true).map_err(|e| broken(&e))?;
    let Some(tls) = &server.tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(host.to_owned()).map_err(|e| broken(&e))?;
    match TlsConnector::from(tls.clone()).connect(name, tcp).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(e) => Err(match fault_of_tls(&e) {
            Some(fault) => ClientError::Unbelieved { url: url(), why: fault.to_string() }.into(),
            None => broken(&e),
        }),
    }
}

fn welcome(text: &str, broken: &dyn Fn(&dyn fmt::Display) -> SocketError) -> Result<Welcome, SocketError> {
    /// The contract's `ping_ms`, for a server that leaves it out.
    const PING_MS: u64 = 20_000;
    let frame = frame::read(text)?;
    if frame.kind != "welcome" {
        let said = frame.detail.or(frame.reason).unwrap_or_default();
        return Err(broken(&format!("{} {said} instead of a welcome", frame.kind)));
    }
    Ok(Welcome { resumed: frame.resumed, resume: frame.resume, ping_ms: frame.ping_ms.unwrap_or(PING_MS) })
}

fn connect_url(opening: &Opening<'_>) -> Url {
    let mut url = opening.server.url.clone();
    // All four are special schemes, so this always holds.
    let _ = url.set_scheme(if opening.server.tls.is_some() { "wss" } else { "ws" });
    url.set_path(&format!("{}/v1/connect", opening.server.url.path().trim_end_matches('/')));
    {
        let mut query = url.query_pairs_mut();
        if let Some(device) = opening.device {
            query.append_pair("device", device);
        }
        query.append_pair("watch", if opening.contacts { "contacts" } else { "none" });
        if !opening.session {
            query.append_pair("session", "false");
        }
        if let Some(resume) = opening.resume {
            query.append_pair("resume", resume);
        }
    }
    url
}

/// When a refused client may come back, if the server says so in whole seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// A refused upgrade: its problem, or the status alone where the body did not come along.
fn handshake_refused(url: &Url, status: u16, body: &str) -> ClientError {
    match refused(url, status, body) {
        ClientError::Foreign { .. } if status == 401 => ClientError::Unauthenticated { detail: "refused".into() },
        ClientError::Foreign { .. } => {
            ClientError::Refused { status, code: String::new(), detail: "the upgrade was refused".into() }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_says_what_the_opening_says() {
        let server = Server::at("http://[::1]:7700").unwrap();
        let opening = Opening {
            server: &server,
            token: "t",
            device: Some("web"),
            contacts: false,
            session: false,
            resume: Some("a+b"),
        };
        let wanted = "ws://[::1]:7700/v1/connect?device=web&watch=none&session=false&resume=a%2Bb";
        assert_eq!(connect_url(&opening).as_str(), wanted);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_unreachable() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = Server::at(&format!("http://{free}")).unwrap();
        let opening =
            Opening { server: &server, token: "t", device: None, contacts: true, session: true, resume: None };
        let error = Socket::open(&opening).await.err().unwrap();
        assert!(matches!(error, SocketError::Refused(ClientError::Unreachable { .. })), "{error}");
    }
}
