//! What ends a line, in blocks of bytes: everything behind this knows LF alone.

use mapreduce_protocol::streaming::LineEnds;

/// Turns the ends of lines into LF, block by block.
pub(super) struct Normaliser {
    ends: LineEnds,
    /// The last block ended in a CR, of which it is not known yet what it is.
    held: bool,
    scratch: Vec<u8>,
}

impl Normaliser {
    /// For lines that end so.
    pub(super) fn new(ends: LineEnds) -> Self {
        Self { ends, held: false, scratch: Vec::new() }
    }

    /// The same bytes where there is no CR, and no copy of them.
    pub(super) fn normalise<'a>(&'a mut self, block: &'a [u8]) -> &'a [u8] {
        if self.ends == LineEnds::Lf || !self.held && memchr::memchr(b'\r', block).is_none() {
            return block;
        }
        self.scratch.clear();
        let mut rest = block;
        if std::mem::take(&mut self.held) && !rest.is_empty() {
            self.carriage_return(rest[0]);
        }
        while let Some(at) = memchr::memchr(b'\r', rest) {
            self.scratch.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            match rest.first() {
                Some(next) => self.carriage_return(*next),
                None => self.held = true,
            }
        }
        self.scratch.extend_from_slice(rest);
        &self.scratch
    }

    /// What is still to be written when there is no more: a CR at the very end is the end of a line, be that line empty.
    pub(super) fn end(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.held) { b"\n" } else { b"" }
    }

    /// Writes what a CR stands for that `next` follows.
    fn carriage_return(&mut self, next: u8) {
        if next != b'\n' {
            self.scratch.push(if self.ends == LineEnds::Any { b'\n' } else { b'\r' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(ends: LineEnds, text: &[u8], block: usize) -> Vec<u8> {
        let mut normaliser = Normaliser::new(ends);
        let blocks = text.chunks(block);
        let mut all: Vec<u8> =
            blocks.flat_map(|block| normaliser.normalise(block).to_vec()).collect();
        all.extend_from_slice(normaliser.end());
        assert_eq!(normaliser.end(), b"", "once");
        all
    }

    #[test]
    fn a_last_line_that_is_only_a_cr_is_a_line() {
        for (text, crlf, any) in
            [("a\n\r", "a\n\n", "a\n\n"), ("a\r\r", "a\r\n", "a\n\n"), ("\r", "\n", "\n")]
        {
            for block in 1..=text.len() {
                let of =
                    |ends| String::from_utf8(normalised(ends, text.as_bytes(), block)).unwrap();
                assert_eq!([of(LineEnds::Crlf), of(LineEnds::Any)], [crlf, any], "{text:?}");
            }
        }
    }

    #[test]
    fn ends_of_lines_become_lf_wherever_blocks_are_cut() {
        let text = b"a\r\nb\rc\n\r\n\r\r\nd\r\r\re\n\rf\r";
        for block in 1..=text.len() {
            let of = |ends| String::from_utf8(normalised(ends, text, block)).unwrap();
            assert_eq!(of(LineEnds::Lf), String::from_utf8_lossy(text));
            assert_eq!(of(LineEnds::Crlf), "a\nb\rc\n\n\r\nd\r\r\re\n\rf\n", "blocks of {block}");
            assert_eq!(of(LineEnds::Any), "a\nb\nc\n\n\n\nd\n\n\ne\n\nf\n", "blocks of {block}");
        }
    }
}
