//! Sockets in, answers out: a bounded number of connections, each with a bounded header in bounded time.
//!
//! Stopping lets requests in flight finish; open WebSockets and event streams end when the service says goodbye to them.

use crate::{
    api::Api,
    envelope,
    heads::{Connected, Heads, Silence},
    router,
    stall::Patient,
};
use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
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
    time::{sleep, timeout},
};

/// Largest header of a request, bytes: a query of 500 ids of 128 bytes, and room for a token.
const HEADER_MAX_BYTES: usize = 80 * 1_024;
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
    run(listener, api, router, shutdown).await;
}

/// Serves health on an address of its own.
pub async fn serve_ops(listener: TcpListener, api: Api, shutdown: impl Future<Output = ()>) {
    let router = router::ops_only(&api);
    run(listener, api, router, shutdown).await;
}

async fn run(listener: TcpListener, api: Api, router: Router, shutdown: impl Future<Output = ()>) {
    let places_max = api.options().limits.connections.saturating_add(PLACES_BESIDES);
    let places = Arc::new(Semaphore::new(places_max as usize));
    let heads = Heads::new(api.options().limits.heads_in_flight as usize);
    let (stop, stopped) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        // At the bound nothing is accepted: clients wait in the backlog.
        let accepted = async {
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
                let connected = Connected(silence.clone());
                let accepted = Accepted { stream, peer: peer.ip(), place: Arc::new(place), connected };
                let task = tokio::spawn(connection(accepted, api.clone(), router.clone(), stopped.clone()));
                heads.wait_for(silence, task.abort_handle());
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

/// A connection as it was accepted.
struct Accepted {
    stream: TcpStream,
    peer: IpAddr,
    place: Place,
    connected: Connected,
}

async fn connection(accepted: Accepted, api: Api, router: Router, mut stopped: watch::Receiver<()>) {
    let Accepted { stream, peer, place, connected } = accepted;
    let silence: &Silence = &connected.0;
    // Without it only latency suffers.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (api, router) = (&api, router.clone());
        silence.end();
        let mut request = request.map(Body::new);
        if request.headers().contains_key(http::header::UPGRADE) {
            request.extensions_mut().insert(place.clone());
        }
        async move { Ok::<_, Infallible>(envelope::answer(api, router, request, peer).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(api.options().http.header_timeout_ms))
        .max_buf_size(HEADER_MAX_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream)), service)
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
