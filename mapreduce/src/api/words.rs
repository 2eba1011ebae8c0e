//! Splitting lines into words.

/// The words of a line: runs of bytes other than ASCII white space (9–13 and 32).
#[must_use]
pub fn words(line: &[u8]) -> Words<'_> {
    Words { line, at: 0, block: 0, ends: if line.is_empty() { 0 } else { mask_at(line, 0) } }
}

/// See [`words`].
#[derive(Clone, Debug)]
pub struct Words<'a> {
    line: &'a [u8],
    /// First byte not yet given away.
    at: usize,
    /// Where the block of `ends` begins.
    block: usize,
    /// White space of the block that is not yet passed, bit by bit.
    ends: u64,
}

/// Bytes looked at together.
const BLOCK: usize = 64;

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            while self.ends == 0 {
                if self.block + BLOCK >= self.line.len() {
                    let last = &self.line[self.at..];
                    self.at = self.line.len();
                    return (!last.is_empty()).then_some(last);
                }
                self.block += BLOCK;
                self.ends = mask_at(self.line, self.block);
            }
            let end = self.block + self.ends.trailing_zeros() as usize;
            self.ends &= self.ends - 1;
            let word = &self.line[self.at..end];
            self.at = end + 1;
            if !word.is_empty() {
                return Some(word);
            }
        }
    }
}

/// Bit i is set where byte `at + i` of the line is white space.
#[inline]
fn mask_at(line: &[u8], at: usize) -> u64 {
    let rest = &line[at..];
    let (words, tail) = rest[..rest.len().min(BLOCK)].as_chunks::<8>();
    let mut mask = 0;
    for (n, word) in words.iter().enumerate() {
        mask |= spaces(u64::from_le_bytes(*word)) << (8 * n);
    }
    if !tail.is_empty() {
        let mut word = [b'x'; 8];
        word[..tail.len()].copy_from_slice(tail);
        mask |= spaces(u64::from_le_bytes(word)) << (8 * words.len());
    }
    mask
}

/// One bit for each of eight bytes, set where it is white space. The sums can't carry from one byte to
/// the next: the high bits are taken out first.
#[inline]
fn spaces(eight: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let low = eight & !HIGH;
    let from_9 = low + ONES * (128 - 9);
    let from_14 = low + ONES * (128 - 14);
    let not_32 = (low ^ (ONES * 32)) + ONES * 127;
    let found = ((from_9 & !from_14) | !not_32) & !eight & HIGH;
    // Gathers the eight high bits into one byte.
    (found >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_all_but_six_bytes() {
        let is_space = |byte: &u8| matches!(byte, 9..=13 | 32);
        let mut random = 7_u64;
        for length in 0..300 {
            let line: Vec<u8> = (0..length)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Mostly the bytes around the borders.
                    let byte = (random >> 56) as u8;
                    if random >> 40 & 3 == 0 { byte } else { byte & 0x8f | 0x20 & (byte >> 1) }
                })
                .collect();
            let expected: Vec<&[u8]> =
                line.split(is_space_byte(&is_space)).filter(|word| !word.is_empty()).collect();
            assert_eq!(words(&line).collect::<Vec<_>>(), expected, "{line:?}");
        }
    }

    fn is_space_byte(check: &dyn Fn(&u8) -> bool) -> impl Fn(&u8) -> bool + '_ {
        move |byte| check(byte)
    }

    #[test]
    fn every_byte_is_classified_right_in_every_place() {
        for byte in 0..=255_u8 {
            for place in 0..8 {
                let mut line = [b'a'; 8];
                line[place] = byte;
                let expected = u64::from(matches!(byte, 9..=13 | 32)) << place;
                assert_eq!(spaces(u64::from_le_bytes(line)), expected, "{byte} at {place}");
            }
        }
    }
}
