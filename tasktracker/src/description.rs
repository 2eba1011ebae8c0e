//! What a task process is told at its start, and the capability that it gets: its inputs, its own file
//! in the staging folder and its job's map outputs, nothing else.

use std::path::Path;
use std::time::Duration;

use ids::{HostName, RackName, UnixMillis};
use mapreduce_protocol::{CHANNEL_VERSION, Launch, TaskDescription, TaskSettings, Work, shuffle};
use net::{Capability, Grant, Keyring, Role};

/// How long an attempt's capability counts: longer than any attempt should run, since hosts' clocks
/// differ and it can't be renewed.
const TOKEN_LIFE: Duration = Duration::from_hours(7 * 24);

/// What is the same for all attempts on this host.
#[derive(Clone, Debug)]
pub(crate) struct Describer {
    pub(crate) host: HostName,
    pub(crate) rack: RackName,
    pub(crate) chunkmaster: String,
    pub(crate) keyring: Keyring,
    pub(crate) settings: TaskSettings,
}

impl Describer {
    /// Describes an attempt that works in `folder` and leaves its map output in `map_output`.
    pub(crate) fn describe(
        &self,
        launch: &Launch,
        folder: &Path,
        map_output: &Path,
        now: UnixMillis,
    ) -> TaskDescription {
        TaskDescription {
            version: CHANNEL_VERSION,
            attempt: launch.attempt,
            job: launch.job.clone(),
            work: launch.work.clone(),
            host: self.host.clone(),
            rack: self.rack.clone(),
            chunkmaster: self.chunkmaster.clone(),
            token: self.keyring.mint(&capability(launch, now)),
            folder: folder.display().to_string(),
            map_output: map_output.display().to_string(),
            settings: self.settings.clone(),
        }
    }

    /// A token to read one file of the chunk store, for the host itself.
    pub(crate) fn token_to_read(&self, path: &str, now: UnixMillis) -> String {
        self.keyring.mint(&Capability {
            subject: self.host.to_string(),
            role: Role::Task,
            grants: vec![Grant::read(path)],
            expires: now + TOKEN_LIFE,
        })
    }
}

fn capability(launch: &Launch, now: UnixMillis) -> Capability {
    let mut inputs = match &launch.work {
        Work::Map { split } => split.pieces.iter().map(|piece| piece.path.clone()).collect(),
        Work::Reduce => vec![shuffle::resource(launch.attempt.task.job)],
    };
    inputs.sort();
    inputs.dedup();
    let staging = launch.job.staging.trim_end_matches('/');
    let own = Grant::all(format!("{staging}/{}", launch.attempt));
    Capability {
        subject: launch.attempt.to_string(),
        role: Role::Task,
        grants: inputs.into_iter().map(Grant::read).chain([own]).collect(),
        expires: now + TOKEN_LIFE,
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{
        Builtin, JobDescription, JobId, Program, Split, SplitPiece, TaskKind,
    };

    use net::Right;

    use super::*;

    #[test]
    fn an_attempt_may_change_its_own_output_alone_not_even_its_input() {
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let builtin = Builtin { name: "wordcount".to_owned(), args: [].into() };
        let common = JobDescription {
            job,
            name: "words".to_owned(),
            program: Program::Builtin(builtin),
            n_reduces: 0,
            n_maps: 2,
            staging: "/.howdah/staging/j".to_owned(),
        };
        let path = "/in/a".to_owned();
        let pieces = vec![SplitPiece { path, offset: 0, length: 1, file_length: 1 }];
        let attempt = job.task(TaskKind::Map, 1).attempt(0);
        let work = Work::Map { split: Split { pieces } };
        let capability = capability(&Launch { attempt, job: common.into(), work }, UnixMillis(0));
        let own = format!("/.howdah/staging/j/{attempt}");
        assert!(capability.permits(Right::Write, &own));
        assert!(capability.permits(Right::Read, "/in/a"));
        let other = format!("/.howdah/staging/j/{}", job.task(TaskKind::Map, 0).attempt(0));
        for resource in ["/.howdah/staging/j", &other, "/in", "/in/a", "/in/b", "/"] {
            assert!(!capability.permits(Right::Write, resource), "{resource}");
        }
    }
}
