//! The most frequent words of a word count's output.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use chunkstore_client::{ChunkStore, StoreError};
use chunkstore_protocol::StorePath;

/// Words that are shown.
const TOP: usize = 20;
/// Parts of an output, at most.
const PARTS_MAX: usize = 100_000;

/// The words with the highest counts, ties by the words' bytes.
pub(super) async fn top_words(
    store: &ChunkStore,
    output: &StorePath,
) -> Result<Vec<(String, u64)>, StoreError> {
    let mut top = Top::default();
    for part in store.list_all(output, PARTS_MAX).await? {
        if !part.path.name().is_some_and(|name| name.starts_with("part-")) {
            continue;
        }
        let mut reader = store.open(&part.path).await?;
        let mut unfinished = Vec::new();
        while let Some(piece) = reader.next().await? {
            unfinished.extend_from_slice(&piece);
            let end = unfinished.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            unfinished
                .drain(..end)
                .as_slice()
                .split(|&byte| byte == b'\n')
                .for_each(|line| top.add(line));
        }
        top.add(&unfinished);
    }
    Ok(top.sorted())
}

/// The best so far, worst first.
#[derive(Default)]
struct Top {
    best: BTreeSet<(u64, Reverse<Vec<u8>>)>,
}

impl Top {
    /// Takes a line `word<TAB>count`; anything else counts for nothing.
    fn add(&mut self, line: &[u8]) {
        let Some(tab) = line.iter().rposition(|&byte| byte == b'\t') else { return };
        let count = str::from_utf8(&line[tab + 1..]).ok().and_then(|count| count.parse().ok());
        let Some(count) = count else { return };
        let is_worse = |worst: &(u64, Reverse<Vec<u8>>)| count < worst.0;
        if self.best.len() == TOP && self.best.first().is_some_and(is_worse) {
            return;
        }
        self.best.insert((count, Reverse(line[..tab].to_vec())));
        if self.best.len() > TOP {
            self.best.pop_first();
        }
    }

    fn sorted(self) -> Vec<(String, u64)> {
        let shown = |(count, Reverse(word)): (u64, Reverse<Vec<u8>>)| {
            (String::from_utf8_lossy(&word).into_owned(), count)
        };
        self.best.into_iter().rev().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_counts_come_first_and_ties_by_word() {
        let mut top = Top::default();
        for line in ["b\t2", "a\t2", "c\t3", "d\t1", "", "no count", "e\tx"] {
            top.add(line.as_bytes());
        }
        let expected = [("c", 3), ("a", 2), ("b", 2), ("d", 1)];
        assert_eq!(top.sorted(), expected.map(|(word, count)| (word.to_owned(), count)));
    }

    #[test]
    fn only_twenty_are_kept_the_first_words_among_equals() {
        let mut top = Top::default();
        for n in (0..100).rev() {
            top.add(format!("w{n:02}\t1").as_bytes());
        }
        let kept: Vec<String> = top.sorted().into_iter().map(|(word, _)| word).collect();
        let expected: Vec<String> = (0..TOP).map(|n| format!("w{n:02}")).collect();
        assert_eq!(kept, expected);
    }
}
