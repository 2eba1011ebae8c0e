//! Reusable buffers for batches of blocks. A fresh buffer of a mebibyte would have to be cleared,
//! and its pages obtained from the kernel, each time, which takes as long as reading a mebibyte
//! from the page cache. Called by the client's local reads, by the chunkserver, and by the server
//! of map outputs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Idle buffers that are kept at most; further ones are freed.
const WAITING_MAX: usize = 16;
/// Maximum length of an idle buffer that is kept.
const WAITING_BYTES_MAX: usize = 2 << 20;

static WAITING: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// The lock is never held across anything that takes time.
fn waiting() -> MutexGuard<'static, Vec<Vec<u8>>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer that is returned for reuse when its last reader is done with it.
#[derive(Debug)]
struct Batch {
    buffer: Vec<u8>,
    length: usize,
}

impl AsRef<[u8]> for Batch {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut waiting = waiting();
        if waiting.len() < WAITING_MAX && buffer.len() <= WAITING_BYTES_MAX {
            waiting.push(buffer);
        }
    }
}

/// `length` bytes written by `fill`, which must write every byte: the buffer holds those of an
/// earlier batch.
///
/// # Errors
/// Those of `fill`.
pub fn fill_batch<E>(
    length: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<Bytes, E> {
    let mut filling = Filling::new(length);
    fill(filling.next(length))?;
    Ok(filling.freeze())
}

/// A buffer that is filled piece by piece.
#[derive(Debug)]
pub struct Filling(Batch);

impl Filling {
    /// An empty buffer with room for `room` bytes.
    #[must_use]
    pub fn new(room: usize) -> Self {
        let mut buffer = waiting().pop().unwrap_or_default();
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        Self(Batch { buffer, length: 0 })
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.length
    }

    /// Whether nothing is written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next `n` bytes. The caller must write each of them: they hold those of an earlier batch.
    ///
    /// # Panics
    /// When there is no room for them.
    pub fn next(&mut self, n: usize) -> &mut [u8] {
        let start = self.0.length;
        self.0.length += n;
        &mut self.0.buffer[start..start + n]
    }

    /// The written bytes.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn batch(length: usize, with: u8) -> Bytes {
        let fill = |buffer: &mut [u8]| {
            buffer.fill(with);
            Ok::<_, Infallible>(())
        };
        let Ok(batch) = fill_batch(length, fill);
        batch
    }

    #[test]
    fn no_buffer_is_used_again_before_its_last_reader_is_done() {
        let all: Vec<_> = (0..60_u8).map(|n| batch(1000 + usize::from(n), n)).collect();
        let parts: Vec<_> = all.iter().map(|batch| batch.slice(990..)).collect();
        drop(all);
        let more: Vec<_> = (100..200).map(|n| batch(3000, n)).collect();
        for (n, part) in (0..).zip(&parts) {
            assert_eq!(part.as_ref(), vec![n; 10 + usize::from(n)]);
        }
        for (n, batch) in (100..).zip(&more) {
            assert_eq!(batch.as_ref(), [n; 3000]);
        }
        drop((parts, more));
        assert!(waiting().len() <= WAITING_MAX);
    }

    #[test]
    fn what_is_filled_bit_by_bit_is_what_was_written() {
        let mut filling = Filling::new(10);
        filling.next(3).copy_from_slice(b"abc");
        assert_eq!((filling.len(), filling.is_empty()), (3, false));
        filling.next(7).copy_from_slice(b"defghij");
        assert_eq!(filling.freeze(), "abcdefghij");
        assert!(Filling::new(20).freeze().is_empty());
    }

    #[test]
    fn a_batch_that_could_not_be_filled_is_none() {
        assert_eq!(fill_batch(10, |_| Err("no")), Err("no"));
        assert_eq!(batch(4, 7).as_ref(), [7; 4]);
    }
}
