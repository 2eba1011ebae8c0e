//! The chunk master speaks to REST: its remedies are fields of requests. At the prompt they are flags, or other verbs. Where
//! errors are said, `fs` calls this.

use chunkstore_client::StoreError;
use chunkstore_protocol::StorePath;

use crate::cli::shell_word;
use crate::exit::sentence;

/// What the chunk master says, and what that is at the prompt.
const WORDS: &[(&str, &str)] = &[
    ("empty it first, or ask for `recursive`", "add -r to remove it with what is in it"),
    ("with `skip_trash`", "with --skip-trash"),
    (", or ask for 1 replica", ", or have 1 replica (`howdah fs put --replication 1`)"),
    (
        "or let the file have smaller chunks",
        "or let the file have smaller chunks (`howdah fs put --chunk-size`)",
    ),
    ("chunk_bytes ", "--chunk-size "),
    (
        "append bytes to it, or create a log under another name",
        "leave --lines or --record out to append bytes to it, or name a log",
    ),
    ("or its lease expired; create it again", "or its lease expired; write it again"),
];

/// How the chunk master says that a folder is missing.
const MISSING: &str = " can't be made: its folder ";
const MAKE_IT: &str = "; make it first, or ask for `parents`";

/// The error in words of the command line. One that has no others stays what it is.
pub(crate) fn at_the_prompt(error: anyhow::Error) -> anyhow::Error {
    let make = missing_folder(&error).map_or_else(
        || "; make it first".to_owned(),
        |folder| format!("; make it first (`howdah fs mkdir -p {}`)", shell_word(&folder)),
    );
    in_words(error, &make)
}

/// The same of a verb that makes missing folders itself where that is asked for.
pub(crate) fn with_parents_flag(error: anyhow::Error) -> anyhow::Error {
    in_words(error, "; make it first, or add -p")
}

fn in_words(error: anyhow::Error, make: &str) -> anyhow::Error {
    let said = sentence(&error);
    let mut words = said.replace(MAKE_IT, make);
    for (theirs, ours) in WORDS {
        words = words.replace(theirs, ours);
    }
    if words == said { error } else { anyhow::anyhow!(words) }
}

/// The folder that would hold what can't be made: those above it may be missing too.
fn missing_folder(error: &anyhow::Error) -> Option<StorePath> {
    let problem =
        error.chain().find_map(|cause| cause.downcast_ref().and_then(StoreError::problem))?;
    let (path, _) = problem.detail.split_once(MISSING)?;
    path.parse::<StorePath>().ok()?.parent()
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    fn refused(said: &str) -> anyhow::Error {
        let problem = net::Problem::new(404, "not-found", said);
        let error = StoreError::NotFound { path: "/x".parse().unwrap(), problem };
        let failed: Result<(), _> = Err(error);
        failed.context("cannot move /x to /x/y").unwrap_err()
    }

    #[test]
    fn remedies_are_those_of_the_command_line() {
        let missing = "/a b/c/d can't be made: its folder /a b does not exist; make it first, or ask for `parents`";
        for (theirs, ours) in [
            (missing, "`howdah fs mkdir -p '/a b/c'`"),
            ("/a has entries: empty it first, or ask for `recursive`", "/a has entries: add -r"),
            (
                "move it to a shorter path, or remove it for good with `skip_trash`",
                "with --skip-trash",
            ),
            ("start chunkservers, or ask for 1 replica", "`howdah fs put --replication 1`"),
            ("chunk_bytes 7 is not allowed", "--chunk-size 7 is"),
            (
                "/a is not a log: append bytes to it, or create a log under another name",
                "leave --lines",
            ),
        ] {
            let said = sentence(&at_the_prompt(refused(theirs)));
            assert!(said.starts_with("cannot move /x to /x/y: ") && said.contains(ours), "{said}");
            for field in ["`parents`", "`recursive`", "`skip_trash`"] {
                assert!(!said.contains(field), "{said}");
            }
        }
        let said = sentence(&with_parents_flag(refused(missing)));
        assert!(said.ends_with("/a b does not exist; make it first, or add -p"), "{said}");
    }

    #[test]
    fn what_needs_no_other_words_stays_the_error_that_it_is() {
        let early = crate::exit::early(anyhow!("cannot read x"));
        assert!(at_the_prompt(early).is::<crate::exit::Early>());
    }
}
