//! What a lane carries: messages, several to a frame.
//!
//! A message is `kind u8, id u64, within_ms u32, length u32` (little endian) and its body. The layout and the numbers of the
//! kinds are pinned; bytes from outside are read without trust and without a copy.

use bytes::{Buf, BufMut, Bytes};
use thiserror::Error;

/// kind 1, id 8, within 4, length 4
pub(crate) const HEADER_BYTES: usize = 17;

/// What a message is. The numbers are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A question; its id comes back with the answer.
    Question = 1,
    /// The answer.
    Answer = 2,
    /// There is none, and it may have been carried out.
    NoAnswer = 3,
    /// There is no room to answer: it was not carried out.
    Busy = 4,
    /// Needs no answer; its id counts up from 1 on each lane.
    Tell = 5,
    /// The sender leaves on purpose.
    Goodbye = 6,
    /// The dialler takes the lane for there: nothing that was told before comes after this.
    Ready = 7,
    /// What a snapshot is of.
    SnapshotHeader = 8,
    /// A part of it.
    Chunk = 9,
    /// It is whole.
    SnapshotEnd = 10,
    /// A chunk was taken.
    Taken = 11,
    /// The sender is still at it.
    Alive = 12,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        use Kind::*;
        const ALL: [Kind; 12] =
            [Question, Answer, NoAnswer, Busy, Tell, Goodbye, Ready, SnapshotHeader, Chunk, SnapshotEnd, Taken, Alive];
        ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// What it is.
    pub(crate) kind: Kind,
    /// Which question, or which told one.
    pub(crate) id: u64,
    /// How long an answer is waited for, ms; of questions only.
    pub(crate) within_ms: u32,
    /// The rest.
    pub(crate) body: Bytes,
}

impl Message {
    /// A message of `kind` with a body.
    #[must_use]
    pub(crate) fn new(kind: Kind, id: u64, body: impl Into<Bytes>) -> Self {
        Self { kind, id, within_ms: 0, body: body.into() }
    }

    /// A message that is all said by its kind.
    #[must_use]
    pub(crate) fn bare(kind: Kind) -> Self {
        Self::new(kind, 0, Bytes::new())
    }

    /// How long it is in a frame, bytes.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// Writes it behind what is in `frame`.
    pub(crate) fn write(&self, frame: &mut impl BufMut) {
        frame.put_u8(self.kind as u8);
        frame.put_u64_le(self.id);
        frame.put_u32_le(self.within_ms);
        // Bodies are bounded by the longest message, far below 4 GiB.
        frame.put_u32_le(self.body.len() as u32);
        frame.put_slice(&self.body);
    }
}

/// A frame is no row of messages. Nothing behind the damage was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a frame holds no messages, or half of one")]
pub(crate) struct Malformed;

/// The messages of a frame, in order; ends at the first damage.
pub(crate) struct Messages(Bytes);

impl Messages {
    /// Reads `frame`.
    #[must_use]
    pub(crate) fn of(frame: Bytes) -> Self {
        Self(frame)
    }

    fn read(&mut self) -> Option<Message> {
        if self.0.len() < HEADER_BYTES {
            return None;
        }
        let kind = Kind::of(self.0.get_u8())?;
        let (id, within_ms, length) = (self.0.get_u64_le(), self.0.get_u32_le(), self.0.get_u32_le() as usize);
        (length <= self.0.len()).then(|| Message { kind, id, within_ms, body: self.0.split_to(length) })
    }
}

impl Iterator for Messages {
    type Item = Result<Message, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_none() {
            self.0.clear();
        }
        Some(read.ok_or(Malformed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(messages: &[Message]) -> Bytes {
        let mut frame = Vec::new();
        messages.iter().for_each(|message| message.write(&mut frame));
        frame.into()
    }

    #[test]
    fn the_layout_on_the_wire_is_pinned() {
        let message = Message { kind: Kind::Question, id: 258, within_ms: 500, body: Bytes::from_static(b"ab") };
        let bytes = [1, 2, 1, 0, 0, 0, 0, 0, 0, 244, 1, 0, 0, 2, 0, 0, 0, b'a', b'b'];
        assert_eq!(written(std::slice::from_ref(&message)), bytes[..]);
        assert_eq!(written(&[Message::bare(Kind::Alive)])[0], 12);
    }

    #[test]
    fn every_message_of_a_frame_comes_out_in_order() {
        let messages: Vec<_> =
            (1..=12).map(|n| Message::new(Kind::of(n).unwrap(), n.into(), vec![n; n.into()])).collect();
        let read: Result<Vec<_>, _> = Messages::of(written(&messages)).collect();
        assert_eq!(read.unwrap(), messages);
    }

    #[test]
    fn every_cut_is_noticed_and_nothing_follows_it() {
        let whole = written(&[Message::new(Kind::Tell, 1, &b"first"[..]), Message::new(Kind::Tell, 2, &b"second"[..])]);
        let boundary = HEADER_BYTES + 5;
        for len in (1..whole.len()).filter(|len| *len != boundary) {
            let read: Vec<_> = Messages::of(whole.slice(..len)).collect();
            assert_eq!(read.last(), Some(&Err(Malformed)), "{len}");
            assert!(read.len() <= 2);
        }
        for number in [0, 13, 255] {
            let mut bytes = whole.to_vec();
            bytes[0] = number;
            assert_eq!(Messages::of(bytes.into()).collect::<Vec<_>>(), [Err(Malformed)]);
        }
    }

    #[test]
    fn noise_is_read_without_a_panic() {
        for seed in 0..2_000_u64 {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let bytes: Vec<u8> = (0..seed % 300)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state % 14) as u8
                })
                .collect();
            let longest = bytes.len();
            assert!(Messages::of(bytes.into()).flatten().all(|message| message.len() <= longest));
        }
    }
}
