//! Numbers as 16 hexadecimal digits, the form of ids. Every request formats some, and the standard
//! library's formatter takes several times as long.

/// The digits of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HexDigits([u8; 16]);

impl HexDigits {
    /// The digits as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

/// All 64 bits of `number` in lower-case hexadecimal digits.
#[must_use]
pub fn hex_digits(number: u64) -> HexDigits {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut digits = [0; 16];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    HexDigits(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_the_standard_library_writes_it() {
        for number in [0, 1, 0x2a, 0x0123_4567_89ab_cdef, u64::MAX, 1 << 63] {
            assert_eq!(hex_digits(number).as_str(), format!("{number:016x}"));
        }
    }
}
