//! Limits on what outsiders can put into a record. The journal refuses records longer than
//! [`RECORD_BYTES_MAX`], and the event loop could not go on without a record once it was made. So
//! each text is cut, and what cannot be cut is refused, before the record is made. (`spec` checks
//! the length of a job, `counters` that of counters, the edge that of plans.)

use mapreduce_protocol::{
    AttemptResult, NAMED_OUTPUTS_MAX, NamedOutput, STAGED_PARTS_MAX, Split, StagedOutput,
};

/// Length limit of a record, bytes; the journal has the same.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Bytes of a success record left for the result; the rest is for ids, host and times.
const RESULT_BYTES_MAX: usize = RECORD_BYTES_MAX - (16 << 10);
/// Length limit of an attempt's split in a record, bytes: most splits name one file, packed ones
/// have a few thousand bytes of names.
const SPLIT_BYTES_MAX: usize = 64 << 10;
/// Overhead of a text in a record.
const TEXT_BYTES: usize = 5;
/// Overhead of a counter in a record.
const COUNTER_BYTES: usize = TEXT_BYTES + 9;
/// Overhead of an output or a piece of a split in a record: field names and numbers.
const FIELDS_BYTES: usize = 128;

/// Why an attempt's result is too long for a record, and what to do; `None` if it fits. The
/// counters and the digest must have been cut already; nothing of what was staged can be left out,
/// or the output would lack it.
pub(crate) fn why_too_long(result: &AttemptResult) -> Option<String> {
    // One more, which stands for those left out.
    let (n_named, n_named_max) = (result.named.len(), NAMED_OUTPUTS_MAX + 1);
    if n_named > n_named_max {
        return Some(format!("it names {n_named} outputs, at most {n_named_max} are taken"));
    }
    let staged =
        result.staged.iter().chain(result.named.iter().filter_map(|it| it.staged.as_ref()));
    if let Some(n) = staged.map(|it| it.parts.len()).find(|n| *n > STAGED_PARTS_MAX) {
        return Some(format!(
            "it staged an output of {n} parts, at most {STAGED_PARTS_MAX} are taken"
        ));
    }
    let bytes = result_bytes(result);
    (bytes > RESULT_BYTES_MAX).then(|| {
        format!(
            "the names of its outputs and of all parts that it staged take {bytes} bytes, and a record has room for \
             {RESULT_BYTES_MAX}: let it write fewer named outputs, or let more tasks write less each (smaller splits, more \
             'reduces')"
        )
    })
}

/// Upper bound of the bytes of a result in a record.
fn result_bytes(result: &AttemptResult) -> usize {
    let counters: usize = result.counters.keys().map(|name| name.len() + COUNTER_BYTES).sum();
    let named = |NamedOutput { name, staged }: &NamedOutput| {
        FIELDS_BYTES + name.len() + staged.as_ref().map_or(0, staged_bytes)
    };
    let staged = result.staged.as_ref().map_or(0, staged_bytes);
    result.digest.len() + counters + staged + result.named.iter().map(named).sum::<usize>()
}

fn staged_bytes(staged: &StagedOutput) -> usize {
    let texts = staged.parts.iter().chain(&staged.upload).map(|text| text.len() + TEXT_BYTES);
    FIELDS_BYTES + texts.sum::<usize>()
}

/// The split of an attempt, for a record; `None` if its names, which another store gave, are too
/// long.
pub(crate) fn told(split: &Split) -> Option<Split> {
    let piece_bytes = |piece: &mapreduce_protocol::SplitPiece| {
        FIELDS_BYTES + piece.path.len() + piece.e_tag.as_ref().map_or(0, |tag| tag.len())
    };
    let bytes: usize = split.pieces.iter().map(piece_bytes).sum();
    (bytes <= SPLIT_BYTES_MAX).then(|| split.clone())
}

/// `text`, cut to `bytes_max` bytes.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("abc".to_owned(), 3), "abc");
        assert_eq!(cut("aßc".to_owned(), 2), "a…");
    }

    fn staged(n_parts: usize, part_bytes: usize) -> StagedOutput {
        let parts = vec!["x".repeat(part_bytes); n_parts];
        StagedOutput { upload: Some("upload".to_owned()), parts, bytes: 1 }
    }

    /// A success with its part and `n_named` named outputs, each staged alike.
    fn result(n_named: usize, n_parts: usize, part_bytes: usize) -> AttemptResult {
        let staged = Some(staged(n_parts, part_bytes));
        let named = |n| NamedOutput { name: format!("n{n}"), staged: staged.clone() };
        let named = (0..n_named).map(named).collect();
        AttemptResult { staged, named, ..AttemptResult::default() }
    }

    #[test]
    fn what_was_staged_is_taken_whole_or_not_at_all() {
        for (named, parts, bytes, refused) in [
            (0, 1024, 36, None),
            (32, 200, 36, None),
            (33, 1, 36, None),
            (34, 1, 36, Some("34 outputs")),
            (0, 1025, 36, Some("1025 parts")),
            // Within each single limit, and too much all the same.
            (32, 1024, 36, Some("room for 1032192")),
            (0, 1024, 1025, Some("fewer named outputs")),
        ] {
            let why = why_too_long(&result(named, parts, bytes));
            match refused {
                None => assert_eq!(why, None, "{named} {parts} {bytes}"),
                Some(words) => {
                    assert!(why.as_ref().is_some_and(|it| it.contains(words)), "{why:?}");
                }
            }
        }
    }

    #[test]
    fn names_of_another_store_that_are_too_long_are_not_told() {
        let split = |e_tag: Option<std::sync::Arc<str>>| {
            let (path, offset, length, file_length) = ("s3://b/x".into(), 0, 1, 1);
            let piece = mapreduce_protocol::SplitPiece { path, offset, length, file_length, e_tag };
            Split { pieces: vec![piece] }
        };
        assert!(told(&split(Some("tag".into()))).is_some());
        assert!(told(&split(Some("x".repeat(1 << 20).into()))).is_none());
    }
}
