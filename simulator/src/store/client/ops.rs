//! What clients do: they compete for a few names, and run jobs that publish.

use std::collections::VecDeque;

use chunkstore_core::master::{Mutation, Query};
use chunkstore_protocol::{
    Concat, Copy, CreateLog, Delete, DrainServer, FileId, ForgetServer, IfWriterDies, List, Locate,
    Mkdir, Publish, Rename, Replace, SetReplication, Stat, StorePath, Winner,
};
use ids::RequestStamp;

use crate::random::Random;
use crate::store::server::host;

/// Units of the largest file.
const UNITS_MAX: usize = 40;

/// One thing that a client does.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Write {
        path: StorePath,
        n_units: usize,
        replication: u8,
        if_writer_dies: IfWriterDies,
    },
    Append {
        path: StorePath,
        n_units: usize,
    },
    Read(StorePath),
    AppendRecords {
        path: StorePath,
        n_batches: usize,
    },
    ReadLog(StorePath),
    Look(Query),
    /// A change whose stamp is filled in when it is sent.
    Change(Mutation),
}

fn path(text: &str) -> StorePath {
    text.parse().expect("a path")
}

fn no_stamp() -> RequestStamp {
    RequestStamp { client: "nobody-yet".parse().expect("a client's id"), slot: 0, sequence: 0 }
}

fn folder(random: &mut Random) -> String {
    (*random.pick(&["/a", "/a/b", "/c"])).to_owned()
}

fn name(random: &mut Random) -> StorePath {
    let folder = folder(random);
    path(&format!("{folder}/{}", random.pick(&["x", "y", "z"])))
}

/// The next thing to do, or a few that belong together.
pub(super) fn some(random: &mut Random) -> VecDeque<Op> {
    let op = match random.below(125) {
        0..25 => write(name(random), random),
        25..30 => Op::Append { path: name(random), n_units: random.below(UNITS_MAX) },
        30..34 => copy(random),
        34..35 => concat(random),
        35..38 => set_replication(random),
        38..55 => Op::Read(name(random)),
        55..62 => Op::Look(Query::Stat(Stat { path: name(random) })),
        62..66 => {
            let folder = path(&folder(random));
            let recursive = random.chance(500);
            Op::Look(Query::List(List { path: folder, after: None, limit: 100, recursive }))
        }
        66..72 => mkdir(&folder(random), random.chance(500)),
        72..80 => rename(random),
        80..90 => delete(name(random), false, random.chance(500)),
        90 => drain(random),
        91..93 => delete(path(&folder(random)), true, random.chance(500)),
        93..100 => return job(random),
        _ => log(random),
    };
    VecDeque::from([op])
}

fn write(path: StorePath, random: &mut Random) -> Op {
    let n_units = match random.below(4) {
        0 => random.below(3),
        _ => random.within(1..UNITS_MAX),
    };
    let replication = *random.pick(&[1, 2, 2, 3, 3, 3]);
    let if_writer_dies = *random.pick(&[IfWriterDies::Remove, IfWriterDies::Close]);
    Op::Write { path, n_units, replication, if_writer_dies }
}

fn mkdir(at: &str, parents: bool) -> Op {
    Op::Change(Mutation::Mkdir(Mkdir { stamp: no_stamp(), path: path(at), parents }))
}

fn rename(random: &mut Random) -> Op {
    let (from, to) = match random.chance(200) {
        true => (path(&folder(random)), path(&folder(random))),
        false => (name(random), name(random)),
    };
    let replace = replace(random);
    Op::Change(Mutation::Rename(Rename { stamp: no_stamp(), from, to, replace }))
}

/// Sometimes any file may be replaced, sometimes only one, which may happen to be there.
fn replace(random: &mut Random) -> Replace {
    match random.below(3) {
        0 => Replace::Never,
        1 => Replace::Always,
        _ => Replace::Only(FileId(random.below(40) as u64)),
    }
}

/// Works with one of two logs, which are created now and then and seldom removed.
fn log(random: &mut Random) -> Op {
    let log = path(&format!("/logs/{}", random.pick(&["m", "n"])));
    match random.below(25) {
        0..4 => {
            let replication = Some(*random.pick(&[1, 2, 3, 3]));
            let (stamp, chunk_bytes) = (no_stamp(), None);
            let request = CreateLog { stamp, path: log, parents: true, replication, chunk_bytes };
            Op::Change(Mutation::CreateLog(request))
        }
        4..15 => Op::AppendRecords { path: log, n_batches: random.within(1..6) },
        15..22 => Op::ReadLog(log),
        22 => {
            let to = path(&format!("/logs/{}", random.pick(&["m", "n"])));
            let (stamp, replace) = (no_stamp(), Replace::Never);
            Op::Change(Mutation::Rename(Rename { stamp, from: log, to, replace }))
        }
        23 => replicate(log, random.within(1..4) as u8),
        _ => delete(log, false, random.chance(500)),
    }
}

fn copy(random: &mut Random) -> Op {
    let (from, to) = (name(random), name(random));
    let (replace, parents) = (replace(random), random.chance(500));
    Op::Change(Mutation::Copy(Copy { stamp: no_stamp(), from, to, replace, parents }))
}

/// Only two of the servers are ever drained, so that enough are left; a dead one is forgotten.
fn drain(random: &mut Random) -> Op {
    let stamp = no_stamp();
    let host = host(random.below(2));
    Op::Change(match random.below(6) {
        0 => {
            Mutation::Forget(ForgetServer { stamp, host, lose_records: false, lose_chunks: false })
        }
        n => Mutation::Drain(DrainServer { stamp, host, stop: n > 2 }),
    })
}

fn concat(random: &mut Random) -> Op {
    let parts = (0..random.within(1..4)).map(|_| name(random)).collect();
    let (to, replace, parents) = (name(random), replace(random), random.chance(500));
    Op::Change(Mutation::Concat(Concat { stamp: no_stamp(), parts, to, replace, parents }))
}

fn set_replication(random: &mut Random) -> Op {
    replicate(name(random), random.within(1..4) as u8)
}

pub(super) fn replicate(path: StorePath, replication: u8) -> Op {
    let request = SetReplication { stamp: no_stamp(), path, replication };
    Op::Change(Mutation::SetReplication(request))
}

fn delete(path: StorePath, recursive: bool, skip_trash: bool) -> Op {
    Op::Change(Mutation::Delete(Delete { stamp: no_stamp(), path, recursive, skip_trash }))
}

/// A job's output: it is staged, published, and often replaced by the next job under the same
/// names.
fn job(random: &mut Random) -> VecDeque<Op> {
    let n = random.below(2);
    let (staging, target) = (format!("/staging-{n}"), format!("/out-{n}"));
    let mut ops = VecDeque::new();
    if random.chance(600) {
        ops.push_back(delete(path(&target), true, random.chance(500)));
    }
    ops.push_back(mkdir(&staging, true));
    let mut winners = Vec::new();
    for part in 0..random.within(1..3) {
        let staged = format!("part-{part}");
        ops.push_back(write(path(&format!("{staging}/{staged}")), random));
        winners.push(Winner { published: staged.clone(), staged });
    }
    let publish = Publish {
        stamp: no_stamp(),
        staging: path(&staging),
        winners,
        target: path(&target),
        marker: "_SUCCESS".to_owned(),
        owner: None,
    };
    ops.push_back(Op::Change(Mutation::Publish(publish)));
    ops.push_back(Op::Read(path(&format!("{target}/part-0"))));
    ops
}

/// Where a file's chunks are.
pub(crate) fn locate(path: &StorePath) -> Query {
    Query::Locate(Locate { path: path.clone(), offset: 0, length: None, open: false, log: true })
}
