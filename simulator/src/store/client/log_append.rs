//! Appends records to a log with the real route, as the client library does. A batch that was not
//! taken, or whose outcome nobody knows, is sent again unchanged, to whichever chunk is open then.

use std::time::Duration;

use chunkstore_core::log::Route;
use chunkstore_core::master::{LogRequest, Reply};
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::{ProblemKind, StorePath, WriterId};
use ids::Monotonic;

use super::{Client, Outcome, RETRY_FOR, Task};
use crate::store::ground::{Ask, Ground, LogFault};
use crate::store::invariants::Watch;
use crate::store::records::RecordId;
use crate::store::sabotage::Sabotage;
use crate::store::server::number;

/// How long the client waits for a primary.
const APPEND_LIMIT: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(100);
/// The most records of a batch, and the most units of a record.
const RECORDS_MAX: usize = 3;
const UNITS_MAX: usize = 3;

/// A few batches to be appended to a log.
pub(super) struct Appending {
    route: Route,
    writer: WriterId,
    sequence: u64,
    n_batches: usize,
    /// The batch that is sent until it is taken, and since when.
    batch: Option<(Vec<RecordId>, Monotonic)>,
}

impl Appending {
    pub(super) fn path(&self) -> &StorePath {
        self.route.path()
    }
}

impl Client {
    pub(super) fn append_records(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        path: StorePath,
        n_batches: usize,
    ) {
        let writer = WriterId(u128::from(ground.random.next()));
        let route = Route::new(path, None);
        let appending = Appending { route, writer, sequence: 0, n_batches, batch: None };
        self.task = Task::Appending(Box::new(appending));
        self.append_step(ground, watch);
    }

    /// Sends the next batch, or the same one again.
    pub(super) fn append_step(&mut self, ground: &mut Ground, watch: &mut Watch) {
        let now = ground.now().monotonic;
        let Task::Appending(appending) = &mut self.task else { return };
        let Some(opened) = appending.route.opened() else {
            let ask = Ask::Log(LogRequest::Open(appending.route.ask()));
            return self.ask(ground, ask);
        };
        let Some((primary, followers)) = opened.allocation.pipeline.split_first() else {
            return self.rest(ground);
        };
        let (ids, _) = appending.batch.get_or_insert_with(|| {
            let n = ground.random.within(1..RECORDS_MAX + 1);
            let mut make = || {
                appending.sequence += 1;
                let name = (appending.sequence, appending.sequence);
                let n_units = ground.random.within(1..UNITS_MAX + 1);
                watch.logs.records.make(appending.writer, name, n_units)
            };
            ((0..n).map(|_| make()).collect(), now)
        });
        watch.see_records_sent(opened.file, ids);
        let records = &watch.logs.records;
        let (batch, frames) = (records.batch(ids), records.frames(ids));
        let (chunk, version) = (opened.allocation.chunk, opened.allocation.version);
        let replica = ReplicaKey { chunk, version };
        let followers = followers.iter().map(|server| number(&server.host)).collect();
        let primary = number(&primary.host);
        let ask = Ask::AppendRecords { replica, followers, batch, frames };
        self.ask_server_for(ground, primary, ask, APPEND_LIMIT);
    }

    /// The master has said where the log continues, or has not.
    pub(super) fn log_opened(&mut self, ground: &mut Ground, watch: &mut Watch, outcome: Outcome) {
        let now = ground.now().monotonic;
        let Task::Appending(appending) = &mut self.task else { return };
        let since = appending.batch.as_ref().map(|(_, since)| *since);
        match outcome {
            Outcome::Done(Reply::OpenedLog(opened)) => {
                appending.route.handle_opened(opened);
                self.append_step(ground, watch);
            }
            Outcome::Refused(refusal)
                if matches!(refusal.kind(), ProblemKind::NoServers | ProblemKind::Starting)
                    && since.is_some_and(|since| now.since(since) < RETRY_FOR) =>
            {
                self.step_after(ground, PAUSE);
            }
            Outcome::Done(_) | Outcome::Refused(_) | Outcome::Silence => self.rest(ground),
        }
    }

    /// The primary has answered; `None` if it has not.
    pub(super) fn appended(
        &mut self,
        ground: &mut Ground,
        watch: &mut Watch,
        answer: Option<Result<(), LogFault>>,
    ) {
        self.pending = None;
        let renumbers = self.sabotage == Some(Sabotage::RecordsRenumbered);
        let now = ground.now().monotonic;
        let n = self.n;
        let Task::Appending(appending) = &mut self.task else { return };
        let Some((ids, since)) = appending.batch.take() else { return };
        let names = ids.iter().map(|id| watch.logs.records.header(*id));
        let names: Vec<_> = names.map(|it| (it.writer, it.sequence)).collect();
        ground.say(format_args!("client-{n}: {names:?} appended to a log: {answer:?}"));
        if let Some(Ok(())) = answer {
            if let Some(opened) = appending.route.opened() {
                watch.see_records_acknowledged(opened.file, &names);
            }
            appending.route.handle_appended();
            appending.n_batches -= 1;
            return match appending.n_batches {
                0 => self.rest(ground),
                _ => self.append_step(ground, watch),
            };
        }
        let is_retried = answer != Some(Err(LogFault::OutOfOrder));
        if !is_retried {
            watch.broken("logs", format!("{names:?} were refused as out of order"));
        }
        appending.route.handle_failed(answer.is_none());
        if now.since(since) >= RETRY_FOR {
            return self.rest(ground);
        }
        let mut again = |id: &RecordId| match renumbers {
            true => {
                appending.sequence += 1;
                watch.logs.records.renumbered(*id, appending.sequence)
            }
            false => *id,
        };
        appending.batch = Some((ids.iter().map(&mut again).collect(), since));
        self.step_after(ground, PAUSE);
    }
}
