//! A stream whose writes fail with `TimedOut` once nothing of them got through for [`STALL_MAX`]: the one place that
//! notices a client that has stopped reading. Nothing is lost by it: a write that failed so may be tried again. A pause of
//! this process is no fault of the client's, and counts as one step.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long a client may read nothing. Contract, section 8.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(30);
/// What a pause of this process counts at most.
const STEP: Duration = Duration::from_secs(1);

/// A stream that does not wait for ever.
#[derive(Debug)]
pub(crate) struct Patient<S> {
    inner: S,
    /// Set while a write waits; boxed because it hardly ever does.
    waiting: Option<Box<Waiting>>,
}

/// A write that waits.
#[derive(Debug)]
struct Waiting {
    step: Pin<Box<Sleep>>,
    steps_left: u32,
}

impl<S> Patient<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, waiting: None }
    }

    fn judge<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let steps_left = STALL_MAX.as_secs() as u32;
        let waiting = self.waiting.get_or_insert_with(|| Box::new(Waiting { step: Box::pin(sleep(STEP)), steps_left }));
        while waiting.steps_left > 0 {
            ready!(waiting.step.as_mut().poll(cx));
            waiting.steps_left -= 1;
            waiting.step.set(sleep(STEP));
        }
        self.waiting = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_reads_fails_and_may_go_on_later() {
        let (near, mut far) = duplex(4);
        let mut patient = Patient::new(near);
        let started = tokio::time::Instant::now();
        let error = patient.write_all(b"12345678").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= STALL_MAX);
        let mut read = [0; 4];
        far.read_exact(&mut read).await.unwrap();
        patient.write_all(b"5678").await.unwrap();
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"5678");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_this_process_is_no_fault_of_the_client() {
        let (near, mut far) = duplex(4);
        let mut patient = Patient::new(near);
        let writing = tokio::spawn(async move { patient.write_all(b"12345678").await });
        tokio::task::yield_now().await;
        tokio::time::advance(2 * STALL_MAX).await;
        tokio::task::yield_now().await;
        let mut read = [0; 8];
        far.read_exact(&mut read).await.unwrap();
        writing.await.unwrap().unwrap();
    }
}
