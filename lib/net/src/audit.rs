//! The audit log: who asked to change what, from where, and with which result. There is one entry
//! for each request of a person, or of a master on their behalf, that asked for the right to change
//! something. The process decides once where entries go, as for its logs and metrics. What tasks
//! and daemons do in the course of a job is in the job's history.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::extract::Request;
use axum::http::{Method, Uri};
use ids::UnixMillis;
use serde::Serialize;

use crate::serve::Peer;
use crate::{Caller, Standing};

/// Resources that one entry names at most; the rest are only counted.
const RESOURCES_MAX: usize = 20;
/// Bytes of a request's path and query that are logged; the rest is cut off.
const REQUEST_BYTES_MAX: usize = 1024;

/// One request.
#[derive(Debug, Serialize)]
pub struct AuditEntry<'a> {
    /// When it was answered, by this host's clock.
    pub at: UnixMillis,
    /// The user of the token.
    pub user: &'a str,
    /// What they may change: `superuser`, `user` or `viewer`.
    pub standing: Standing,
    /// The host that it came from.
    pub from: Option<IpAddr>,
    /// Its method.
    pub method: &'a str,
    /// Its path and query; if they are long, their beginning and `…`.
    pub request: &'a str,
    /// The resources to be changed: paths, or `/` for what belongs to everybody.
    pub changes: Vec<String>,
    /// Number of further resources that are not named.
    #[serde(skip_serializing_if = "is_zero")]
    pub unnamed: usize,
    /// The HTTP status. Below 400 the change was made, from 400 on none of it, and from 500 on it
    /// may have been. If there is none, it may have been too: the caller hung up, or this process
    /// ended, before there was an answer.
    pub status: Option<u16>,
    /// What was made; for a job, its URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<&'a str>,
    /// The request's id, as in logs and in the answer.
    pub request_id: &'a str,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Receives entries.
pub type AuditSink = Box<dyn Fn(&AuditEntry<'_>) + Send + Sync>;

static SINK: OnceLock<AuditSink> = OnceLock::new();

/// Sends all entries of this process to `sink` from now on; a second sink is refused.
///
/// # Errors
/// The sink, if there is one already.
pub fn install(sink: AuditSink) -> Result<(), AuditSink> {
    SINK.set(sink)
}

/// The changes that one request asked for, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes(Arc<Mutex<(Vec<String>, usize)>>);

impl Changes {
    /// Notes that the right to change this resource was asked for.
    pub(crate) fn note(&self, resource: &str) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (named, unnamed) = &mut *noted;
        if named.iter().any(|known| known == resource) {
            return;
        }
        match named.len() < RESOURCES_MAX {
            true => named.push(resource.to_owned()),
            false => *unnamed += 1,
        }
    }

    fn take(&self) -> (Vec<String>, usize) {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request that is audited once it is answered.
pub(crate) struct Audited {
    caller: Caller,
    changes: Changes,
    from: Option<IpAddr>,
    method: Method,
    /// Shared with the request, as most requests change nothing and are not logged.
    uri: Uri,
    request_id: Arc<str>,
}

/// A caller that hangs up right after its request gets no answer, but the change may be made.
impl Drop for Audited {
    fn drop(&mut self) {
        self.tell(None, None);
    }
}

impl Audited {
    /// Begins to note what this caller asks for, if it is a person or acts for one, and if there is
    /// a sink.
    pub(crate) fn of(caller: &mut Caller, request: &Request) -> Option<Self> {
        let request_id = caller.request_id.clone().filter(|_| SINK.get().is_some());
        request_id.map(|request_id| {
            let changes = caller.changes.insert(Changes::default()).clone();
            let from = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
            let (method, uri) = (request.method().clone(), request.uri().clone());
            Self { caller: caller.clone(), changes, from, method, uri, request_id }
        })
    }

    /// Logs the request, if it asked to change something.
    pub(crate) fn answered(self, status: u16, made: Option<&str>) {
        self.tell(Some(status), made);
    }

    /// Takes the notes, so that there is no second entry.
    fn tell(&self, status: Option<u16>, made: Option<&str>) {
        let (changes, unnamed) = self.changes.take();
        let Some(sink) = SINK.get().filter(|_| !changes.is_empty()) else { return };
        let request = cut(self.uri.path_and_query().map_or("", |path| path.as_str()));
        sink(&AuditEntry {
            at: clock::wall(),
            user: &self.caller.capability.subject,
            standing: self.caller.standing,
            from: self.from,
            method: self.method.as_str(),
            request: &request,
            changes,
            unnamed,
            status,
            made,
            request_id: &self.request_id,
        });
    }
}

fn cut(path: &str) -> Cow<'_, str> {
    match path.len() <= REQUEST_BYTES_MAX {
        true => path.into(),
        false => format!("{}…", &path[..path.floor_char_boundary(REQUEST_BYTES_MAX)]).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_request_is_cut() {
        let exact = "/".repeat(REQUEST_BYTES_MAX);
        assert_eq!(cut(&exact), exact);
        assert_eq!(cut(&"ä".repeat(REQUEST_BYTES_MAX)), "ä".repeat(REQUEST_BYTES_MAX / 2) + "…");
    }

    #[test]
    fn an_entry_names_each_resource_once_and_not_too_many() {
        let changes = Changes::default();
        for n in 0..RESOURCES_MAX + 5 {
            changes.note(&format!("/f-{n}"));
            changes.note("/f-0");
        }
        let (named, unnamed) = changes.take();
        assert_eq!((named.len(), unnamed), (RESOURCES_MAX, 5));
    }
}
