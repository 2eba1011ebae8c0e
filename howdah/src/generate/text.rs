//! Zipf text: lines of about ten words, the word of rank r drawn with a probability proportional to
//! 1/r, as in real text (exponent 1).

use super::BLOCK_BYTES;
use super::alias::AliasTable;
use super::random::Random;
use super::words::vocabulary;

const VOCABULARY_WORDS: usize = 200_000;
/// Lines have 1 to this many words.
const WORDS_PER_LINE_MAX: usize = 19;

/// An iterator of blocks that together have the size asked for. The last byte is a newline; the word
/// before it may be cut.
pub(crate) struct ZipfText {
    words: Vec<Box<[u8]>>,
    ranks: AliasTable,
    random: Random,
    left_bytes: u64,
    left_in_line: usize,
}

impl ZipfText {
    /// Text of `size_bytes` for `seed`.
    pub(crate) fn new(size_bytes: u64, seed: u64) -> Self {
        Self::of_words(VOCABULARY_WORDS, size_bytes, seed)
    }

    fn of_words(n_words: usize, size_bytes: u64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let words = vocabulary(n_words, &mut random);
        let weights: Vec<f64> = (1..=words.len()).map(|rank| 1.0 / rank as f64).collect();
        let left_in_line = 1 + random.below(WORDS_PER_LINE_MAX);
        let ranks = AliasTable::new(&weights);
        Self { words, ranks, random, left_bytes: size_bytes, left_in_line }
    }

    fn push_word(&mut self, block: &mut Vec<u8>) {
        block.extend_from_slice(&self.words[self.ranks.draw(&mut self.random)]);
        self.left_in_line -= 1;
        if self.left_in_line == 0 {
            block.push(b'\n');
            self.left_in_line = 1 + self.random.below(WORDS_PER_LINE_MAX);
        } else {
            block.push(b' ');
        }
    }
}

impl Iterator for ZipfText {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.left_bytes == 0 {
            return None;
        }
        let target = usize::try_from(self.left_bytes).map_or(BLOCK_BYTES, |n| n.min(BLOCK_BYTES));
        let mut block = Vec::with_capacity(target + 64);
        while block.len() < target {
            self.push_word(&mut block);
        }
        if block.len() as u64 >= self.left_bytes {
            block.truncate(target);
            block[target - 1] = b'\n';
        }
        self.left_bytes -= block.len() as u64;
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(size: u64, seed: u64) -> Vec<u8> {
        ZipfText::of_words(10_000, size, seed).flatten().collect()
    }

    #[test]
    fn a_seed_and_a_size_give_the_same_bytes_of_that_size() {
        for size in [0, 1, 2, 100, BLOCK_BYTES as u64, 3 * BLOCK_BYTES as u64 + 5] {
            let made = text(size, 7);
            assert_eq!(made.len() as u64, size);
            assert!(made.last().is_none_or(|&byte| byte == b'\n'));
            assert_eq!(made, text(size, 7));
        }
        assert_ne!(text(1000, 7), text(1000, 8));
    }

    #[test]
    fn the_first_word_is_twice_as_frequent_as_the_second() {
        let made = text(1 << 20, 42);
        let mut counts = std::collections::BTreeMap::<&[u8], u32>::new();
        for word in made.split(u8::is_ascii_whitespace) {
            *counts.entry(word).or_default() += 1;
        }
        let mut counts: Vec<u32> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let ratio = f64::from(counts[0]) / f64::from(counts[1]);
        assert!((1.8..2.2).contains(&ratio), "{ratio}");
        assert!(counts.len() > 5_000, "{}", counts.len());
    }
}
