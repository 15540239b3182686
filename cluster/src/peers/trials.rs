//! Links between nodes in one process, over real sockets.

mod asking;
mod bench;
mod hostile;
mod refusing;
mod severing;
mod snapshots;
mod tls;
