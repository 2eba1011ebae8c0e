//! Contents of test files that nobody has to keep: a number tells all bytes of one.

use std::sync::LazyLock;

/// Longest content.
pub const CONTENT_BYTES_MAX: usize = 40 << 20;
/// Beginnings to choose from: contents of different numbers are pieces of one pool that begin elsewhere.
const BEGINNINGS: usize = 8 << 20;

static POOL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut numbers = Numbers::new(1);
    let n_words = (CONTENT_BYTES_MAX + BEGINNINGS).div_ceil(8);
    (0..n_words).flat_map(|_| numbers.number().to_le_bytes()).collect()
});

/// The first `bytes` bytes of the content of that number.
///
/// # Panics
/// When it has fewer.
#[must_use]
pub fn content(number: u64, bytes: usize) -> &'static [u8] {
    let begin = Numbers::new(number).below(BEGINNINGS as u64) as usize;
    assert!(bytes <= CONTENT_BYTES_MAX, "{bytes} are more bytes than a content has");
    &POOL[begin..begin + bytes]
}

/// Numbers that look random, and are the same for the same seed (splitmix64).
#[derive(Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Those of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next one, as one below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}
