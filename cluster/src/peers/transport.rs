//! tonic underneath: one method, a two-way stream of frames; connections with keep-alive, windows and TLS.
//!
//! The service is declared by hand. Promises that a dead connection is noticed by both sides, that one stalled stream never
//! blocks another, and that no frame is longer than the bound.

use super::{
    bounds::{
        BACKOFF_MIN_MS, CONNECT_MAX_MS, CONNECTION_WINDOW_BYTES, CONNECTIONS_MAX, FRAME_MAX_BYTES, STREAM_WINDOW_BYTES,
        STREAMS_MAX,
    },
    options::{KeepAlive, PeersError, TlsFiles},
    outbox::{Incoming, OutboxStream, Outgoing},
};
use bytes::{Buf, BufMut, Bytes};
use futures::{Stream, StreamExt, future::BoxFuture, stream};
use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{Service, http, http::uri::PathAndQuery},
    server::StreamingService,
    transport::{
        Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig, server::Connected,
    },
};

/// The one method.
const LANE_PATH: &str = "/rollcall.Peers/Lane";

/// Frames as tonic wants them.
#[derive(Debug, Clone, Copy)]
struct Frames;

impl Codec for Frames {
    type Encode = Outgoing;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Frames {
    type Item = Outgoing;
    type Error = Status;

    fn encode(&mut self, frame: Outgoing, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match frame {
            Outgoing::Greeting(greeting) => to.put_slice(&greeting),
            Outgoing::Messages(messages) => messages.iter().for_each(|message| message.write(to)),
        }
        Ok(())
    }
}

impl Decoder for Frames {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Takes the streams that peers open.
pub(crate) trait Acceptor: Send + Sync + 'static {
    /// A stream was opened; what it is for, and by whom, is still to be said.
    fn opened(self: Arc<Self>, incoming: Incoming) -> Result<OutboxStream, Status>;
}

struct Opened<A>(Arc<A>);

impl<A: Acceptor> StreamingService<Bytes> for Opened<A> {
    type Response = Outgoing;
    type ResponseStream = stream::Map<OutboxStream, fn(Outgoing) -> Result<Outgoing, Status>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let opened = Arc::clone(&self.0).opened(request.into_inner());
        std::future::ready(opened.map(|stream| Response::new(stream.map(Ok as fn(_) -> _))))
    }
}

/// The service of the links.
pub(crate) struct Lanes<A>(pub(crate) Arc<A>);

impl<A> Clone for Lanes<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Acceptor> Service<http::Request<Body>> for Lanes<A> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let acceptor = Arc::clone(&self.0);
        Box::pin(async move {
            if request.uri().path() != LANE_PATH {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let mut grpc = tonic::server::Grpc::new(Frames).max_decoding_message_size(FRAME_MAX_BYTES);
            Ok(grpc.streaming(Opened(acceptor), request).await)
        })
    }
}

/// Opens a lane over `channel`, with what `outbox` holds.
///
/// # Errors
/// When there is no connection, or the other side has no such method.
pub(crate) async fn open(channel: Channel, outbox: OutboxStream) -> Result<Incoming, Status> {
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(FRAME_MAX_BYTES);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(LANE_PATH);
    Ok(grpc.streaming(Request::new(outbox), path, Frames).await?.into_inner())
}

/// Certificates, read.
#[derive(Clone)]
pub(crate) struct Tls {
    identity: Identity,
    authorities: Certificate,
}

impl Tls {
    /// Reads `files`, and gives rustls its provider if nobody did before.
    ///
    /// # Errors
    /// [`PeersError::Unreadable`].
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, PeersError> {
        let _ = rustls::crypto::ring::default_provider().install_default(); // an error says that there is one
        let read = |path: &std::path::PathBuf| {
            std::fs::read(path).map_err(|source| PeersError::Unreadable { path: path.clone(), source })
        };
        let identity = Identity::from_pem(read(&files.certificate)?, read(&files.private_key)?);
        Ok(Self { identity, authorities: Certificate::from_pem(read(&files.authorities)?) })
    }
}

/// How connections are made.
#[derive(Clone)]
pub(crate) struct Transport {
    /// Signs of life.
    pub(crate) keep_alive: KeepAlive,
    /// Certificates; none: plain.
    pub(crate) tls: Option<Tls>,
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

impl Transport {
    /// The way to `dialled`. The certificate there must be for the host of `address`.
    ///
    /// # Errors
    /// When the address is none, or the certificates don't fit together.
    pub(crate) fn endpoint(&self, dialled: &str, address: &str) -> Result<Endpoint, tonic::transport::Error> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{dialled}"))?;
        if let Some(tls) = &self.tls {
            let config = ClientTlsConfig::new().domain_name(host(address));
            let config = config.ca_certificate(tls.authorities.clone()).identity(tls.identity.clone());
            endpoint = endpoint.tls_config(config)?;
        }
        Ok(endpoint
            .connect_timeout(Duration::from_millis(CONNECT_MAX_MS))
            .http2_keep_alive_interval(self.keep_alive.interval)
            .keep_alive_timeout(self.keep_alive.timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .tcp_nodelay(true))
    }

    /// The serving side.
    ///
    /// # Errors
    /// When the certificates don't fit together.
    pub(crate) fn server(&self) -> Result<Server, tonic::transport::Error> {
        let mut server = Server::builder();
        if let Some(tls) = &self.tls {
            let config = ServerTlsConfig::new().identity(tls.identity.clone()).client_ca_root(tls.authorities.clone());
            server = server.tls_config(config.timeout(Duration::from_millis(CONNECT_MAX_MS)))?;
        }
        Ok(server
            .http2_keepalive_interval(Some(self.keep_alive.interval))
            .http2_keepalive_timeout(Some(self.keep_alive.timeout))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(STREAMS_MAX))
    }
}

/// What every client begins with, bytes: the preface of HTTP/2, or the record of a TLS handshake.
const BEGINNING_BYTES: usize = 24;

/// A connection that counts against the bound of all, and is given up unless it begins in time.
pub(crate) struct Counted {
    stream: TcpStream,
    /// How much of the beginning is missing, and until when; nothing once it came.
    awaited: Option<(usize, Pin<Box<Sleep>>)>,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Counted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Counted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = to.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, to);
        if let Some((missing, deadline)) = &mut this.awaited {
            *missing = missing.saturating_sub(to.filled().len() - before);
            if *missing == 0 {
                this.awaited = None;
            } else if read.is_pending() && deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// The connections that come in at `listener`, no more at once than the bound.
pub(crate) fn connections(listener: TcpListener) -> impl Stream<Item = io::Result<Counted>> + Send + 'static {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    stream::unfold((listener, room), |(listener, room)| async move {
        let _permit = Arc::clone(&room).acquire_owned().await.ok()?;
        let accepted = listener.accept().await.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            let deadline = Box::pin(sleep(Duration::from_millis(CONNECT_MAX_MS)));
            Ok(Counted { stream, awaited: Some((BEGINNING_BYTES, deadline)), _permit })
        });
        if accepted.is_err() {
            // Out of descriptors, most likely: trying again at once would only spin.
            sleep(Duration::from_millis(BACKOFF_MIN_MS)).await;
        }
        Some((accepted, (listener, room)))
    })
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn the_host_of_an_address_is_what_a_certificate_names() {
        for (address, expected) in
            [("n1.example:7946", "n1.example"), ("[::1]:7946", "::1"), ("10.0.0.1:1", "10.0.0.1")]
        {
            assert_eq!(host(address), expected);
        }
    }
}
