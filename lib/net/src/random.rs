//! Randomness from the operating system, for secrets, client ids and jitter. Cores take seeds instead.

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
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A random number.
#[must_use]
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
