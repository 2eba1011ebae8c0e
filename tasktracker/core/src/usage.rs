//! What an attempt may use of this host, and whether it has used more: then it ends, and the cause says
//! which limit it was and what to change. How much it uses is measured elsewhere.

use mapreduce_protocol::{ByteSize, Failure, FailureKind, TaskLimits};

/// What one attempt may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of its processes, bytes.
    pub memory: u64,
    /// Its processes and threads.
    pub processes: u32,
    /// Bytes of its folder on the local disk.
    pub disk: u64,
    /// Open files of each of its processes: the system refuses more, and the program says so.
    pub open_files: u32,
}

/// What a host lets attempts use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLimits {
    /// Where their jobs do not say.
    pub default: Limits,
    /// Memory that no attempt gets more of, whatever its job says.
    pub memory_max: u64,
}

/// What an attempt uses at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that its processes hold, bytes: of what several hold together, each counts a share. 0 where
    /// the system itself holds it to its limit.
    pub memory: u64,
    /// The system has ended a process of it for want of memory within its limit.
    pub memory_denied: bool,
    /// Its processes and threads; 0 where the system itself holds it to its limit.
    pub processes: u32,
    /// The system has refused it a process beyond its limit.
    pub process_denied: bool,
    /// Bytes of its folder on the local disk.
    pub disk: u64,
}

impl HostLimits {
    /// For the attempts of a job that asks for `wanted`.
    #[must_use]
    pub fn of(&self, wanted: &TaskLimits) -> Limits {
        let Self { default, memory_max } = *self;
        Limits {
            memory: wanted.memory.map_or(default.memory, |size| size.0).min(memory_max),
            processes: wanted.processes.unwrap_or(default.processes),
            disk: wanted.disk.map_or(default.disk, |size| size.0),
            open_files: wanted.open_files.unwrap_or(default.open_files),
        }
    }
}

impl Limits {
    /// None at all.
    pub const NONE: Self =
        Self { memory: u64::MAX, processes: u32::MAX, disk: u64::MAX, open_files: 1 << 20 };

    /// Why an attempt that uses so much is to end.
    pub(crate) fn verdict(&self, usage: &Usage) -> Option<Failure> {
        if usage.memory_denied || usage.memory > self.memory {
            return Some(self.out_of_memory(usage.memory.max(self.memory)));
        }
        if usage.process_denied || usage.processes > self.processes {
            return Some(self.too_many_processes());
        }
        (usage.disk > self.disk).then(|| self.over_disk_quota(usage.disk))
    }

    fn out_of_memory(&self, used: u64) -> Failure {
        let needed = match used > self.memory {
            true => format!("its processes used {} of memory", mib(used)),
            false => "its processes wanted more memory than they may have".to_owned(),
        };
        let message = format!(
            "{needed}; the limit is {}: have the program hold less at once, or give the job more \
             ('limits: {{memory: {}}}')",
            mib(self.memory),
            twice(used)
        );
        Failure { kind: FailureKind::OutOfMemory { limit: self.memory, used }, message }
    }

    fn over_disk_quota(&self, used: u64) -> Failure {
        let message = format!(
            "its folder held {} on the local disk; the limit is {}: have the program write less there, or \
             give the job more ('limits: {{disk: {}}}')",
            mib(used),
            mib(self.disk),
            twice(used)
        );
        Failure { kind: FailureKind::OverDiskQuota { limit: self.disk, used }, message }
    }

    fn too_many_processes(&self) -> Failure {
        let limit = self.processes;
        let message = format!(
            "it has more than {limit} processes and threads, which is the limit: have the program start \
             fewer at once, or give the job more ('limits: {{processes: {}}}')",
            limit.saturating_mul(2)
        );
        Failure { kind: FailureKind::TooManyProcesses { limit }, message }
    }
}

/// A limit to try, and easy to read.
fn twice(bytes: u64) -> ByteSize {
    ByteSize(bytes.saturating_mul(2).checked_next_multiple_of(256 << 20).unwrap_or(u64::MAX))
}

/// Rounded down: exact sizes are in the cause itself.
fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMITS: Limits =
        Limits { memory: 512 * MIB, processes: 64, disk: 100 * MIB, open_files: 99 };

    fn uses(memory_mib: u64, processes: u32) -> Usage {
        Usage { memory: memory_mib * MIB, processes, ..Usage::default() }
    }

    #[test]
    fn who_uses_more_than_its_limit_ends_with_that_cause() {
        let memory = |used| Some(FailureKind::OutOfMemory { limit: 512 * MIB, used: used * MIB });
        let processes = Some(FailureKind::TooManyProcesses { limit: 64 });
        let oom = Usage { memory_denied: true, ..Usage::default() };
        let full = Usage { process_denied: true, ..Usage::default() };
        let disk = |mib| Usage { disk: mib * MIB, ..uses(1, 1) };
        let over_quota = FailureKind::OverDiskQuota { limit: 100 * MIB, used: 101 * MIB };
        let table: [(&[Usage], Option<FailureKind>); 11] = [
            (&[], None),
            (&[uses(1, 1), uses(511, 63), uses(512, 64)], None),
            (&[uses(1, 1), uses(513, 1), uses(900, 1)], memory(513)),
            (&[uses(1, 1), uses(1, 65)], processes.clone()),
            (&[uses(512, 64), oom], memory(512)),
            (&[full, oom], processes.clone()),
            (&[Usage { memory: 600 * MIB, ..full }], memory(600)),
            (&[Usage { processes: 65, ..oom }], memory(512)),
            (&[uses(512, 1), full], processes),
            (&[disk(0), disk(100), disk(50)], None),
            (&[disk(99), disk(101), disk(999)], Some(over_quota)),
        ];
        for (series, cause) in table {
            let first = series.iter().find_map(|usage| LIMITS.verdict(usage));
            assert_eq!(first.map(|failure| failure.kind), cause, "{series:?}");
        }
    }

    #[test]
    fn the_cause_says_what_to_change() {
        let message = |usage| LIMITS.verdict(&usage).unwrap().message;
        let used = message(uses(700, 1));
        assert!(used.contains("700 MiB") && used.contains("limit is 512 MiB"), "{used}");
        assert!(used.contains("'limits: {memory: 1536MiB}'"), "{used}");
        let many = message(uses(1, 65));
        assert!(many.contains("more than 64") && many.contains("{processes: 128}"), "{many}");
    }

    #[test]
    fn a_job_gets_what_it_asks_for_as_far_as_the_host_goes() {
        let wanted = |memory| TaskLimits { memory, ..TaskLimits::default() };
        let host = HostLimits { default: LIMITS, memory_max: 4096 * MIB };
        let of = |memory| host.of(&wanted(memory)).memory / MIB;
        assert_eq!(of(None), 512);
        assert_eq!(of(Some(ByteSize(100 * MIB))), 100);
        assert_eq!(of(Some(ByteSize(2048 * MIB))), 2048);
        assert_eq!(of(Some(ByteSize(1 << 40))), 4096);
        let json = r#"{"processes":2000,"disk":"1GiB","open_files":300}"#;
        let others = host.of(&serde_json::from_str(json).unwrap());
        let expected = Limits { processes: 2000, disk: 1 << 30, open_files: 300, ..LIMITS };
        assert_eq!(others, expected);
    }
}
