//! What waits to be sent on a lane: a bounded queue whose other end is the body of an HTTP/2 stream.
//!
//! What is ready at once leaves in one frame. Promises that a full queue refuses, that nothing is taken once the lane has
//! ended, and that no task stands between a message and its connection.

use super::{
    bounds::{FRAME_MERGE_BYTES, MESSAGE_MAX_BYTES},
    frame::{Kind, Message},
};
use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio::sync::Notify;

/// One frame on its way out.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A step of the handshake.
    Greeting(Vec<u8>),
    /// Messages.
    Messages(Vec<Message>),
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// There is no room.
    Full,
    /// The lane has ended.
    Ended,
    /// It is longer than any message may be.
    TooLong,
}

#[derive(Debug, Default)]
struct Queue {
    greetings: VecDeque<Vec<u8>>,
    messages: VecDeque<Message>,
    bytes: usize,
    told: u64,
    ended: bool,
    waker: Option<Waker>,
}

/// The queue of a lane.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    over: Notify,
    max_messages: usize,
    max_bytes: usize,
}

impl Outbox {
    /// A queue of at most so much, and the stream that empties it.
    #[must_use]
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> (Arc<Self>, OutboxStream) {
        let outbox = Arc::new(Self { queue: Mutex::default(), over: Notify::new(), max_messages, max_bytes });
        (Arc::clone(&outbox), OutboxStream(outbox))
    }

    /// Says a step of the handshake, of which there are few.
    pub(crate) fn greet(&self, greeting: Vec<u8>) {
        self.change(|queue| {
            if !queue.ended {
                queue.greetings.push_back(greeting);
            }
        });
    }

    /// Queues a message; what is told is numbered here.
    ///
    /// # Errors
    /// [`NotTaken`] when it was not queued.
    pub(crate) fn push(&self, mut message: Message) -> Result<(), NotTaken> {
        if message.body.len() > MESSAGE_MAX_BYTES {
            return Err(NotTaken::TooLong);
        }
        self.change(|queue| {
            if queue.ended {
                return Err(NotTaken::Ended);
            }
            if queue.messages.len() >= self.max_messages || queue.bytes + message.len() > self.max_bytes {
                return Err(NotTaken::Full);
            }
            if message.kind == Kind::Tell {
                queue.told += 1;
                message.id = queue.told;
            }
            queue.bytes += message.len();
            queue.messages.push_back(message);
            Ok(())
        })
    }

    /// Takes nothing more; what waits is still sent.
    pub(crate) fn finish(&self) {
        self.change(|queue| queue.ended = true);
    }

    /// Takes nothing more, and drops what waits.
    pub(crate) fn cut(&self) {
        self.change(|queue| {
            queue.ended = true;
            queue.greetings.clear();
            queue.messages.clear();
            queue.bytes = 0;
        });
        self.over.notify_one();
    }

    /// Waits until the lane was cut, by either side; for the one task that reads the lane.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }

    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.queue.lock();
        let changed = change(&mut queue);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        changed
    }
}

/// The end of the queue that the connection reads. Dropping it ends the lane.
#[derive(Debug)]
pub(crate) struct OutboxStream(Arc<Outbox>);

impl Stream for OutboxStream {
    type Item = Outgoing;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Outgoing>> {
        let mut queue = self.0.queue.lock();
        if let Some(greeting) = queue.greetings.pop_front() {
            return Poll::Ready(Some(Outgoing::Greeting(greeting)));
        }
        let mut frame = Vec::with_capacity(queue.messages.len().min(64));
        let mut bytes = 0;
        while let Some(message) = queue.messages.front() {
            if bytes > 0 && bytes + message.len() > FRAME_MERGE_BYTES {
                break;
            }
            bytes += message.len();
            frame.extend(queue.messages.pop_front());
        }
        queue.bytes -= bytes;
        if !frame.is_empty() {
            return Poll::Ready(Some(Outgoing::Messages(frame)));
        }
        if queue.ended {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for OutboxStream {
    fn drop(&mut self) {
        self.0.cut();
    }
}

/// What came in: one whole frame.
pub(crate) type Incoming = tonic::Streaming<Bytes>;

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};

    fn tell(bytes: usize) -> Message {
        Message::new(Kind::Tell, 0, vec![0; bytes])
    }

    fn ids(frame: Option<Outgoing>) -> Vec<u64> {
        match frame {
            Some(Outgoing::Messages(messages)) => messages.iter().map(|message| message.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_ready_leaves_in_one_frame_up_to_its_bound() {
        let (outbox, mut stream) = Outbox::new(100, 1 << 20);
        for bytes in [10, 10, FRAME_MERGE_BYTES - 90, 10, FRAME_MERGE_BYTES * 2, 1] {
            outbox.push(tell(bytes)).unwrap();
        }
        for expected in [vec![1, 2, 3], vec![4], vec![5], vec![6]] {
            assert_eq!(ids(stream.next().now_or_never().unwrap()), expected);
        }
        assert!(stream.next().now_or_never().is_none());
    }

    #[test]
    fn a_full_queue_refuses_and_takes_again_once_it_was_read() {
        let (outbox, mut stream) = Outbox::new(2, 1 << 20);
        outbox.push(tell(1)).unwrap();
        outbox.push(tell(1)).unwrap();
        assert_eq!(outbox.push(tell(1)), Err(NotTaken::Full));
        assert_eq!(ids(stream.next().now_or_never().unwrap()), [1, 2]);
        outbox.push(tell(1)).unwrap();
        assert_eq!(ids(stream.next().now_or_never().unwrap()), [3], "a refused one is not counted");
        let (outbox, _stream) = Outbox::new(100, 1_000);
        assert_eq!(outbox.push(tell(1_000)), Err(NotTaken::Full));
        assert_eq!(outbox.push(tell(MESSAGE_MAX_BYTES + 1)), Err(NotTaken::TooLong));
    }

    #[test]
    fn a_finished_queue_is_emptied_and_a_cut_one_is_not() {
        let (outbox, mut stream) = Outbox::new(10, 1 << 20);
        outbox.push(tell(1)).unwrap();
        outbox.finish();
        assert_eq!(outbox.push(tell(1)), Err(NotTaken::Ended));
        assert_eq!(ids(stream.next().now_or_never().unwrap()), [1]);
        assert!(stream.next().now_or_never().unwrap().is_none());
        let (outbox, mut stream) = Outbox::new(10, 1 << 20);
        outbox.push(tell(1)).unwrap();
        outbox.cut();
        assert!(stream.next().now_or_never().unwrap().is_none());
    }

    #[test]
    fn nothing_is_taken_once_nobody_reads() {
        let (outbox, stream) = Outbox::new(10, 1 << 20);
        drop(stream);
        assert_eq!(outbox.push(tell(1)), Err(NotTaken::Ended));
    }
}
