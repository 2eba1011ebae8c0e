//! What a task process is told at its start, and the capability that it gets: its inputs, its own file
//! in the staging folder and its job's map outputs, nothing else.

use std::path::Path;
use std::time::Duration;

use chunkstore_client::stores::{StoreAccess, Stores};
use ids::{HostName, RackName, UnixMillis};
use mapreduce_protocol::{
    CHANNEL_VERSION, Launch, TaskDescription, TaskSettings, TaskStore, Work, is_url, shuffle,
};
use net::{Capability, Grant, Keyring, Role, Tls};

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
    pub(crate) stores: Stores,
    pub(crate) tls: Option<Tls>,
    pub(crate) settings: TaskSettings,
}

impl Describer {
    /// Describes an attempt that works in `folder` and leaves its map output in `map_output`. Where its program's
    /// files lie is not known here.
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
            files: Vec::new(),
            stores: self.stores_of(launch),
            // As of now: it may have been replaced since the tracker's start.
            tls_ca: self.tls.as_ref().map(Tls::authorities),
            settings: self.settings.clone(),
            skipping: launch.skipping.clone(),
        }
    }

    /// The other stores that the attempt reads from or writes to, and no more of them.
    fn stores_of(&self, launch: &Launch) -> Vec<TaskStore> {
        let inputs = match &launch.work {
            Work::Map { split } => split.pieces.as_slice(),
            Work::Reduce => &[],
        };
        let urls = inputs.iter().map(|piece| &*piece.path).chain(launch.job.output.as_deref());
        let accesses = urls.filter_map(|url| self.stores.access(&url.parse().ok()?).ok());
        let mut stores: Vec<TaskStore> = Vec::new();
        for access in accesses {
            if stores.iter().all(|store| store.url != access.url) {
                stores.push(task_store(access));
            }
        }
        stores
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

fn task_store(access: &StoreAccess) -> TaskStore {
    TaskStore {
        url: access.url.clone(),
        endpoint: access.endpoint.clone(),
        region: access.region.clone(),
        key_id: access.key_id.clone(),
        secret: access.secret.as_ref().map(|secret| secret.reveal().to_owned()),
        allow_http: access.allow_http,
    }
}

fn capability(launch: &Launch, now: UnixMillis) -> Capability {
    let mut inputs = match &launch.work {
        Work::Map { split } => split.pieces.iter().map(|piece| piece.path.to_string()).collect(),
        Work::Reduce => vec![shuffle::resource(launch.attempt.task.job)],
    };
    // Of other stores the chunk store knows nothing.
    inputs.retain(|input: &String| !is_url(input));
    inputs.sort();
    inputs.dedup();
    let staging = launch.job.staging.trim_end_matches('/');
    let own = Grant::all(format!("{staging}/{}", launch.attempt)).with_family();
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
        Builtin, JobDescription, JobId, Program, Split, SplitPiece, TaskKind, TaskLimits,
    };

    use chunkstore_client::stores::StoreSecret;
    use net::Right;

    use super::*;

    #[test]
    fn an_attempt_is_told_of_the_stores_that_it_needs_alone() {
        let access = |url: &str| StoreAccess {
            url: url.to_owned(),
            secret: Some(StoreSecret::new(url)),
            ..StoreAccess::local_files()
        };
        let accesses = ["s3://in", "s3://out", "gs://"].map(access).to_vec();
        let describer = Describer {
            host: "host-1".parse().unwrap(),
            rack: RackName::default_rack(),
            chunkmaster: String::new(),
            keyring: Keyring::new(&net::Secret::random()),
            stores: Stores::new(accesses, Duration::ZERO),
            tls: None,
            settings: TaskSettings {
                sort_buffer_bytes: 1,
                fetch_buffer_bytes: 1,
                parallel_fetches: 1,
                merge_factor: 2,
                fetch_retry_ms: 1,
                fetch_stall_ms: 1,
                connect_timeout_ms: 1,
                request_timeout_ms: 1,
                silence_timeout_ms: 3000,
                store_retry_ms: 1,
                hedge_after_ms: 1,
                output_replication: None,
            },
        };
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let builtin = Builtin { name: "wordcount".to_owned(), args: [].into() };
        let mut common = JobDescription {
            job,
            name: "words".to_owned(),
            program: Program::Builtin(builtin),
            n_reduces: 1,
            n_maps: 1,
            staging: "/.howdah/staging/j".to_owned(),
            output: Some("s3://out/x".to_owned()),
            limits: TaskLimits::default(),
            formats: Default::default(),
            output_forms: Default::default(),
        };
        let path = "s3://in/a".to_owned();
        let pieces =
            vec![
                SplitPiece { path: path.into(), offset: 0, length: 1, file_length: 1, e_tag: None };
                2
            ];
        let told = |kind, work: Work, common: &JobDescription| {
            let attempt = job.task(kind, 0).attempt(0);
            let launch = Launch { attempt, job: common.clone().into(), work, skipping: None };
            let described =
                describer.describe(&launch, Path::new("/f"), Path::new("/o"), UnixMillis(0));
            let stores = described.stores.into_iter();
            stores.map(|it| (it.url, it.secret.unwrap_or_default())).collect::<Vec<_>>()
        };
        let of = |url: &str| (url.to_owned(), url.to_owned());
        let map = || Work::Map { split: Split { pieces: pieces.clone() } };
        assert_eq!(told(TaskKind::Map, map(), &common), [of("s3://in"), of("s3://out")]);
        assert_eq!(told(TaskKind::Reduce, Work::Reduce, &common), [of("s3://out")]);
        common.output = None;
        assert_eq!(told(TaskKind::Reduce, Work::Reduce, &common), []);
    }

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
            output: None,
            limits: TaskLimits::default(),
            formats: Default::default(),
            output_forms: Default::default(),
        };
        let path = "/in/a".to_owned();
        let pieces = vec![SplitPiece {
            path: path.into(),
            offset: 0,
            length: 1,
            file_length: 1,
            e_tag: None,
        }];
        let attempt = job.task(TaskKind::Map, 1).attempt(0);
        let work = Work::Map { split: Split { pieces } };
        let launch = Launch { attempt, job: common.into(), work, skipping: None };
        let capability = capability(&launch, UnixMillis(0));
        let own = format!("/.howdah/staging/j/{attempt}");
        assert!(capability.permits(Right::Write, &own));
        assert!(capability.permits(Right::Read, "/in/a"));
        assert!(capability.permits(Right::Write, &format!("{own}-errors")));
        let other = format!("/.howdah/staging/j/{}", job.task(TaskKind::Map, 0).attempt(0));
        let (tenth, others) = (format!("{own}0"), format!("{other}-errors"));
        for resource in
            ["/.howdah/staging/j", &other, &tenth, &others, "/in", "/in/a", "/in/b", "/"]
        {
            assert!(!capability.permits(Right::Write, resource), "{resource}");
        }
    }
}
