//! The check of all files below a path (HDFS: `fsck`): compares what is known of each chunk's
//! replicas with what its file asks for. Reads no bytes, which is the task of the chunkservers'
//! scrubbers. It runs in bounded steps, each continuing where the last ended; a concurrent change
//! is seen either before or after it.

use chunkstore_protocol::{
    ChunkFault, ChunkHealth, ChunkId, FSCK_CHUNKS_MAX, FileHealth, FileId, Fsck, FsckPage,
    FsckPlace, RepairState, ReplicaHealth, ReplicaState, ServerAddress,
};
use ids::Monotonic;

use super::Master;
use super::durable::SealedState;
use super::error::FsError;
use super::namespace::{EntryKind, Namespace};
use super::reads::READ_STEP;
use super::servers::ServerId;

/// The position of a check in the tree: for each folder on the way down, the entries still to come.
struct Descent<'a> {
    namespace: &'a Namespace,
    ahead: Vec<Box<dyn Iterator<Item = (&'a str, FileId)> + 'a>>,
}

impl<'a> Descent<'a> {
    /// Begins with everything below `folder`.
    fn new(namespace: &'a Namespace, folder: FileId) -> Self {
        let mut descent = Self { namespace, ahead: Vec::new() };
        descent.enter(folder, None);
        descent
    }

    /// Begins after the entry at `parts` below `folder`, whether or not it still exists; a folder's
    /// own entries come after it.
    fn after(
        namespace: &'a Namespace,
        folder: FileId,
        parts: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut descent = Self { namespace, ahead: Vec::new() };
        let mut at = Some(folder);
        for part in parts {
            let Some(id) = at else { break };
            let EntryKind::Folder(inner) = &namespace.entry(id).kind else {
                at = None;
                break;
            };
            at = namespace.child(inner, part);
            descent.enter(id, Some(part));
        }
        if let Some(id) = at {
            descent.enter(id, None);
        }
        descent
    }

    fn enter(&mut self, id: FileId, after: Option<&'a str>) {
        if let EntryKind::Folder(folder) = &self.namespace.entry(id).kind {
            self.ahead.push(Box::new(self.namespace.children_after(folder, after)));
        }
    }

    /// The next entry; a folder comes before its entries.
    fn next(&mut self) -> Option<FileId> {
        loop {
            match self.ahead.last_mut()?.next() {
                Some((_, id)) => {
                    self.enter(id, None);
                    return Some(id);
                }
                None => drop(self.ahead.pop()),
            }
        }
    }
}

/// How much more one step may look at.
struct Budget {
    visits: usize,
    bad_chunks: usize,
}

impl Master {
    /// One step of a check.
    pub(super) fn fsck(&self, now: Monotonic, request: &Fsck) -> Result<FsckPage, FsError> {
        let Fsck { path, after, limit } = request;
        if !(1..=FSCK_CHUNKS_MAX).contains(limit) {
            return Err(FsError::BadLimit { given: *limit, max: FSCK_CHUNKS_MAX });
        }
        let root = self.find(path)?;
        let namespace = self.durable.namespace();
        let mut page = FsckPage::default();
        let mut budget = Budget { visits: READ_STEP, bad_chunks: *limit as usize };
        let after = after.as_ref().filter(|after| after.path.is_within(path));
        let mut descent = match after {
            None => {
                self.check_file(now, root, 0, &mut budget, &mut page);
                Descent::new(namespace, root)
            }
            Some(FsckPlace { path: last, chunk }) => {
                let below = last.parts().skip(path.parts().count());
                if let (Some(chunk), Ok(id)) = (chunk, self.find(last)) {
                    let first = usize::try_from(*chunk).unwrap_or(usize::MAX);
                    self.check_file(now, id, first, &mut budget, &mut page);
                }
                Descent::after(namespace, root, below)
            }
        };
        let mut last = after.map_or_else(|| path.clone(), |after| after.path.clone());
        while page.next.is_none() {
            let Some(id) = descent.next() else { break };
            if budget.visits == 0 || budget.bad_chunks == 0 {
                page.next = Some(FsckPlace { path: last, chunk: None });
                break;
            }
            budget.visits -= 1;
            self.check_file(now, id, 0, &mut budget, &mut page);
            last = namespace.path_of(id).unwrap_or(last);
        }
        Ok(page)
    }

    /// Checks a file's chunks from the `first` on, as far as the budget goes; if that does not
    /// reach the end, `page.next` says so. Does nothing for a folder.
    fn check_file(
        &self,
        now: Monotonic,
        id: FileId,
        first: usize,
        budget: &mut Budget,
        page: &mut FsckPage,
    ) {
        let namespace = self.durable.namespace();
        let (Some(file), Some(path)) = (namespace.file(id), namespace.path_of(id)) else { return };
        if first == 0 {
            page.checked.files += 1;
            page.checked.open_files += u64::from(self.durable.writer(id).is_some());
        }
        let mut bad = Vec::new();
        for (index, place) in (first as u64..).zip(file.places_from(first)) {
            if budget.visits == 0 || budget.bad_chunks == 0 {
                page.next = Some(FsckPlace { path: path.clone(), chunk: Some(index) });
                break;
            }
            budget.visits -= 1;
            let Some(sealed) = self.sealed(place.chunk) else { continue };
            page.checked.chunks += 1;
            page.checked.bytes += sealed.length();
            if let Some(health) = self.chunk_health(now, (place.chunk, index), &sealed) {
                budget.bad_chunks -= 1;
                bad.push(health);
            }
        }
        if page.next.is_none() {
            bad.extend(self.open_log_health(now, id));
        }
        if !bad.is_empty() {
            page.files.push(FileHealth { path, chunks: bad });
        }
    }

    /// A log's open chunk that is to end and of which no live server has a replica: its records are
    /// missing, and nobody can append until a server comes back with them, or all of them are
    /// forgotten.
    fn open_log_health(&self, now: Monotonic, log: FileId) -> Option<ChunkHealth> {
        let file = self.durable.namespace().file(log)?;
        let open = self.durable.open_log(log).filter(|_| self.has_been_ended_in_vain(log))?;
        let is_there = |server: &ServerAddress| {
            let by = self.servers.by_host(&server.host);
            self.servers.is_live_host(&server.host)
                && by.is_some_and(|by| self.replicas.is_claimed_by(open.chunk, by))
        };
        if open.servers.iter().any(is_there) {
            return None;
        }
        let health = |server: &ServerAddress| {
            let by = self.servers.by_host(&server.host);
            let died = by.and_then(|by| self.servers.died(by.server));
            let state = match died {
                Some(died) => ReplicaState::Dead { seconds: now.since(died).as_secs() },
                None => ReplicaState::Broken,
            };
            ReplicaHealth { host: server.host.clone(), state }
        };
        Some(ChunkHealth {
            chunk: open.chunk,
            index: file.n_chunks() as u64,
            bytes: 0,
            wanted: file.replication,
            fault: ChunkFault::Missing,
            replicas: open.servers.iter().map(health).collect(),
            repair: RepairState::None,
        })
    }

    /// What is wrong with a chunk, if anything is.
    fn chunk_health(
        &self,
        now: Monotonic,
        (chunk, index): (ChunkId, u64),
        sealed: &SealedState,
    ) -> Option<ChunkHealth> {
        let standing = self.standing(chunk, sealed);
        let fault = if standing.live == 0 {
            match self.replicas.broken(chunk) {
                [] => ChunkFault::Missing,
                [..] => ChunkFault::Corrupt,
            }
        } else if standing.live < standing.wanted {
            ChunkFault::Under
        } else if standing.staying > standing.wanted && self.balance.giver(chunk).is_none() {
            ChunkFault::Over
        } else if standing.one_rack {
            ChunkFault::MisReplicated
        } else {
            return None;
        };
        Some(ChunkHealth {
            chunk,
            index,
            bytes: sealed.length(),
            wanted: sealed.wanted,
            fault,
            replicas: self.replica_health(now, chunk),
            repair: self.repair_state(chunk),
        })
    }

    fn replica_health(&self, now: Monotonic, chunk: ChunkId) -> Vec<ReplicaHealth> {
        let live: Vec<ServerId> = self.replicas.holders(chunk, &self.servers).collect();
        let state = |server| match live.contains(&server) {
            true if self.servers.is_draining(server) => Some(ReplicaState::Draining),
            true => Some(ReplicaState::Good),
            // A live server that is not believed has re-registered without the replica.
            false => {
                let died = self.servers.died(server)?;
                Some(ReplicaState::Dead { seconds: now.since(died).as_secs() })
            }
        };
        let named =
            |server, state| ReplicaHealth { host: self.servers.host(server).clone(), state };
        let good = self.replicas.all_holders(chunk).iter().map(|by| by.server);
        let good = good.filter_map(|server| Some(named(server, state(server)?)));
        let stale = self.replicas.stale(chunk, &self.servers);
        let stale = stale.map(|server| named(server, ReplicaState::Stale));
        let broken = self.replicas.broken(chunk).iter().map(|host| {
            let (host, state) = (host.clone(), ReplicaState::Broken);
            ReplicaHealth { host, state }
        });
        good.chain(stale).chain(broken).collect()
    }

    fn repair_state(&self, chunk: ChunkId) -> RepairState {
        let host = |server| self.servers.host(server).clone();
        match self.repairs.running.get(&chunk) {
            Some(copy) => {
                RepairState::Copying { from: host(copy.source), to: host(copy.target.server) }
            }
            None if self.repairs.is_due(chunk) => RepairState::Waiting,
            None => RepairState::None,
        }
    }
}
