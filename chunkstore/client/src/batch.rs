//! Buffers for batches of blocks, used again: a fresh one of a mebibyte would be cleared, and its pages asked of
//! the kernel, each time, which takes as long as reading a mebibyte from the page cache does. The client's local
//! reads and the chunkserver call this.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Buffers that wait at most; what comes back beyond that is freed.
const WAITING_MAX: usize = 16;
/// Bytes of a buffer that waits at most.
const WAITING_BYTES_MAX: usize = 2 << 20;

static WAITING: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Never held across anything that takes time.
fn waiting() -> MutexGuard<'static, Vec<Vec<u8>>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer that comes back when its last reader is done with it.
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

/// `length` bytes as `fill` writes them, which must write each: what it finds there is of an earlier batch.
///
/// # Errors
/// Those of `fill`.
pub fn fill_batch<E>(
    length: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<Bytes, E> {
    let mut batch = Batch { buffer: waiting().pop().unwrap_or_default(), length };
    if batch.buffer.len() < length {
        batch.buffer.resize(length, 0);
    }
    fill(&mut batch.buffer[..length])?;
    Ok(Bytes::from_owner(batch))
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
    fn a_batch_that_could_not_be_filled_is_none() {
        assert_eq!(fill_batch(10, |_| Err("no")), Err("no"));
        assert_eq!(batch(4, 7).as_ref(), [7; 4]);
    }
}
