//! Links that a test can cut: a small TCP proxy for each ordered pair of nodes.
//!
//! A node dials the proxy instead of its peer. A connection carries both directions, whoever dialled it; a direction is cut
//! on all connections between the two. What is sent into a cut is held back and comes after it heals, as TCP would do it for
//! a while, or is thrown away, and then the connection ends with the cut. A connection that is dialled meanwhile is refused
//! or taken and left without a word.

use std::{
    collections::HashMap,
    net::TcpListener as StdListener,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Bytes moved at once.
const PIECE_BYTES: usize = 16 * 1_024;

/// What becomes of bytes and of new connections in a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Bytes wait and come after the cut; a new connection is taken and hears nothing. As a network that drops packets.
    Silent,
    /// Bytes are lost, and so is the connection, at the end of the cut at the latest; a new one is refused.
    Broken,
}

/// One direction between two nodes.
#[derive(Debug, Default)]
struct Way {
    /// `None` while it is whole.
    cut: watch::Sender<Option<Cut>>,
    /// Bytes that went through.
    bytes: AtomicU64,
}

type Direction = Arc<Way>;

#[derive(Debug, Default)]
struct Inner {
    directions: HashMap<(String, String), Direction>,
    /// The proxy's address by dialling node, dialled node and where that really is.
    proxies: HashMap<(String, String, String), String>,
    tasks: JoinSet<()>,
}

/// All links of a cluster. Cloned handles are the same links; they end with the last one.
#[derive(Debug, Clone, Default)]
pub struct Links(Arc<Mutex<Inner>>);

impl Links {
    /// What the node `from` dials instead of `address`, to reach `to`.
    ///
    /// # Panics
    /// When no port is free, or outside a runtime.
    #[must_use]
    pub fn dial(&self, from: &str, to: &str, address: &str) -> String {
        let key = (from.to_owned(), to.to_owned(), address.to_owned());
        if let Some(known) = self.lock().proxies.get(&key) {
            return known.clone();
        }
        let listener = StdListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket for the runtime");
        let proxy = listener.local_addr().expect("an address").to_string();
        let (there, back) = (self.direction(from, to), self.direction(to, from));
        let listener = TcpListener::from_std(listener).expect("a socket for the runtime");
        let mut inner = self.lock();
        inner.tasks.spawn(serve(listener, key.2.clone(), there, back));
        inner.proxies.entry(key).or_insert(proxy).clone()
    }

    /// Cuts what `from` sends to `to`.
    pub fn cut_one_way(&self, from: &str, to: &str, cut: Cut) {
        self.direction(from, to).cut.send_replace(Some(cut));
    }

    /// Cuts both directions between two nodes.
    pub fn cut(&self, one: &str, other: &str, cut: Cut) {
        self.cut_one_way(one, other, cut);
        self.cut_one_way(other, one, cut);
    }

    /// Cuts `alone` off from all of `others`.
    pub fn cut_off(&self, alone: &str, others: &[&str], cut: Cut) {
        others.iter().for_each(|other| self.cut(alone, other, cut));
    }

    /// Makes every link whole.
    pub fn heal(&self) {
        self.lock().directions.values().for_each(|direction| {
            direction.cut.send_replace(None);
        });
    }

    /// Bytes that `from` has sent to `to`, over all connections.
    #[must_use]
    pub fn bytes(&self, from: &str, to: &str) -> u64 {
        self.direction(from, to).bytes.load(Ordering::Relaxed)
    }

    fn direction(&self, from: &str, to: &str) -> Direction {
        let mut inner = self.lock();
        inner.directions.entry((from.into(), to.into())).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes connections until it is dropped, and all of them with it.
async fn serve(listener: TcpListener, address: String, there: Direction, back: Direction) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connect(near, address.clone(), there.clone(), back.clone()));
    }
}

/// Carries one connection. A handshake needs both directions, so either cut holds it back or refuses it.
async fn connect(near: TcpStream, address: String, there: Direction, back: Direction) {
    let (mut cut_there, mut cut_back) = (there.cut.subscribe(), back.cut.subscribe());
    if [&cut_there, &cut_back].iter().any(|cut| *cut.borrow() == Some(Cut::Broken)) {
        return;
    }
    // Silent: nothing goes on before both directions are whole.
    if cut_there.wait_for(Option::is_none).await.is_err() || cut_back.wait_for(Option::is_none).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(&address).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    // Either end closes the connection as a whole: no protocol between nodes half-closes.
    tokio::select! {
        () = carry(near_in, far_out, &there) => {}
        () = carry(far_in, near_out, &back) => {}
    }
}

/// Carries one direction to its end, or to the end of a cut in which bytes were lost.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, way: &Way) {
    let mut cuts = way.cut.subscribe();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let cut = *cuts.borrow_and_update();
        tokio::select! {
            changed = cuts.changed() => {
                let healed = changed.is_ok() && cuts.borrow().is_none();
                if changed.is_err() || (cut == Some(Cut::Broken) && healed) {
                    return;
                }
            }
            read = from.read(&mut piece), if cut != Some(Cut::Silent) => match read {
                Ok(count) if count > 0 => {
                    if cut.is_none() {
                        way.bytes.fetch_add(count as u64, Ordering::Relaxed);
                        if to.write_all(&piece[..count]).await.is_err() {
                            return;
                        }
                    }
                }
                _ => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::DEADLINE;
    use std::time::Duration;
    use tokio::time::timeout;

    /// Long enough to see that nothing comes; a failure here is a false pass, never a false alarm.
    const NOTHING: Duration = Duration::from_millis(150);

    /// A connection of `a` to `b` through a proxy, and its other end.
    async fn pair(links: &Links) -> (TcpStream, TcpStream, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let near = TcpStream::connect(links.dial("a", "b", &address)).await.expect("the proxy");
        let (far, _) = timeout(DEADLINE, listener.accept()).await.expect("in time").expect("a connection");
        (near, far, listener)
    }

    async fn passes(from: &mut TcpStream, to: &mut TcpStream) {
        from.write_all(b"x").await.expect("a write");
        let byte = timeout(DEADLINE, to.read_u8()).await.expect("in time");
        assert_eq!(byte.expect("a byte"), b'x');
    }

    #[tokio::test]
    async fn one_direction_is_cut_and_held_and_the_other_goes_on() {
        let links = Links::default();
        let (mut near, mut far, _listener) = pair(&links).await;
        passes(&mut near, &mut far).await;
        links.cut_one_way("a", "b", Cut::Silent);
        near.write_all(b"y").await.expect("a write");
        assert!(timeout(NOTHING, far.read_u8()).await.is_err(), "nothing passes the cut");
        passes(&mut far, &mut near).await;
        links.heal();
        assert_eq!(timeout(DEADLINE, far.read_u8()).await.expect("in time").expect("the held byte"), b'y');
        passes(&mut near, &mut far).await;
        assert_eq!([links.bytes("a", "b"), links.bytes("b", "a")], [3, 1]);
    }

    #[tokio::test]
    async fn the_direction_from_the_dialled_node_is_another_one() {
        let links = Links::default();
        let (mut near, mut far, _listener) = pair(&links).await;
        links.cut_one_way("b", "a", Cut::Silent);
        passes(&mut near, &mut far).await;
        far.write_all(b"y").await.expect("a write");
        assert!(timeout(NOTHING, near.read_u8()).await.is_err());
    }

    #[tokio::test]
    async fn a_broken_link_loses_bytes_and_ends_and_refuses_new_connections() {
        let links = Links::default();
        let (mut near, mut far, listener) = pair(&links).await;
        links.cut("a", "b", Cut::Broken);
        near.write_all(b"y").await.expect("a write");
        assert!(timeout(NOTHING, far.read_u8()).await.is_err());
        let address = listener.local_addr().expect("an address").to_string();
        let mut refused = TcpStream::connect(links.dial("a", "b", &address)).await.expect("the proxy");
        let end = timeout(DEADLINE, refused.read(&mut [0])).await.expect("in time");
        assert!(matches!(end, Ok(0) | Err(_)), "a new connection is ended at once");
        links.heal();
        let end = timeout(DEADLINE, far.read(&mut [0])).await.expect("in time");
        assert!(matches!(end, Ok(0) | Err(_)), "the byte is lost, and so is the connection");
    }

    #[tokio::test]
    async fn a_silent_cut_takes_a_new_connection_and_lets_it_through_when_it_heals() {
        let links = Links::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        links.cut("a", "b", Cut::Silent);
        let mut near = TcpStream::connect(links.dial("a", "b", &address)).await.expect("the proxy");
        assert!(timeout(NOTHING, listener.accept()).await.is_err());
        links.heal();
        let (mut far, _) = timeout(DEADLINE, listener.accept()).await.expect("in time").expect("a connection");
        passes(&mut near, &mut far).await;
    }
}
