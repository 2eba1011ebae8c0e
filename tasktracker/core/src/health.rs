//! What is wrong with this host: the edge examines it, here is decided whether what it found is an ailment. The
//! JobTracker hears of it with each heartbeat, of a new or a cured one at once.

use mapreduce_protocol::{AILMENT_BYTES_MAX, Ailment};

use crate::disks::DiskNumber;
use crate::limits;

/// What a host that is well has at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthRule {
    /// Free bytes on the disk of the data folder.
    pub disk_free_min: u64,
    /// Bytes of memory that programs could still get.
    pub memory_free_min: u64,
}

/// What the edge found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Of the data folder's disk.
    Disk {
        /// The folder.
        path: String,
        /// Its free bytes; what went wrong if a file could not be written there.
        free: Result<u64, String>,
    },
    /// Of a disk that attempts work on.
    LocalDisk {
        /// Which.
        disk: DiskNumber,
        /// As above.
        free: Result<u64, String>,
    },
    /// Of a disk that attempts work on, only how much room it has: that it takes a file is not known.
    Room {
        /// Which.
        disk: DiskNumber,
        /// Its free bytes.
        free: u64,
    },
    /// Of the memory: bytes that programs could still get.
    Memory {
        /// So many.
        available: u64,
    },
    /// Of the host's health command.
    Command {
        /// The command.
        command: String,
        /// What is wrong, if anything.
        said: Result<(), String>,
    },
}

/// Once something was short, it must be as much more than the least before it is enough again: else a host on the
/// brink is ill and well by turns.
const MARGIN: f64 = 0.1;

/// The host's ailments, at most one of each sort.
#[derive(Debug, Default)]
pub(crate) struct Health {
    rule: HealthRule,
    disk: Option<Ailment>,
    memory: Option<Ailment>,
    command: Option<Ailment>,
}

impl Health {
    pub(crate) fn new(rule: HealthRule) -> Self {
        Self { rule, ..Self::default() }
    }

    /// Takes a finding; whether the host has another ailment now than before, or one more, or one less.
    pub(crate) fn examine(&mut self, finding: Finding) -> bool {
        let rule = self.rule;
        let (place, found) = match finding {
            Finding::Disk { path, free } => {
                let was_full = matches!(self.disk, Some(Ailment::DiskFull { .. }));
                let needed = with_margin(rule.disk_free_min, was_full);
                let found = match free {
                    Ok(free) if free >= needed => None,
                    Ok(free) => Some(Ailment::DiskFull { path, free, needed }),
                    Err(message) => Some(Ailment::DiskFails { path, message: cut(message) }),
                };
                (&mut self.disk, found)
            }
            Finding::Memory { available } => {
                let needed = with_margin(rule.memory_free_min, self.memory.is_some());
                let short = available < needed;
                (&mut self.memory, short.then_some(Ailment::LowMemory { available, needed }))
            }
            // `Disks` takes these.
            Finding::LocalDisk { .. } | Finding::Room { .. } => return false,
            Finding::Command { command, said } => {
                let wrong = said.err().map(cut);
                let found = wrong.map(|message| Ailment::Command { command, message });
                (&mut self.command, found)
            }
        };
        let changed = !is_same_sort(place.as_ref(), found.as_ref());
        *place = found;
        changed
    }

    /// All that is wrong now. (What no local disk is well with, `Disks` knows.)
    pub(crate) fn ailments(&self) -> Vec<Ailment> {
        [&self.disk, &self.memory, &self.command].into_iter().flatten().cloned().collect()
    }
}

/// Whether they differ in numbers at most.
pub(crate) fn is_same_sort(one: Option<&Ailment>, other: Option<&Ailment>) -> bool {
    one.map(Ailment::as_str) == other.map(Ailment::as_str)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a margin need not be exact"
)]
pub(crate) fn with_margin(least: u64, was_short: bool) -> u64 {
    if was_short { least + (least as f64 * MARGIN) as u64 } else { least }
}

fn cut(mut message: String) -> String {
    limits::cut(&mut message, AILMENT_BYTES_MAX);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: HealthRule = HealthRule { disk_free_min: 1000, memory_free_min: 100 };

    fn disk(free: Result<u64, &str>) -> Finding {
        Finding::Disk { path: "/data".to_owned(), free: free.map_err(str::to_owned) }
    }

    fn command(said: Result<(), &str>) -> Finding {
        Finding::Command { command: "check".to_owned(), said: said.map_err(str::to_owned) }
    }

    #[test]
    fn findings_are_ailments_or_none_and_a_change_of_sort_is_news() {
        let memory = |available| Finding::Memory { available };
        let mut health = Health::new(RULE);
        for (finding, is_news, ailments) in [
            (disk(Ok(1000)), false, &[][..]),
            (disk(Ok(999)), true, &["disk_full"]),
            (disk(Ok(5)), false, &["disk_full"]),
            (disk(Ok(1099)), false, &["disk_full"]),
            (disk(Err("I/O error")), true, &["disk_fails"]),
            (disk(Ok(1000)), true, &[]),
            (memory(100), false, &[]),
            (memory(99), true, &["low_memory"]),
            (command(Err("ERROR fan")), true, &["low_memory", "command"]),
            (command(Err("ERROR other")), false, &["low_memory", "command"]),
            (memory(109), false, &["low_memory", "command"]),
            (memory(110), true, &["command"]),
            (command(Ok(())), true, &[]),
        ] {
            assert_eq!(health.examine(finding.clone()), is_news, "{finding:?}");
            let now: Vec<_> = health.ailments().iter().map(Ailment::as_str).collect();
            assert_eq!(now, ailments, "{finding:?}");
        }
    }

    #[test]
    fn what_a_command_says_is_passed_on_in_part() {
        let mut health = Health::new(RULE);
        health.examine(command(Err(&"x".repeat(1 << 20))));
        let [Ailment::Command { message, .. }] = &health.ailments()[..] else {
            panic!("no command")
        };
        assert!(message.len() <= AILMENT_BYTES_MAX + 4, "{}", message.len());
    }
}
