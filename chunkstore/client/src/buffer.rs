//! Verified bytes of a file that a reader has and its caller has not taken yet: it relates the file
//! offset of what was fetched to that of what was handed out. No I/O.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};

/// Contiguous pieces of the file, from some offset on.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    start: u64,
    length: u64,
    pieces: VecDeque<Bytes>,
}

impl Buffer {
    /// Offset of the first byte; if there is none, of the next one to come.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Offset behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.length
    }

    /// Appends bytes.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length += piece.len() as u64;
            self.pieces.push_back(piece);
        }
    }

    /// Takes the first piece, or the part of it before `limit`; `None` if there is none.
    pub(crate) fn take(&mut self, limit: u64) -> Option<Bytes> {
        let wanted = usize::try_from(limit.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let first = self.pieces.front_mut().filter(|_| wanted > 0)?;
        let taken = first.split_to(wanted.min(first.len()));
        if first.is_empty() {
            self.pieces.pop_front();
        }
        self.start += taken.len() as u64;
        self.length -= taken.len() as u64;
        Some(taken)
    }

    /// Drops everything before `offset`. If `offset` is neither in the buffer nor at its end,
    /// returns `false` and drops nothing.
    pub(crate) fn skip_to(&mut self, offset: u64) -> bool {
        if !(self.start..=self.end()).contains(&offset) {
            return false;
        }
        while let Some(first) = self.pieces.front_mut().filter(|_| self.start < offset) {
            let before = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
            let n = before.min(first.len());
            first.advance(n);
            if first.is_empty() {
                self.pieces.pop_front();
            }
            self.start += n as u64;
            self.length -= n as u64;
        }
        true
    }

    /// Drops everything, to continue at `offset`.
    pub(crate) fn restart(&mut self, offset: u64) {
        *self = Self { start: offset, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_and_skips_within_keep_the_rest() {
        let mut buffer = Buffer::default();
        buffer.restart(100);
        for piece in ["abc", "", "defg", "h"] {
            buffer.push(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!((buffer.start(), buffer.end()), (100, 108));
        assert_eq!(buffer.take(100), None);
        assert_eq!(buffer.take(102).as_deref(), Some(&b"ab"[..]));
        assert!(!buffer.skip_to(101) && !buffer.skip_to(109), "behind, and beyond");
        assert!(buffer.skip_to(104));
        assert_eq!(buffer.take(u64::MAX).as_deref(), Some(&b"efg"[..]));
        assert!(buffer.skip_to(108));
        assert_eq!((buffer.start(), buffer.end(), buffer.take(u64::MAX)), (108, 108, None));
    }
}
