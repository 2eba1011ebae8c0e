//! The life of a file under its writer: create, allocate, close, abandon. Each function plans one
//! record. Who may hold which name is decided in `tree.rs`, where chunks go in `placement.rs`;
//! reopening a file, or ending it without its writer, is in `append.rs`.

use chunkstore_protocol::{
    Abandon, Allocate, ChunkId, Close, Create, FileId, REPLICATION_MAX, SealedChunk, StorePath,
    Version, is_chunk_limit,
};
use ids::{ClientId, HostName, Monotonic, UnixMillis};

use super::Master;
use super::durable::{ChunkState, Writer};
use super::error::FsError;
use super::layout::File;
use super::placement::Wish;
use super::record::{Allotted, Record, Sealed, Stamp};
use super::replicas::Claim;

/// Replicas that a close needs, if the file asks for as many.
const REPLICAS_TO_CLOSE: u8 = 2;
/// Every chunk is written under a single lease.
const FIRST_VERSION: Version = Version(1);

/// An open file, as held by its writer.
struct Held<'a> {
    path: StorePath,
    file: &'a File,
    writer: &'a Writer,
}

/// What the servers of a chunk are chosen by.
pub(super) struct Order<'a> {
    pub(super) path: &'a StorePath,
    pub(super) replication: u8,
    pub(super) chunk_bytes: u64,
    pub(super) exclude: &'a [HostName],
    pub(super) writer_host: Option<&'a HostName>,
}

impl Master {
    pub(super) fn plan_create(
        &mut self,
        at: UnixMillis,
        stamp: &Stamp,
        owner: &str,
        request: &Create,
    ) -> Result<Record, FsError> {
        let Create {
            stamp: _,
            path,
            parents,
            replication,
            chunk_bytes,
            writer_host,
            if_writer_dies,
        } = request;
        let replication = self.replication(*replication)?;
        let chunk_bytes = self.chunk_bytes(*chunk_bytes)?;
        let owner = self.admitted(owner)?;
        let spot = self.spot(path, *parents)?;
        let (parent, folders, name) = (spot.parent, spot.folders, spot.name.to_owned());
        let writer_host = writer_host.as_ref();
        let order = Order { path, replication, chunk_bytes, exclude: &[], writer_host };
        let allotted = self.allot(&order)?;
        let file = self.next_file_after(&folders);
        let stamp = stamp.clone();
        Ok(Record::FileCreated {
            stamp,
            at,
            parent,
            folders,
            name,
            file,
            replication,
            chunk_bytes,
            allotted,
            if_writer_dies: *if_writer_dies,
            owner,
        })
    }

    pub(super) fn plan_allocate(
        &mut self,
        at: UnixMillis,
        stamp: &Stamp,
        request: &Allocate,
    ) -> Result<Record, FsError> {
        let Allocate { stamp: _, file, sealed, abandoned, exclude, writer_host } = request;
        let held = self.held(*file, &stamp.client)?;
        let settled = held.settled(sealed.as_ref(), *abandoned)?;
        if let Some((chunk, _)) = held.writer.open
            && sealed.is_none()
            && abandoned.is_none()
        {
            return Err(FsError::ChunkStillOpen { path: held.path, chunk });
        }
        let (replication, chunk_bytes) = (held.file.replication, held.file.chunk_bytes());
        let path = held.path;
        let writer_host = writer_host.as_ref();
        let order = Order { path: &path, replication, chunk_bytes, exclude, writer_host };
        let allotted = self.allot(&order)?;
        let (stamp, file) = (stamp.clone(), *file);
        Ok(Record::ChunkAllocated { stamp, at, file, sealed: settled, allotted })
    }

    pub(super) fn plan_close(
        &self,
        at: UnixMillis,
        stamp: &Stamp,
        request: &Close,
    ) -> Result<Record, FsError> {
        let Close { stamp: _, file, sealed, abandoned, into } = request;
        let held = self.held(*file, &stamp.client)?;
        let sealed = held.settled(sealed.as_ref(), *abandoned)?;
        let moved = match into {
            Some(into) => self.moved((&held.path, *file), into)?,
            None => None,
        };
        Ok(Record::FileClosed { stamp: stamp.clone(), at, file: *file, sealed, moved })
    }

    pub(super) fn plan_abandon(
        &self,
        at: UnixMillis,
        stamp: &Stamp,
        request: &Abandon,
    ) -> Result<Record, FsError> {
        let Abandon { stamp: _, file } = request;
        let is_append = self.held(*file, &stamp.client)?.writer.reopened_at.is_some();
        let (stamp, file) = (stamp.clone(), *file);
        Ok(match is_append {
            true => Record::AppendAbandoned { stamp, at, file },
            false => Record::FileAbandoned { stamp, at, file },
        })
    }

    /// Whether `client` still holds the lease of `file`.
    pub(super) fn holds(&self, file: FileId, client: &ClientId) -> bool {
        self.held(file, client).is_ok()
    }

    /// Notes which servers sealed a chunk, once it is part of its file.
    pub(super) fn learn(&mut self, sealed: &SealedChunk, now: Monotonic) {
        let SealedChunk { chunk, version, length, checksum, servers } = sealed;
        let ChunkState::Sealed(sealed) = self.durable.chunk(*chunk) else { return };
        self.replicas.judge(*chunk, &sealed);
        for host in servers {
            if let Some(by) = self.servers.by_host(host) {
                let (version, length, checksum) = (*version, *length, *checksum);
                let claim = Claim { by, version, length, checksum };
                self.replicas.claim_of_another(*chunk, claim, &sealed, &self.servers);
            }
        }
        self.replicas.all_heard(*chunk);
        self.inspect(*chunk, now);
    }

    /// The number of replicas of a new file: as asked for, or the default.
    pub(super) fn replication(&self, asked: Option<u8>) -> Result<u8, FsError> {
        let given = asked.unwrap_or(self.settings.replication);
        match given {
            1..=REPLICATION_MAX => Ok(given),
            _ => Err(FsError::BadReplication { given, max: REPLICATION_MAX }),
        }
    }

    pub(super) fn chunk_bytes(&self, asked: Option<u64>) -> Result<u64, FsError> {
        let given = asked.unwrap_or(self.settings.chunk_bytes);
        match is_chunk_limit(given) {
            true => Ok(given),
            false => Err(FsError::BadChunkBytes { given }),
        }
    }

    fn held(&self, file: FileId, client: &ClientId) -> Result<Held<'_>, FsError> {
        let held = || {
            let writer = self.durable.writer(file).filter(|writer| writer.holder == *client)?;
            let path = self.durable.namespace().path_of(file)?;
            let file = self.durable.namespace().file(file)?;
            Some(Held { path, file, writer })
        };
        held().ok_or(FsError::LeaseLost { file })
    }

    /// Allots the next chunk of a file and the servers that it goes to.
    pub(super) fn allot(&mut self, order: &Order<'_>) -> Result<Allotted, FsError> {
        let Order { path, replication, chunk_bytes, exclude, writer_host } = *order;
        let needed = replication.min(REPLICAS_TO_CLOSE);
        let wish = Wish { replicas: replication, needed, writer: writer_host };
        let starting = self.durable.known().is_empty();
        let placed = self.servers.place(self.called, wish, chunk_bytes, exclude);
        let pipeline = placed.map_err(|unfit| {
            let (path, live) = (path.clone(), self.servers.live_hosts());
            if live.len() < usize::from(needed) {
                FsError::NoLiveServers { path, needed, live, unfit, starting }
            } else {
                FsError::NoRoom { path, needed, chunk_bytes, unfit }
            }
        })?;
        Ok(Allotted { chunk: self.durable.next_chunk(), version: FIRST_VERSION, pipeline })
    }
}

impl Held<'_> {
    /// What becomes of the open chunk: the request says that it is sealed, or given up, or neither.
    fn settled(
        &self,
        sealed: Option<&SealedChunk>,
        abandoned: Option<ChunkId>,
    ) -> Result<Option<Sealed>, FsError> {
        let not_allotted = |chunk| Err(FsError::NotAllotted { path: self.path.clone(), chunk });
        if let Some(chunk) = abandoned
            && (sealed.is_some() || self.writer.open.is_none_or(|(open, _)| open != chunk))
        {
            return not_allotted(chunk);
        }
        let Some(told) = sealed else { return Ok(None) };
        if self.writer.open != Some((told.chunk, told.version)) {
            return not_allotted(told.chunk);
        }
        let (chunk, length, max) = (told.chunk, told.length, self.file.chunk_bytes());
        if !(1..=max).contains(&length) {
            let path = self.path.clone();
            return Err(FsError::BadChunkLength { path, chunk, length, max });
        }
        if let Some(host) = told.servers.iter().find(|host| !self.writer.pipeline.contains(host)) {
            let (path, host) = (self.path.clone(), host.clone());
            return Err(FsError::NotInPipeline { path, chunk, host });
        }
        let needed = self.file.replication.min(REPLICAS_TO_CLOSE);
        let mut on = told.servers.clone();
        on.sort();
        on.dedup();
        if on.len() < usize::from(needed) {
            return Err(FsError::TooFewReplicas { path: self.path.clone(), chunk, on, needed });
        }
        Ok(Some(Sealed::from(told)))
    }
}
