//! Once nothing fails any more, everything ends: clients finish, open files are closed or expire,
//! every file has exactly as many replicas as it asks for, and nothing waits for ever. Then all
//! names are as the model says, and every file can be read byte for byte.

use std::sync::Arc;

use chunkstore_core::log::Seen;
use chunkstore_core::master::{Input, Master, Query, Reply, ReplyTo};
use chunkstore_core::replica::ReplicaKey;
use chunkstore_protocol::{
    ChunkLocation, List, Liveness, Located, Report, ServerAddress, ServerReport, Stat, StorePath,
};
use ids::HostName;

use crate::store::client::locate;
use crate::store::content::Content;
use crate::store::disk::{Disk, File};
use crate::store::records::RecordId;
use crate::store::server::{Server, host, number};
use crate::store::world::{SERVERS, World, reply_of};

impl World {
    /// What has not ended yet.
    pub(crate) fn unrest(&self) -> Option<String> {
        if let Some(client) = self.clients.iter().find(|client| !client.is_idle()) {
            return Some(client.doing());
        }
        let Some(summary) = self.summary() else { return Some("the master is away".to_owned()) };
        let due = self.master.core.as_ref().and_then(Master::poll_timeout);
        // The summary is made by a copy whose clock is past that time: what expires then is not on
        // record yet.
        if due.is_some_and(|due| due <= self.ground.now().monotonic) {
            return Some("the master's time-out is due".to_owned());
        }
        let open = summary.open_files;
        let busy = summary.commands_pending
            + summary.repairs_waiting
            + summary.repairs_running
            + summary.moves_running
            + summary.sweeping;
        if open + busy > 0 || summary.servers_live < SERVERS as u64 {
            return Some(format!("the master has work to do: {summary:?}"));
        }
        if let Some(host) = self.reporting() {
            return Some(format!("{host} has not told all that it has"));
        }
        let counts = |server: &&Server| !self.watch.model.is_draining(&host(server.n));
        let counted = self.servers.iter().filter(counts);
        let disks: Vec<&Disk> = counted.map(|server| &server.disk).collect();
        let odd = self.watch.model.chunks().find_map(|(file, sealed)| {
            let key = ReplicaKey { chunk: sealed.chunk, version: sealed.version };
            let wanted = self.watch.model.wanted(key.chunk).map_or(0, usize::from);
            let good = self.watch.n_good(key, &disks);
            (good != wanted).then(|| {
                format!("chunk {} of {:?} has {good} good replicas of {wanted}", key.chunk, file.id)
            })
        });
        odd.or_else(|| self.ghost()).or_else(|| self.ending_log())
    }

    /// A live server whose report is not complete: what it has does not count yet.
    fn reporting(&self) -> Option<HostName> {
        let mut master = self.master.core.clone()?;
        let query = Query::Report(Report { after: None });
        let out = master.handle(self.ground.now(), Input::Query(ReplyTo(0), query));
        let Some(Reply::Report(report)) = reply_of(out.effects) else { return None };
        let is_reporting = |server: &&ServerReport| server.liveness == Liveness::Reporting;
        report.servers.iter().find(is_reporting).map(|server| server.host.clone())
    }

    /// A log whose open chunk has lost its primary: the chunk must be ended.
    fn ending_log(&self) -> Option<String> {
        let mut master = self.master.core.clone()?;
        let logs = self.watch.model.files().filter(|(_, file)| file.is_log);
        let paths = logs.filter_map(|(path, _)| path.parse().ok());
        paths.into_iter().find_map(|path| {
            let input = Input::Query(ReplyTo(0), locate(&path));
            let out = master.handle(self.ground.now(), input);
            let Some(Reply::Located(located)) = reply_of(out.effects) else { return None };
            let (replica, primary) = open_chunk(&located)?;
            let is_there = self.servers[number(&primary.host)].n_acknowledged(replica).is_some();
            (!is_there).then(|| format!("chunk {} of {path} has no primary", replica.chunk))
        })
    }

    /// A replica that the master counts on but that is missing or has rotted: its server has not
    /// reported that yet.
    fn ghost(&self) -> Option<String> {
        let mut master = self.master.core.clone()?;
        let closed = self.watch.model.files().filter(|(_, file)| !file.open);
        let paths = closed.filter_map(|(path, _)| path.parse().ok());
        paths.into_iter().find_map(|path| {
            let input = Input::Query(ReplyTo(0), locate(&path));
            let out = master.handle(self.ground.now(), input);
            let Some(Reply::Located(located)) = reply_of(out.effects) else { return None };
            located.chunks.iter().find_map(|it| {
                let key = ReplicaKey { chunk: it.chunk, version: it.version };
                let disk = |server: &ServerAddress| &self.servers[number(&server.host)].disk;
                let is_good = |server: &&Arc<ServerAddress>| {
                    disk(server).read(key).is_some_and(File::is_whole)
                };
                let ghost = it.servers.iter().find(|server| !is_good(server))?;
                Some(format!("{} counts as one that has chunk {}", ghost.host, it.chunk))
            })
        })
    }

    /// Checks everything, once the world is at rest.
    pub(crate) fn check_whole(&mut self) {
        let disks: Vec<&Disk> = self.servers.iter().map(|server| &server.disk).collect();
        self.watch.check_copies(&disks);
        let Some(mut master) = self.master.core.clone() else { return };
        self.watch.check_fold(&master);
        let (now, to) = (self.ground.now(), ReplyTo(0));
        let parsed = |path: &str| path.parse().expect("the model's paths are the clients'");
        let folders: Vec<StorePath> = self.watch.model.folders().map(parsed).collect();
        let files: Vec<StorePath> =
            self.watch.model.files().map(|(path, _)| parsed(path)).collect();
        let lists = folders.iter().map(|path| {
            Query::List(List { path: path.clone(), after: None, limit: 1000, recursive: false })
        });
        let stats = files.iter().map(|path| Query::Stat(Stat { path: path.clone() }));
        for query in lists.chain(stats).chain(files.iter().map(locate)) {
            let out = master.handle(now, Input::Query(to, query.clone()));
            match reply_of(out.effects) {
                Some(reply) => {
                    let answer = Ok(reply);
                    self.watch.see_query(&query, &answer);
                    if let Ok(Reply::Located(located)) = answer {
                        self.check_located(&located);
                        self.check_log(&located);
                    }
                }
                None => self.watch.broken("liveness", format!("{query:?} was refused at the end")),
            }
        }
    }

    /// Checks the final content of a log, if the file is one.
    fn check_log(&mut self, located: &Located) {
        if !self.watch.model.file(located.file).is_some_and(|file| file.is_log) {
            return;
        }
        let truth = |it: &ChunkLocation| self.watch.truth.get(&it.chunk).cloned();
        let mut units: Content = located.chunks.iter().filter_map(truth).flatten().collect();
        if let Some((replica, primary)) = open_chunk(located) {
            // If it has rotted at the primary, the next reader will have the chunk ended, and
            // others have the bytes.
            let n = self.servers[number(&primary.host)].n_acknowledged(replica).unwrap_or(0);
            let logs = self.servers.iter().filter_map(|server| server.disk.log(replica)?.get(..n));
            let mut sound = logs.filter(|units| self.watch.logs.records.sound(units).1 == n);
            match sound.next() {
                Some(open) => units.extend_from_slice(open),
                None => {
                    return self.watch.broken("logs", format!("nobody has the end of {replica:?}"));
                }
            }
        }
        let (ids, n) = self.watch.logs.records.sound(&units);
        if n != units.len() {
            self.watch.broken("logs", format!("{:?} has half a record", located.file));
        }
        let mut seen = Seen::default();
        let records = &self.watch.logs.records;
        let is_new = |id: &RecordId| {
            let header = records.header(*id);
            seen.is_new(header.writer, header.sequence)
        };
        let ids: Vec<RecordId> = ids.into_iter().filter(is_new).collect();
        let n = self.watch.logs.n_acknowledged().get(&located.file).copied().unwrap_or(0);
        self.watch.see_log_read(located.file, &ids, n);
    }

    fn check_located(&mut self, located: &Located) {
        for location in &located.chunks {
            let key = ReplicaKey { chunk: location.chunk, version: location.version };
            for server in &location.servers {
                let file = self.servers[number(&server.host)].disk.read(key);
                match file.map(|file| file.content.clone()) {
                    Some(content) => self.watch.see_read(location.chunk, &content),
                    None => {
                        let what = format!("{} has no chunk {}", server.host, location.chunk);
                        self.watch.broken("liveness", what);
                    }
                }
            }
            if location.servers.is_empty() {
                let what = format!("nobody is known to have chunk {}", location.chunk);
                self.watch.broken("liveness", what);
            }
        }
    }
}

/// The open chunk of a log and its primary, if anything may be acknowledged there.
fn open_chunk(located: &Located) -> Option<(ReplicaKey, &ServerAddress)> {
    let open = located.open_log.as_ref()?;
    let replica = ReplicaKey { chunk: open.chunk, version: open.version };
    Some((replica, open.primary.as_ref()?))
}
