//! Commands that are on this host for its user alone. `howdah local` runs a job's commands with the user's `PATH`: a trial may use
//! what the user has. A cluster's tasks have one of their own, and would not find them: that is said before.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use mapreduce_protocol::Program;
use mapreduce_protocol::streaming::{Command, CommandRole, TASK_PATH};

use crate::job_file::JobFile;

/// Warns of commands that only the user's `PATH` has.
pub(crate) fn say_own(job: &JobFile) {
    let theirs: Vec<PathBuf> = TASK_PATH.split(':').map(PathBuf::from).collect();
    let own = config::env::process().program_folders();
    for (role, word, found) in own_programs(&job.spec.program, &own, &theirs) {
        let (word, found) = (crate::say::plain(&word), crate::say::plain(&found.to_string_lossy()));
        crate::say::say!(
            "warning: the {role} runs {word}, which is {found} by your PATH: on a cluster, tasks look for it in {TASK_PATH} alone; \
             bring it along under 'files', or install it there on all hosts"
        );
    }
}

/// The programs that are found in `own` folders, and not in `theirs`; each with its role, and where it is.
fn own_programs(
    program: &Program,
    own: &[PathBuf],
    theirs: &[PathBuf],
) -> Vec<(CommandRole, String, PathBuf)> {
    let Program::Streaming(streaming) = program else { return Vec::new() };
    let brought: Vec<&str> = program.shipped().map(|file| file.name.as_str()).collect();
    let roles = [CommandRole::Mapper, CommandRole::Combiner, CommandRole::Reducer];
    let found = roles.into_iter().filter_map(|role| {
        // In a shell's line, what comes behind the first word may be anything.
        let word = match streaming.command(role)?.parse().ok()? {
            Command::Words(words) => words.into_iter().next()?,
            Command::Shell(line) => line.split_whitespace().next()?.to_owned(),
        };
        let is_looked_for = !word.contains('/') && !brought.contains(&word.as_str());
        if !is_looked_for || find(theirs, &word).is_some() {
            return None;
        }
        let found = find(own, &word)?;
        Some((role, word, found))
    });
    found.collect()
}

fn find(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_only_the_user_has_is_told_and_nothing_else() {
        let (own, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let program = |folder: &Path, name: &str, mode| {
            let path = folder.join(name);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        program(own.path(), "mine", 0o755);
        program(own.path(), "both", 0o755);
        program(own.path(), "text", 0o644);
        program(theirs.path(), "both", 0o755);
        let found = |mapper: &str| {
            let job = json!({"streaming": {"mapper": mapper, "files": ["brought"]}});
            let job: Program = serde_json::from_value(job).unwrap();
            let (own, theirs) = (own.path().to_owned(), theirs.path().to_owned());
            let found = own_programs(&job, &[own, theirs.clone()], &[theirs]);
            found.into_iter().map(|(_, word, _)| word).collect::<Vec<_>>()
        };
        assert_eq!(found("mine -x 'a b'"), ["mine"]);
        assert_eq!(found("mine | sort"), ["mine"]);
        for fine in ["both", "text", "none", "./mine", "brought", "A=1 mine"] {
            assert_eq!(found(fine), [""; 0], "{fine}");
        }
    }
}
