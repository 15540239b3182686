//! Sockets in, answers out: a bounded number of connections, each with a bounded header in bounded time.
//!
//! Stopping lets requests in flight finish; open WebSockets and event streams end when the service says goodbye to them.

use crate::{
    api::Api,
    envelope,
    gate::{Gate, HEAD_MAX_BYTES, Notes},
    head::Note,
    heads::{Connected, Heads},
    problem::{Code, Problem},
    router,
    stall::Patient,
    wire_stream::WireStream,
};
use axum::{Router, body::Body};
use http::{HeaderValue, StatusCode, header};
use hyper::{Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::yield_now,
    time::{sleep, timeout},
};

/// What hyper may hold of a request, bytes: the largest head, which the gate has let through, and a beginning of its body.
const BUFFER_MAX_BYTES: usize = HEAD_MAX_BYTES + 8 * 1_024;
/// How much longer than a head may take a connection may rest without one: whoever has begun is told why he is cut.
const REST_SLACK: Duration = Duration::from_secs(1);
/// What the kernel holds of unread answers, bytes: a slow reader's backlog must not grow old in there.
const SEND_BUFFER_BYTES: u32 = 64 * 1_024;
/// Connections that wait to be accepted: a herd that comes back at once.
const BACKLOG: u32 = 4_096;
/// Places besides those of the WebSockets and event streams that a node may serve: for requests, for health above all, and for
/// those who have to be told that the node is full.
const PLACES_BESIDES: u32 = 1_024;
/// Pause after an `accept` that failed, as it does without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a stop waits for requests in flight and for goodbyes.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A place among the connections of the node; an upgraded socket keeps it.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// Listens on `address`, with small send buffers.
///
/// # Errors
/// Whatever the system says.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves the whole contract on `listener` until `shutdown`, and then up to 10 s for what is under way. Wherever the
/// listener comes from, [`bind`] is advised.
pub async fn serve(listener: TcpListener, api: Api, shutdown: impl Future<Output = ()>) {
    let router = router::whole(&api);
    run(listener, api, router, true, shutdown).await;
}

/// Serves health on an address of its own, without TLS.
pub async fn serve_ops(listener: TcpListener, api: Api, shutdown: impl Future<Output = ()>) {
    let router = router::ops_only(&api);
    run(listener, api, router, false, shutdown).await;
}

async fn run(listener: TcpListener, api: Api, router: Router, sealed: bool, shutdown: impl Future<Output = ()>) {
    let places_max = api.options().limits.connections.saturating_add(PLACES_BESIDES);
    let places = Arc::new(Semaphore::new(places_max as usize));
    let heads = Heads::new(api.options().limits.heads_in_flight as usize);
    let (stop, stopped) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        // At either bound nothing is accepted: clients wait in the backlog.
        let accepted = async {
            heads.room().await;
            let place = places.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Some((Ok((stream, peer)), place)) => {
                let silence = heads.begin();
                let (place, connected) = (Arc::new(place), Connected(silence.clone()));
                let (api, router, peer) = (api.clone(), router.clone(), peer.ip());
                let served = Served { api, router, sealed, place, peer, connected };
                let task = tokio::spawn(served.connection(stream, stopped.clone()));
                heads.wait_for(silence, task.abort_handle());
                // A herd takes turns with those who are served: else a hundred connections are set up in one go, and events wait.
                yield_now().await;
            }
            Some((Err(error), _)) => {
                tracing::warn!(%error, "cannot accept a connection");
                heads.make_room();
                sleep(ACCEPT_PAUSE).await;
            }
            None => break,
        }
    }
    drop((listener, stopped));
    let _ = stop.send(());
    let all = places.acquire_many(places_max);
    if timeout(STOP_MAX, all).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
}

/// What a connection is served with.
struct Served {
    api: Api,
    router: Router,
    /// Whether it is spoken to over TLS, if there is a certificate.
    sealed: bool,
    place: Place,
    /// Who connected.
    peer: IpAddr,
    /// Whether a whole head was heard.
    connected: Connected,
}

impl Served {
    async fn connection(self, stream: TcpStream, mut stopped: watch::Receiver<()>) {
        // Without it only latency suffers.
        let _ = stream.set_nodelay(true);
        let options = self.api.options();
        let head_max = Duration::from_millis(options.http.header_timeout_ms);
        let certificates = options.certificates.as_deref().filter(|_| self.sealed);
        let stream = tokio::select! {
            shaken = WireStream::over(stream, certificates, head_max) => shaken,
            _ = stopped.changed() => return,
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "a handshake failed"),
        };
        let notes = Notes::default();
        // The note is taken when hyper calls, not when the answer is waited for.
        let service = service_fn(|request: hyper::Request<Incoming>| self.answer(request, notes.take()));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_max + REST_SLACK)
            .max_buf_size(BUFFER_MAX_BYTES)
            .serve_connection(TokioIo::new(Gate::new(Patient::new(stream), head_max, notes.clone())), service)
            .with_upgrades();
        let mut served = pin!(served);
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            _ = stopped.changed() => {
                served.as_mut().graceful_shutdown();
                match timeout(STOP_MAX, served).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }

    /// Answers a request with a note on it.
    async fn answer(&self, request: hyper::Request<Incoming>, note: Note) -> Result<Response<Body>, Infallible> {
        self.connected.0.end();
        let mut request = request.map(Body::new);
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(self.place.clone());
        }
        let refused = refusal(note, self.api.options().http.header_timeout_ms);
        let mut response = envelope::answer(&self.api, self.router.clone(), request, self.peer, refused).await;
        if note != Note::Plain && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// Why a request is refused before anybody looks for its route.
fn refusal(note: Note, head_max_ms: u64) -> Option<Problem> {
    let invalid = |detail: &'static str| Some(Problem::new(Code::InvalidRequest, detail));
    match note {
        Note::Plain | Note::Last => None,
        Note::Lengths => invalid("Content-Length: a body has one length in digits, or comes in chunks alone"),
        Note::Hosts => invalid("Host: must be given once"),
        Note::Malformed => invalid("this is no request of HTTP 1.1"),
        Note::TooLarge => {
            let detail = format!("the header must be at most {HEAD_MAX_BYTES} bytes in 100 lines");
            Some(Problem::new(Code::HeadTooLarge, detail))
        }
        Note::Late => Some(Problem::new(Code::Late, format!("the header must be complete within {head_max_ms} ms"))),
    }
}
