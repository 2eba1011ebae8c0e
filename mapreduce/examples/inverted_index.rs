//! An inverted index over a folder of books: for each word, the names of the files that hold it, sorted
//! and each once. It shows a mapper with state of its own, a combiner, a counter and a reducer, all as
//! types; `word_count.rs` shows the short form.
//!
//! A word here is a run of ASCII letters, in lower case. A line of the output:
//!
//! ```text
//! whale<TAB>pg-moby_dick.txt pg-typee.txt
//! ```

use std::collections::BTreeSet;
use std::process::ExitCode;

use mapreduce::{
    Bytes, Combined, Combiner, Job, Mapper, Output, Record, Reducer, Text, UserError, Values,
};

/// Emits (word, name of the book) for each word of a line.
#[derive(Default)]
struct WordsOfBooks {
    /// The word under way; kept between calls so that no word allocates.
    word: Vec<u8>,
}

impl Mapper for WordsOfBooks {
    type Key = Bytes;
    type Value = Text;

    fn map(
        &mut self,
        line: Record<'_>,
        out: &mut Output<'_, Bytes, Text>,
    ) -> Result<(), UserError> {
        let book = line.path.rsplit('/').next().unwrap_or(line.path);
        // Books are separated by blanks in the lists that the reducer writes.
        if book.contains(' ') {
            return Err(format!("the file name {book:?} has a blank: rename it").into());
        }
        for word in line.value.split(|byte| !byte.is_ascii_alphabetic()) {
            if word.is_empty() {
                continue;
            }
            self.word.clear();
            self.word.extend(word.iter().map(u8::to_ascii_lowercase));
            out.emit(&self.word, book);
        }
        if line.value.is_empty() {
            out.count("books", "EMPTY_LINES", 1);
        }
        Ok(())
    }
}

/// A list of books, joined by blanks, sorted, each once.
fn union(left: &str, right: &str) -> String {
    let books: BTreeSet<&str> = left.split(' ').chain(right.split(' ')).collect();
    books.into_iter().collect::<Vec<_>>().join(" ")
}

/// Makes one list of two: most words of a split come from one book, so little is left to send.
struct UnionOfLists;

impl Combiner for UnionOfLists {
    type Key = Bytes;
    type Value = Text;

    fn combine(
        &mut self,
        _word: &[u8],
        left: &str,
        right: &str,
        out: &mut Combined<'_, Text>,
    ) -> Result<(), UserError> {
        if left == right {
            out.set(left);
        } else {
            out.set(&union(left, right));
        }
        Ok(())
    }
}

/// Writes (word, all its books).
struct WriteIndex;

impl Reducer for WriteIndex {
    type InKey = Bytes;
    type InValue = Text;
    type OutKey = Bytes;
    type OutValue = Text;

    fn reduce(
        &mut self,
        word: &[u8],
        lists: &mut Values<'_, Bytes, Text>,
        out: &mut Output<'_, Bytes, Text>,
    ) -> Result<(), UserError> {
        let mut books = String::new();
        while let Some(list) = lists.next() {
            books = if books.is_empty() { list.to_owned() } else { union(&books, list) };
        }
        out.emit(word, &books);
        Ok(())
    }
}

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    let job = Job::new(WordsOfBooks::default);
    Ok(job.combiner(|| UnionOfLists).reducer(|| WriteIndex).into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
