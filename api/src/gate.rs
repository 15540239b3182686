//! The stream between a client and hyper: looks at every head before hyper does, and lets bodies through untouched.
//!
//! What must be refused goes on as a request without a body, with a [`Note`] beside it, and the service answers as it answers
//! everything: hyper alone would close without a word, or take what two servers could read in two ways. Knows where a head begins:
//! at the start, behind a body of known length, never behind chunks or an upgrade, after which the connection ends. Holds at most
//! one head, and what came in behind a request in the same read.

use crate::head::{self, Look, Note, UNREADABLE};
use bytes::{Buf, BytesMut};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Largest head of a request, bytes: a query of 500 ids of 128 bytes, and room for a token.
pub(crate) const HEAD_MAX_BYTES: usize = 80 * 1_024;
/// So much of a head that is too large is read on, so that the client, still sending, gets to read its refusal.
const DISCARD_MAX_BYTES: usize = 4 * 1_024 * 1_024;
/// How long a refused client may take to close its side: closed on meanwhile, it would not get to read why.
const LINGER_MAX: Duration = Duration::from_secs(1);
const SCRATCH_BYTES: usize = 4 * 1_024;

/// What the gate tells the service of the request that comes next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<AtomicU8>);

impl Notes {
    fn put(&self, note: Note) {
        self.0.store(note as u8, Ordering::Relaxed);
    }

    /// The note on the request that hyper has just read; hyper calls the service before it reads on.
    pub(crate) fn take(&self) -> Note {
        let all = [Note::Last, Note::Lengths, Note::Hosts, Note::Malformed, Note::TooLarge, Note::Late];
        let note = self.0.swap(Note::Plain as u8, Ordering::Relaxed);
        all.into_iter().find(|n| *n as u8 == note).unwrap_or_default()
    }
}

/// What happens to the bytes of a head that is still coming in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Keeping,
    /// The rest of a line is left out: it carries a token longer than any.
    Clipping,
    /// All of it is left out.
    Discarding,
    /// It was refused; whatever the client still sends is nobody's.
    Refused,
}

/// A stream that is looked at.
#[derive(Debug)]
pub(crate) struct Gate<S> {
    inner: S,
    notes: Notes,
    /// A head that is not whole, or what goes on to hyper next.
    held: BytesMut,
    /// So many of the next bytes go on to hyper; all, if it is the largest.
    pass: u64,
    mode: Mode,
    /// Bytes left out of the head that is coming in.
    left_out: usize,
    head_max: Duration,
    /// Set while a head is not whole, or a refused client may still read; boxed because it hardly ever is.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Gate<S> {
    /// Looks at `inner`, and leaves notes; a head that has begun may take `head_max`.
    pub(crate) fn new(inner: S, head_max: Duration, notes: Notes) -> Self {
        let (held, mode) = (BytesMut::new(), Mode::Keeping);
        Self { inner, notes, held, pass: 0, mode, left_out: 0, head_max, timer: None }
    }

    fn passed(&mut self, count: usize) {
        if self.pass != u64::MAX {
            self.pass = self.pass.saturating_sub(count as u64);
        }
    }

    fn passes(&self, count: usize) -> usize {
        usize::try_from(self.pass).unwrap_or(usize::MAX).min(count)
    }

    /// A head is whole, with `body` behind it: so much goes on.
    fn admit(&mut self, len: usize, body: Option<u64>) {
        self.notes.put(if body.is_some() { Note::Plain } else { Note::Last });
        self.pass = body.map_or(u64::MAX, |body| body.saturating_add(len as u64));
        (self.timer, self.mode, self.left_out) = (None, Mode::Keeping, 0);
    }

    fn refuse(&mut self, note: Note, instead: &[u8]) {
        self.notes.put(note);
        self.held = BytesMut::from(instead);
        self.pass = instead.len() as u64;
        (self.timer, self.mode) = (None, Mode::Refused);
    }

    /// Takes a piece of a head.
    fn take_in(&mut self, mut piece: &[u8]) {
        if self.mode == Mode::Clipping {
            let end = piece.iter().position(|b| *b == b'\n');
            self.left_out += end.unwrap_or(piece.len());
            match end {
                Some(end) => {
                    self.mode = Mode::Keeping;
                    self.held.extend_from_slice(b"\r\n");
                    piece = &piece[end + 1..];
                }
                None if self.left_out > DISCARD_MAX_BYTES => return self.refuse(Note::TooLarge, UNREADABLE),
                None => return,
            }
        }
        let before = self.held.len();
        self.held.extend_from_slice(piece);
        if self.mode == Mode::Discarding {
            self.left_out += piece.len();
            if head::ends(&self.held, before) || self.left_out > DISCARD_MAX_BYTES {
                return self.refuse(Note::TooLarge, UNREADABLE);
            }
            let kept = self.held.len().saturating_sub(3);
            return self.held.advance(kept);
        }
        // What was looked at before is not looked at again until it may be whole.
        if before == 0 || head::ends(&self.held, before) {
            self.examine();
        } else if self.held.len() > HEAD_MAX_BYTES {
            self.shorten(self.held.len());
        }
    }

    /// Looks at what is held from its beginning.
    fn examine(&mut self) {
        let blank = self.held.iter().take_while(|b| matches!(**b, b'\r' | b'\n')).count();
        self.held.advance(blank);
        match head::look(&self.held) {
            Look::Whole { len, body } if len <= HEAD_MAX_BYTES => self.admit(len, body),
            Look::Whole { len, .. } => self.shorten(len),
            Look::Refused(note, instead) => self.refuse(note, &instead),
            Look::Partial if self.held.len() > HEAD_MAX_BYTES => self.shorten(self.held.len()),
            Look::Partial => {}
        }
    }

    /// Makes a head of `len` bytes fit by clipping tokens, or gives it up.
    fn shorten(&mut self, len: usize) {
        let behind = self.held.split_off(len);
        if head::clip(&mut self.held) {
            self.mode = Mode::Clipping;
        }
        if self.held.len() > HEAD_MAX_BYTES {
            // A complete head is over; of an incomplete one the rest has still to come.
            if head::ends(&self.held, 0) {
                return self.refuse(Note::TooLarge, UNREADABLE);
            }
            self.mode = Mode::Discarding;
            return self.held.clear();
        }
        self.held.unsplit(behind);
        if self.mode == Mode::Keeping && head::ends(&self.held, 0) {
            self.examine();
        }
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Passes on what belongs to the request under way.
    fn poll_pass(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            let count = self.passes(self.held.len().min(buf.remaining()));
            buf.put_slice(&self.held[..count]);
            self.held.advance(count);
            if self.held.is_empty() {
                self.held = BytesMut::new();
            }
            self.passed(count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.keep_behind(buf, before);
        Poll::Ready(Ok(()))
    }

    /// Takes back what was read behind the end of the request under way.
    fn keep_behind(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let fresh = &buf.filled()[before..];
        let count = self.passes(fresh.len());
        self.held.extend_from_slice(&fresh[count..]);
        self.passed(count);
        buf.set_filled(before + count);
    }

    /// Waits for a whole head. Ready with bytes in `buf`, at the stream's end, or when there is something to pass.
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        if !self.held.is_empty() && self.timer.is_none() {
            // What came in behind the last request.
            self.examine();
        }
        while self.pass == 0 {
            let before = buf.filled().len();
            if Pin::new(&mut self.inner).poll_read(cx, buf)?.is_pending() {
                return self.poll_late(cx).map(Ok);
            }
            let fresh = &buf.filled()[before..];
            if fresh.is_empty() {
                return Poll::Ready(Ok(true));
            }
            if self.held.is_empty()
                && self.mode == Mode::Keeping
                && let Look::Whole { len, body } = head::look(fresh)
            {
                // As it nearly always is: one whole head, straight into hyper's buffer.
                self.admit(len, body);
                self.keep_behind(buf, before);
                return Poll::Ready(Ok(true));
            }
            self.take_in(&buf.filled()[before..]);
            buf.set_filled(before);
        }
        Poll::Ready(Ok(false))
    }

    /// Nothing comes in: a head that has begun is given up in time.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.held.is_empty() && self.mode == Mode::Keeping {
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.head_max)));
        ready!(timer.as_mut().poll(cx));
        self.refuse(if self.mode == Mode::Discarding { Note::TooLarge } else { Note::Late }, UNREADABLE);
        Poll::Ready(false)
    }

    /// Reads what a refused client still sends, for a while and up to a bound, and forgets it.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; SCRATCH_BYTES];
        while self.left_out <= DISCARD_MAX_BYTES {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => self.left_out += buf.filled().len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(LINGER_MAX)));
                    return timer.as_mut().poll(cx);
                }
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.pass == 0 {
            if this.mode == Mode::Refused {
                // The answer closes the connection; nothing is read for hyper any more.
                return Poll::Pending;
            }
            if ready!(this.poll_head(cx, buf))? {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_pass(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        if self.mode == Mode::Refused {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
