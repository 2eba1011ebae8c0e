//! Randomness from the operating system, for secrets, client ids and jitter. Cores get seeds
//! instead.

use ring::rand::{SecureRandom, SystemRandom};

/// Fills `bytes`.
pub(crate) fn fill(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the kernel's random source answers");
}

/// `n_bytes` random bytes as lower-case hexadecimal digits, twice as many characters.
#[must_use]
pub fn random_hex(n_bytes: usize) -> String {
    let mut bytes = vec![0; n_bytes];
    fill(&mut bytes);
    hex(&bytes)
}

/// `bytes` as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| DIGITS[usize::from(digit)]).collect()
}

/// A random number.
#[must_use]
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
