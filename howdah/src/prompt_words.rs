//! The chunk master speaks to REST: its remedies are fields of requests. At the prompt they are flags, or other verbs. A problem
//! names its remedies beside its sentence, and here they get the command line's words. Where errors are said, `fs` calls this.

use chunkstore_client::StoreError;
use chunkstore_protocol::Remedy;
use net::{CallError, Problem};

use crate::cli::shell_word;
use crate::exit::sentence;

/// The error in words of the command line. One that has no others stays what it is.
pub(crate) fn at_the_prompt(error: anyhow::Error) -> anyhow::Error {
    in_words(error, words)
}

/// The same of a verb that makes missing folders itself where that is asked for.
pub(crate) fn with_parents_flag(error: anyhow::Error) -> anyhow::Error {
    in_words(error, |remedy| match remedy {
        Remedy::MakeFolder { .. } => "make it first, or add -p".to_owned(),
        other => words(other),
    })
}

fn words(remedy: &Remedy) -> String {
    let words = match remedy {
        Remedy::MakeFolder { folder } => {
            return format!("make it first (`howdah fs mkdir -p {}`)", shell_word(folder));
        }
        Remedy::Recursive => "add -r to remove it with what is in it",
        Remedy::SkipTrash => "move it to a shorter path, or remove it for good with --skip-trash",
        Remedy::SmallerChunks => "let the file have smaller chunks (`howdah fs put --chunk-size`)",
        Remedy::OneReplica => "have 1 replica (`howdah fs put --replication 1`)",
        Remedy::ChunkBytes => {
            return remedy.to_string().replace("`chunk_bytes`", "--chunk-size");
        }
        Remedy::AppendBytes => "leave --lines or --record out to append bytes to it, or name a log",
        Remedy::WriteAgain => "write it again",
        // There is no other word for these.
        Remedy::StartServers | Remedy::FreeSpace | Remedy::Wait => return remedy.to_string(),
    };
    words.to_owned()
}

fn in_words(error: anyhow::Error, words: impl Fn(&Remedy) -> String) -> anyhow::Error {
    let Some((detail, ours)) = problem_of(&error).and_then(|it| in_words_of(it, words)) else {
        return error;
    };
    anyhow::anyhow!(sentence(&error).replace(&detail, &ours))
}

/// What the chunk master said, and the same with our words for what to do; nothing where a remedy is not known, or none is told.
fn in_words_of(problem: &Problem, words: impl Fn(&Remedy) -> String) -> Option<(String, String)> {
    let net::Advice { cause, remedies } = &**problem.advice.as_ref()?;
    let known = |it: &net::Remedy| Remedy::of(&it.kind, it.path.as_deref());
    let remedies = remedies.iter().map(known).collect::<Option<Vec<_>>>()?;
    let remedies: Vec<_> = remedies.iter().map(words).collect();
    let ours = format!("{cause}; {}", remedies.join(", or "));
    (ours != problem.detail).then(|| (problem.detail.clone(), ours))
}

fn problem_of(error: &anyhow::Error) -> Option<&Problem> {
    error.chain().find_map(|cause| {
        let by_store = cause.downcast_ref().and_then(StoreError::problem);
        by_store.or_else(|| cause.downcast_ref().and_then(CallError::problem))
    })
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    /// An error as the client has it, of what the chunk master says in these words.
    fn refused(remedies: &[Remedy]) -> anyhow::Error {
        let words = chunkstore_protocol::Remedies(remedies).to_string();
        let of = |it: &Remedy| net::Remedy {
            kind: it.as_str().to_owned(),
            path: it.path().map(ToString::to_string),
        };
        let remedies = remedies.iter().map(of).collect();
        let problem = Problem::new(404, "not-found", format!("it is so; {words}"));
        let problem = problem.with_remedies(remedies, &words);
        let error = StoreError::NotFound { path: "/x".parse().unwrap(), problem };
        let failed: Result<(), _> = Err(error);
        failed.context("cannot move /x to /x/y").unwrap_err()
    }

    #[test]
    fn remedies_are_those_of_the_command_line() {
        let missing = || Remedy::MakeFolder { folder: "/a b/c".parse().unwrap() };
        for (remedies, ours) in [
            (vec![missing()], "make it first (`howdah fs mkdir -p '/a b/c'`)"),
            (vec![Remedy::Recursive], "add -r to remove it with what is in it"),
            (vec![Remedy::SkipTrash], "remove it for good with --skip-trash"),
            (
                vec![Remedy::StartServers, Remedy::OneReplica, Remedy::Wait],
                "start chunkservers, or have 1 replica (`howdah fs put --replication 1`), or wait: none has ever \
                 registered, and they may yet",
            ),
            (
                vec![Remedy::FreeSpace, Remedy::SmallerChunks],
                "or add servers, or let the file have smaller chunks (`howdah fs put --chunk-size`)",
            ),
            (vec![Remedy::ChunkBytes], "give as --chunk-size a multiple of 65536"),
            (vec![Remedy::AppendBytes], "leave --lines or --record out"),
            (vec![Remedy::WriteAgain], "write it again"),
        ] {
            let said = sentence(&at_the_prompt(refused(&remedies)));
            assert!(said.starts_with("cannot move /x to /x/y: it is so; "), "{said}");
            assert!(said.contains(ours), "{said}");
            assert!(!said.contains("parents`") && !said.contains("recursive`"), "{said}");
        }
        let said = sentence(&with_parents_flag(refused(&[missing()])));
        assert!(said.ends_with("it is so; make it first, or add -p"), "{said}");
    }

    #[test]
    fn what_needs_no_other_words_stays_the_error_that_it_is() {
        let early = crate::exit::early(anyhow!("cannot read x"));
        assert!(at_the_prompt(early).is::<crate::exit::Early>());
        let same = at_the_prompt(refused(&[Remedy::StartServers]));
        assert!(same.chain().any(<dyn std::error::Error>::is::<StoreError>));
        // Of a newer chunk master.
        let mut problem = Problem::new(404, "not-found", "it is so; dance");
        let remedies = vec![net::Remedy { kind: "dance".to_owned(), path: None }];
        problem.advice = Some(Box::new(net::Advice { cause: "it is so".to_owned(), remedies }));
        let error = StoreError::NotFound { path: "/x".parse().unwrap(), problem };
        assert_eq!(sentence(&at_the_prompt(error.into())), "it is so; dance");
    }
}
