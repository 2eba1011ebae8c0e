//! The HTTP status of each refusal; decided here alone for the chunk master.

use chunkstore_core::master::{FsError, Refusal, Reply};
use chunkstore_protocol::{ProblemKind, Remedies, Remedy};
use net::Problem;
use net::api::Problems;

use super::super::event_loop::AskError;

/// Seconds after which a server that restarts has usually registered again.
const RETRY_AFTER: u32 = 1;

/// Problems of any request: the chunk master is stopping.
pub(super) const ASKS: Problems = &[(503, "unavailable")];
/// Problems of a request about a path.
pub(super) const LOOKS: Problems =
    &[(404, "not-found"), (409, "not-a-folder"), (503, "unavailable")];
/// Problems of any change.
pub(super) const CHANGES: Problems = &[
    (409, "invalid-request"),
    (503, "journal-outdated"),
    (503, "starting"),
    (503, "unavailable"),
    (507, "out-of-space"),
];
/// Problems with a name that is to be used.
pub(super) const REPLACES: Problems = &[
    (409, "already-exists"),
    (409, "changed"),
    (409, "folder-not-empty"),
    (409, "is-a-folder"),
    (409, "log-or-not"),
    (409, "rename-into-itself"),
    (409, "still-open"),
];
/// Problems with getting another chunk.
pub(super) const OPENS: Problems =
    &[(409, "already-exists"), (409, "is-a-folder"), (503, "no-servers"), (507, "no-servers")];
/// Problems of a writer that has lost something.
pub(super) const HOLDS: Problems = &[
    (404, "not-found"),
    (404, "unknown-chunk"),
    (409, "lease-lost"),
    (409, "log-ended"),
    (409, "too-few-replicas"),
];
/// The problem with a chunkserver that is not known.
pub(super) const NO_SERVER: Problems = &[(404, "unknown-server")];
/// Problems with forgetting a chunkserver.
pub(super) const FORGETS: Problems =
    &[(409, "last-with-chunks"), (409, "last-with-records"), (409, "server-lives")];
/// Why a chunkserver does not, or no longer, belong to the cluster.
pub(super) const REGISTERS: Problems = &[
    (409, "host-name-taken"),
    (409, "not-registered"),
    (409, "wrong-cluster"),
    (409, "wrong-protocol"),
];

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) => refused(&refusal),
            AskError::Stopped(_) => {
                Self::new(503, ProblemKind::Unavailable.as_str(), error.to_string())
                    .retry_after(RETRY_AFTER)
            }
        }
    }
}

fn refused(refusal: &Refusal) -> Problem {
    let (kind, detail) = (refusal.kind(), refusal.to_string());
    let status = match refusal {
        Refusal::Files(FsError::NoLiveServers { .. }) => 503,
        Refusal::Files(FsError::StaleRequest { .. } | FsError::StampReused { .. }) => 409,
        Refusal::Files(_) | Refusal::Servers(_) => status(kind),
    };
    let remedies = refusal.remedies();
    let words = Remedies(&remedies).to_string();
    let of = |remedy: &Remedy| net::Remedy {
        kind: remedy.as_str().to_owned(),
        path: remedy.path().map(|path| path.as_str().to_owned()),
    };
    let problem = Problem::new(status, kind.as_str(), detail)
        .with_remedies(remedies.iter().map(of).collect(), &words);
    if let Refusal::Files(FsError::SafeMode { seconds, .. }) = refusal {
        return problem.retry_after(u32::try_from(*seconds).unwrap_or(u32::MAX));
    }
    if status == 503 { problem.retry_after(RETRY_AFTER) } else { problem }
}

fn status(kind: ProblemKind) -> u16 {
    match kind {
        ProblemKind::InvalidRequest => 400,
        ProblemKind::Forbidden => 403,
        ProblemKind::NotFound | ProblemKind::UnknownChunk | ProblemKind::UnknownServer => 404,
        ProblemKind::AlreadyExists
        | ProblemKind::NotAFolder
        | ProblemKind::IsAFolder
        | ProblemKind::FolderNotEmpty
        | ProblemKind::RenameIntoItself
        | ProblemKind::StillOpen
        | ProblemKind::Changed
        | ProblemKind::LogOrNot
        | ProblemKind::LogEnded
        | ProblemKind::LeaseLost
        | ProblemKind::TooFewReplicas
        | ProblemKind::NotRegistered
        | ProblemKind::WrongCluster
        | ProblemKind::WrongProtocol
        | ProblemKind::HostNameTaken
        | ProblemKind::ServerLives
        | ProblemKind::LastWithRecords
        | ProblemKind::LastWithChunks => 409,
        ProblemKind::ChecksumMismatch => 422,
        ProblemKind::Internal => 500,
        ProblemKind::Starting
        | ProblemKind::JournalOutdated
        | ProblemKind::Unavailable
        | ProblemKind::NextServerFailed => 503,
        ProblemKind::NoServers | ProblemKind::OutOfSpace => 507,
    }
}

/// The problem of an invalid request: `detail` says what is wrong, and what to do.
pub(super) fn invalid(detail: impl Into<String>) -> Problem {
    of(ProblemKind::InvalidRequest, detail)
}

/// The problem of a request that its caller may not make.
pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
    of(ProblemKind::Forbidden, detail)
}

fn of(kind: ProblemKind, detail: impl Into<String>) -> Problem {
    Problem::new(status(kind), kind.as_str(), detail)
}

/// The problem of a reply of the wrong kind: a bug in this program.
pub(super) fn unexpected(reply: &Reply) -> Problem {
    tracing::error!(?reply, "a reply that does not answer its request");
    of(ProblemKind::Internal, "the chunk master gave a reply of another kind; its log says more")
}

#[cfg(test)]
mod tests {
    use chunkstore_core::master::{ForgetError, ServerError, Unfit, UnfitReason};
    use chunkstore_protocol::{FileId, StorePath};

    use super::*;

    #[test]
    fn the_document_names_no_problem_that_the_code_can_not_give() {
        let groups = [ASKS, LOOKS, CHANGES, REPLACES, OPENS, HOLDS, NO_SERVER, FORGETS, REGISTERS];
        for (status, kind) in groups.into_iter().flatten() {
            let known = serde_json::from_value::<ProblemKind>((*kind).into()).unwrap();
            // Refusals of these two types may have another status than usual.
            let exceptions = [(409, ProblemKind::InvalidRequest), (503, ProblemKind::NoServers)];
            let own = super::status(known) == *status || exceptions.contains(&(*status, known));
            assert!(own, "{kind} with {status}");
        }
    }

    #[test]
    fn each_refusal_has_its_status_type_and_remedy() {
        let path: StorePath = "/in/f".parse().unwrap();
        let host: ids::HostName = "host-1".parse().unwrap();
        let unfit = |why| vec![Unfit { host: host.clone(), why }];
        let not_found = FsError::NotFound {
            path: path.clone(),
            folder: "/in".parse().unwrap(),
            missing: "f".to_owned(),
        };
        let no_live = FsError::NoLiveServers {
            path: path.clone(),
            needed: 2,
            live: Vec::new(),
            unfit: unfit(UnfitReason::Dead { seconds: 9 }),
            starting: false,
        };
        let starting = FsError::NoLiveServers {
            path: path.clone(),
            needed: 2,
            live: Vec::new(),
            unfit: Vec::new(),
            starting: true,
        };
        let safe_mode = FsError::SafeMode { awaited: vec![host.clone()], seconds: 7 };
        let unknown = ForgetError::UnknownServer { host: host.clone() };
        let lives = ForgetError::ServerLives { host: host.clone() };
        let last = ForgetError::LastWithRecords { host: host.clone(), path: path.clone() };
        let with_chunks = ForgetError::LastWithChunks { host: host.clone(), chunks: 3, named: 1 };
        let counting = ForgetError::StillCounting { host: host.clone() };
        let no_room = FsError::NoRoom {
            path: path.clone(),
            needed: 1,
            chunk_bytes: 9,
            unfit: unfit(UnfitReason::NoRoom { free_bytes: 3 }),
        };
        let not_registered = ServerError::NotRegistered {
            host: host.clone(),
            theirs: ids::Epoch(1),
            session: 2,
            ours: ids::Epoch(3),
        };
        let table: Vec<(Refusal, u16, &str, &str)> = vec![
            (not_found.into(), 404, "not-found", "/in has no entry"),
            (FsError::AlreadyExists { path }.into(), 409, "already-exists", "choose another"),
            (FsError::LeaseLost { file: FileId(3) }.into(), 409, "lease-lost", "create it again"),
            (FsError::RootStays.into(), 400, "invalid-request", "/ can't be"),
            (FsError::JournalFull.into(), 507, "out-of-space", "free space"),
            (FsError::StampReused { sequence: 4 }.into(), 409, "invalid-request", "anew"),
            (
                no_live.into(),
                503,
                "no-servers",
                "there is none: host-1 is dead for 9 s; start chunkservers",
            ),
            (starting.into(), 503, "starting", "or wait"),
            (safe_mode.into(), 503, "starting", "what host-1 hold(s): try again, in 7 s"),
            (FsError::from(unknown).into(), 404, "unknown-server", "howdah fs report"),
            (FsError::from(lives).into(), 409, "server-lives", "stop it first"),
            (FsError::from(last).into(), 409, "last-with-records", "--lose-records"),
            (FsError::from(with_chunks).into(), 409, "last-with-chunks", "--lose-chunks"),
            (FsError::from(counting).into(), 503, "starting", "try again"),
            (no_room.into(), 507, "no-servers", "host-1 has 3 bytes free"),
            (not_registered.into(), 409, "not-registered", "register again"),
        ];
        for (refusal, status, kind, remedy) in table {
            let problem = refused(&refusal);
            assert_eq!((problem.status, problem.kind.as_str()), (status, kind), "{refusal}");
            assert!(problem.detail.contains(remedy), "{}", problem.detail);
            assert_eq!(problem.retry_after.is_some(), status == 503, "{refusal}");
        }
    }

    #[test]
    fn what_to_do_is_told_apart_from_what_is_wrong() {
        let (path, folder) = ("/a/b/c".parse().unwrap(), "/a".parse().unwrap());
        let problem = refused(&FsError::ParentMissing { path, folder }.into());
        let net::Advice { cause, remedies } = *problem.advice.expect("there is a remedy");
        assert_eq!(cause, "/a/b/c can't be made: its folder /a does not exist");
        assert_eq!(problem.detail, format!("{cause}; make it first, or ask for `parents`"));
        let remedy = net::Remedy { kind: "make-folder".into(), path: Some("/a/b".into()) };
        assert_eq!(remedies, [remedy]);
        let without = refused(&FsError::RootStays.into());
        assert_eq!(without.advice, None);
    }
}
