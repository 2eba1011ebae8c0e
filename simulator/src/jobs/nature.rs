//! The nature of a job: its shape, what its maps produce, how its tasks fare, and what is bound to
//! go wrong with it. It is drawn before the world starts; jobs are identified by the number in
//! their names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jobtracker_core::{Home, PlannedSplit};
use mapreduce_protocol::{
    AttemptId, Builtin, JobSpec, Priority, Program, Split, SplitPiece, TaskId, TaskKind,
};

use crate::jobs::ground::host;
use crate::jobs::world::{RACKS, TRACKERS};
use crate::random::Random;

/// Name of the pool besides the default one.
pub(crate) const OTHER_POOL: &str = "other";

/// How a job must end unless it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing is wrong with it.
    Fine,
    /// Its input does not exist.
    NoInput,
    /// A stranger's folder appears at the place of its output.
    OutputTaken,
    /// Its program cannot run on any host.
    BadJob,
    /// One of its tasks fails wherever it runs.
    Broken(TaskKind, u32),
}

/// Which attempts of a map produce the same output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purity {
    /// All attempts.
    Same,
    /// Those with even numbers, and those with odd numbers.
    Parity,
    /// No two attempts.
    Chance,
}

/// The nature of a job.
#[derive(Clone, Debug)]
pub(crate) struct Nature {
    pub(crate) spec: JobSpec,
    pub(crate) splits: Vec<PlannedSplit>,
    /// Whether its split list is kept in the staging folder.
    pub(crate) is_staged: bool,
    pub(crate) fate: Fate,
    pub(crate) purity: Purity,
    /// Longest run time of an attempt on a fast host, milliseconds.
    pub(crate) work_millis: u64,
    /// How often an attempt fails, in 1000.
    pub(crate) fails: u64,
    /// When its client submits it, and when it kills it, if it does.
    pub(crate) comes_after: Duration,
    pub(crate) killed_after: Option<Duration>,
    /// When its client changes its priority.
    pub(crate) changes: Vec<(Duration, Priority)>,
}

impl Nature {
    /// Draws the nature of job number `number`.
    pub(crate) fn draw(random: &mut Random, number: usize, storm: Duration) -> Self {
        let n_maps = *random.pick(&[0, 1, 1, 2, 3, 5, 8, 13, 20, 40]);
        let n_reduces = *random.pick(&[0, 0, 1, 1, 2, 3, 5, 9]);
        let fate = match random.below(20) {
            0 => Fate::NoInput,
            1 => Fate::OutputTaken,
            2 => Fate::BadJob,
            3 if n_maps > 0 => Fate::Broken(TaskKind::Map, random.below(n_maps) as u32),
            4 if n_reduces > 0 => {
                Fate::Broken(TaskKind::Reduce, random.below(n_reduces as usize) as u32)
            }
            _ => Fate::Fine,
        };
        let splits = (0..n_maps).map(|index| draw_split(random, index)).collect();
        let within = |random: &mut Random, share: u32| {
            let millis = u64::try_from(storm.as_millis()).unwrap_or(u64::MAX) / u64::from(share);
            random.millis(0..millis.max(1))
        };
        let comes_after = within(random, 2);
        let killed_after = random.chance(120).then(|| within(random, 1));
        let n_changes = random.below(3) * usize::from(random.chance(300));
        let changes =
            (0..n_changes).map(|_| (within(random, 2), *random.pick(&Priority::ALL))).collect();
        Self {
            spec: draw_spec(random, number, n_reduces),
            splits,
            is_staged: random.chance(300),
            fate,
            purity: *random.pick(&[Purity::Same, Purity::Same, Purity::Parity, Purity::Chance]),
            work_millis: *random.pick(&[50, 300, 1500, 4000]),
            fails: *random.pick(&[0, 0, 20, 80]),
            comes_after,
            killed_after,
            changes,
        }
    }

    /// Digest of the output of a map's attempt.
    pub(crate) fn digest(&self, map: AttemptId) -> String {
        let AttemptId { task: TaskId { index, .. }, number } = map;
        match self.purity {
            Purity::Same => format!("m{index}"),
            Purity::Parity => format!("m{index}-{}", number % 2),
            Purity::Chance => format!("m{index}-{number}"),
        }
    }

    /// Whether its maps always produce the same output.
    pub(crate) fn is_pure(&self) -> bool {
        self.purity == Purity::Same
    }

    /// Whether this task fails on every host.
    pub(crate) fn breaks(&self, task: TaskId) -> bool {
        self.fate == Fate::Broken(task.kind, task.index)
    }
}

/// The number in a job's name.
pub(crate) fn number_of(name: &str) -> usize {
    let number = name.strip_prefix("job ").and_then(|number| number.parse().ok());
    number.expect("jobs have the names of their natures")
}

fn draw_spec(random: &mut Random, number: usize, n_reduces: u32) -> JobSpec {
    let name = if n_reduces == 0 { "identity" } else { "wordcount" };
    let store = if random.chance(300) { "s3://bucket" } else { "" };
    // Now and then two jobs have the same output.
    let folder = if random.chance(50) { 0 } else { number };
    let builtin = Builtin { name: name.to_owned(), args: BTreeMap::new() };
    JobSpec {
        reduces: Some(n_reduces),
        max_attempts: random.chance(300).then(|| random.within(1..6) as u32),
        priority: random.chance(300).then(|| *random.pick(&Priority::ALL)),
        speculative: random.chance(300).then(|| random.chance(500)),
        pool: random.chance(300).then(|| OTHER_POOL.to_owned()),
        ..JobSpec::new(
            format!("job {number}"),
            vec!["/in".to_owned()],
            format!("{store}/out/{folder}"),
            Program::Builtin(builtin),
        )
    }
}

fn draw_split(random: &mut Random, index: usize) -> PlannedSplit {
    let n_homes = random.below(4);
    let homes = (0..n_homes)
        .map(|_| random.below(TRACKERS))
        .map(|tracker| Arc::new(Home { host: host(tracker), rack: rack(tracker) }));
    let homes = homes.collect();
    let length = *random.pick(&[1, 1 << 20, 64 << 20]);
    let piece = SplitPiece {
        path: "/in".into(),
        offset: index as u64 * length,
        length,
        file_length: 1 << 40,
        e_tag: None,
    };
    PlannedSplit { split: Split { pieces: vec![piece] }, homes }
}

/// The rack of a tracker's host.
pub(crate) fn rack(tracker: usize) -> ids::RackName {
    format!("/rack-{}", tracker % RACKS).parse().expect("a rack's name")
}
