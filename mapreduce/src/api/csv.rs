//! Fields of CSV records, for jobs that read `csv`.

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};

/// Cuts CSV records into fields: quotes around a field go, and two quotes in it are one.
///
/// ```
/// let mut csv = mapreduce::CsvFields::new(b',');
/// let fields: Vec<&[u8]> = csv.cut(br#"7,"a ""word""",x"#).collect();
/// assert_eq!(fields, [&b"7"[..], br#"a "word""#, b"x"]);
/// ```
#[derive(Debug)]
pub struct CsvFields {
    parser: Reader,
    text: Vec<u8>,
    /// Where each field ends in `text`.
    ends: Vec<usize>,
}

impl CsvFields {
    /// For records with this delimiter.
    #[must_use]
    pub fn new(delimiter: u8) -> Self {
        let parser = ReaderBuilder::new().delimiter(delimiter).build();
        Self { parser, text: Vec::new(), ends: Vec::new() }
    }

    /// The fields of one record, in their order.
    pub fn cut(&mut self, record: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.parser.reset();
        self.ends.clear();
        // No field grows by losing its quotes, and the parser wants room even for nothing.
        self.text.resize(record.len() + 1, 0);
        let (mut rest, mut at) = (record, 0);
        loop {
            let (result, n_read, n_written) = self.parser.read_field(rest, &mut self.text[at..]);
            rest = &rest[n_read..];
            at += n_written;
            match result {
                ReadFieldResult::Field { record_end } => {
                    self.ends.push(at);
                    if record_end {
                        break;
                    }
                }
                // What is empty is the end, by the parser's rules.
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::End => break,
            }
        }
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(self.ends.iter()).map(|(begin, end)| &self.text[begin..*end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_one_after_the_other_are_cut_each_for_itself() {
        let mut csv = CsvFields::new(b';');
        for (record, expected) in [
            ("a;b,c;", &["a", "b,c", ""][..]),
            ("", &[]),
            ("\"x\ny\";\"\"\"\"", &["x\ny", "\""]),
            (
                "long enough to be longer than the one before",
                &["long enough to be longer than the one before"],
            ),
            (";", &["", ""]),
            ("\"never closed", &["never closed"]),
        ] {
            let found: Vec<_> =
                csv.cut(record.as_bytes()).map(|it| std::str::from_utf8(it).unwrap()).collect();
            assert_eq!(found, expected, "{record:?}");
        }
    }
}
