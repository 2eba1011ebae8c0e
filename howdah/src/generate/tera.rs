//! Records for sort benchmarks in the layout of `gensort -a`: 100 bytes, of which the first 10 are a
//! random printable key; each record is a line, so the builtins `sort` and `terasort` take them.

use mapreduce::runtime::{TERA_RECORD_BYTES, tera_record};

use super::BLOCK_BYTES;

/// Bytes of a record.
const RECORD_BYTES: u64 = TERA_RECORD_BYTES as u64;

/// A size that holds no whole number of records.
#[derive(Debug, thiserror::Error)]
#[error("{size} bytes are not whole records of {RECORD_BYTES}: take {below} or {above}")]
pub(crate) struct TeraSizeError {
    size: u64,
    below: u64,
    above: u64,
}

/// An iterator of blocks of whole records.
pub(crate) struct Tera {
    seed: u64,
    next: u64,
    end: u64,
}

impl Tera {
    /// Records that fill `size_bytes`, for `seed`.
    ///
    /// # Errors
    /// When they can't fill it exactly.
    pub(crate) fn new(size_bytes: u64, seed: u64) -> Result<Self, TeraSizeError> {
        let records = size_bytes / RECORD_BYTES;
        let below = records * RECORD_BYTES;
        if below != size_bytes {
            let above = below.saturating_add(RECORD_BYTES);
            return Err(TeraSizeError { size: size_bytes, below, above });
        }
        Ok(Self { seed, next: 0, end: records })
    }
}

impl Iterator for Tera {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let n = (self.end - self.next).min(BLOCK_BYTES as u64 / RECORD_BYTES);
        let mut block = vec![0; (n * RECORD_BYTES) as usize];
        for record in block.chunks_exact_mut(RECORD_BYTES as usize) {
            tera_record(self.next, self.seed, record);
            self.next += 1;
        }
        (n > 0).then_some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_lines_with_printable_keys_and_their_ordinal() {
        let made: Vec<u8> = Tera::new(RECORD_BYTES * 5000, 3).unwrap().flatten().collect();
        assert_eq!(made.len() as u64, RECORD_BYTES * 5000);
        for (ordinal, record) in made.chunks(RECORD_BYTES as usize).enumerate() {
            assert!(record[..98].iter().all(|byte| (b' '..=b'~').contains(byte)));
            assert_eq!(&record[98..], b"\r\n");
            assert_eq!(record[12..44], *format!("{ordinal:032X}").as_bytes());
        }
        let again: Vec<u8> = Tera::new(RECORD_BYTES * 5000, 3).unwrap().flatten().collect();
        assert_eq!(made, again);
    }

    #[test]
    fn a_size_between_two_records_is_refused_with_the_two_next_to_it() {
        let error = Tera::new(250, 3).err().unwrap().to_string();
        assert!(error.contains("200") && error.contains("300"), "{error}");
    }
}
