//! The JobTracker's durable state as a journal fold; `event_loop` knows how it is kept.

use event_loop::{State, StateFold};
use jobtracker_core::{Durable, Record};

/// See [`JobFold`].
#[derive(Debug)]
pub enum JobtrackerState {}

/// The durable state, restored from a snapshot and changed by records.
pub type JobFold = StateFold<JobtrackerState>;

impl State for JobtrackerState {
    type Durable = Durable;
    type Record = Record;
    const DAEMON: &'static str = "JobTracker";
    const SNAPSHOT_FORMAT: u32 = 1;

    fn apply(state: &mut Durable, record: &Record) {
        state.apply(record);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use ids::{Epoch, RackName, UnixMillis};
    use jobtracker_core::{
        Home, IdempotencyKey, KilledAttempt, Locality, PlannedSplit, Span, SplitList, StagedSplits,
    };
    use mapreduce_protocol::{
        AttemptId, Builtin, FailedRecord, Failure, FailureKind, JobId, JobSpec, JobState,
        NamedOutput, Priority, Program, RecordPlace, Split, SplitPiece, StagedOutput, TaskCounts,
        TaskKind,
    };

    use event_loop::{decode_record, encode_record};
    use journal::Fold as _;

    use super::*;

    fn accepted(job: JobId) -> Record {
        let args = BTreeMap::from([("pattern".to_owned(), "a+".to_owned())]);
        Record::JobAccepted {
            job,
            spec: Arc::new(JobSpec {
                reduces: Some(1),
                ..JobSpec::new(
                    "count",
                    vec!["/in".to_owned()],
                    "/out",
                    Program::Builtin(Builtin { name: "wordcount".to_owned(), args }),
                )
            }),
            n_reduces: 1,
            max_attempts: 4,
            key: Some(IdempotencyKey { key: "key-1".to_owned(), digest: "0a".to_owned() }),
            at: UnixMillis(10),
            owner: String::new(),
        }
    }

    /// The same record of a job with an owner.
    fn accepted_of_a_user() -> Record {
        let mut record = accepted(JobId { date: 20_261_122, ordinal: 7 });
        if let Record::JobAccepted { owner, .. } = &mut record {
            *owner = "alice".to_owned();
        }
        record
    }

    fn planned() -> PlannedSplit {
        let piece =
            SplitPiece { path: "/in/a".into(), offset: 0, length: 7, file_length: 9, e_tag: None };
        let home = Home { host: "host-1".parse().unwrap(), rack: RackName::default_rack() };
        PlannedSplit { split: Split { pieces: vec![piece] }, homes: vec![home.into()] }
    }

    fn succeeded(attempt: AttemptId, digest: &str) -> Record {
        Record::TaskSucceeded {
            attempt,
            host: "host-1".parse().unwrap(),
            digest: digest.to_owned(),
            counters: BTreeMap::from([("map.records".to_owned(), 3)]),
            place: None,
            staged: None,
            named: Vec::new(),
            ran_ms: None,
            span: Span::default(),
        }
    }

    fn failed(attempt: AttemptId, kind: FailureKind) -> Record {
        let failure = Failure { kind, message: "exit status 1".to_owned() };
        let host = "host-1".parse().unwrap();
        let (place, split, span) = (None, None, Span::default());
        let (status, record) = (None, None);
        Record::AttemptFailed { attempt, host, failure, place, split, span, status, record }
    }

    /// A job that may skip records.
    fn accepted_that_skips(job: JobId) -> Record {
        let mut record = accepted(job);
        if let Record::JobAccepted { spec, .. } = &mut record {
            std::sync::Arc::make_mut(spec).skip_records = Some(3);
        }
        record
    }

    /// The same failure, of an attempt that was at a record.
    fn at_record(mut failed: Record) -> Record {
        if let Record::AttemptFailed { record, .. } = &mut failed {
            let place = Some(RecordPlace { path: "/in/a".to_owned(), offset: 70 });
            *record = Some(FailedRecord { ordinal: 9, place, start: "bad".to_owned() });
        }
        failed
    }

    fn killed_attempt(attempt: AttemptId, split: Option<Split>) -> KilledAttempt {
        let (host, span) = ("host-1".parse().unwrap(), Span::default());
        KilledAttempt { attempt, host, split, span, place: None, why: None }
    }

    fn planned_elsewhere() -> PlannedSplit {
        let mut planned = planned();
        let piece = &mut planned.split.pieces[0];
        (piece.path, piece.e_tag) = ("s3://bucket/in/a".into(), Some("tag".into()));
        planned.homes.clear();
        planned
    }

    /// The same success, of a task whose output is in another store.
    fn with_staged(mut record: Record) -> Record {
        if let Record::TaskSucceeded { staged, .. } = &mut record {
            let (upload, parts) = (Some("upload-1".to_owned()), vec!["part-1".to_owned()]);
            *staged = Some(StagedOutput { upload, parts, bytes: 7 });
        }
        record
    }

    /// The same success, of a task that also wrote a named output.
    fn with_named(mut record: Record) -> Record {
        let Record::TaskSucceeded { staged, named, .. } = &mut record else {
            panic!("{record:?} is no success")
        };
        let output = |name: &str, staged| NamedOutput { name: name.to_owned(), staged };
        *named = vec![output("errors", staged.clone()), output("rest", None)];
        record
    }

    /// The same failure, of an attempt with a status message.
    fn with_status(mut record: Record) -> Record {
        if let Record::AttemptFailed { status, .. } = &mut record {
            *status = Some("half way".to_owned());
        }
        record
    }

    /// The same end, with its times.
    fn spanned(mut record: Record) -> Record {
        if let Record::TaskSucceeded { span, .. } | Record::AttemptFailed { span, .. } = &mut record
        {
            *span = Span { began_at: UnixMillis(11), ended_at: UnixMillis(12) };
        }
        record
    }

    /// The same success, with the time that it took.
    fn timed(mut record: Record) -> Record {
        if let Record::TaskSucceeded { ran_ms, .. } = &mut record {
            *ran_ms = Some(1500);
        }
        record
    }

    /// The same record, with the fields about maps that newer journals have.
    fn placed(mut record: Record, near: Locality) -> Record {
        match &mut record {
            Record::TaskSucceeded { place, .. } => *place = Some(near),
            Record::AttemptFailed { place, split, .. } => {
                (*place, *split) = (Some(near), Some(planned().split));
            }
            other => panic!("{other:?} has no place"),
        }
        record
    }

    fn ended(job: JobId, state: JobState, failure: Option<&str>) -> Record {
        Record::JobEnded {
            job,
            state,
            failure: failure.map(str::to_owned),
            at: UnixMillis(20),
            maps: TaskCounts { total: 1, succeeded: 1, ..TaskCounts::default() },
            reduces: TaskCounts::default(),
        }
    }

    /// Records of every kind, as one JobTracker could write them.
    fn one_of_each() -> Vec<Record> {
        let joined = |host: &str| Record::TrackerJoined { host: host.parse().unwrap() };
        let gone = Record::TrackerGone { host: "host-1".parse().unwrap() };
        let trackers = vec![joined("host-1"), joined("host-2"), gone];
        let pools = vec![
            Record::PoolPaused { pool: "etl".to_owned() },
            Record::PoolPaused { pool: "web".to_owned() },
            Record::PoolResumed { pool: "web".to_owned() },
        ];
        let jobs = of_jobs_and_drains();
        let owned = vec![accepted_of_a_user()];
        [jobs, trackers, pools, owned, of_named_outputs(), of_skips()].concat()
    }

    fn of_skips() -> Vec<Record> {
        let job = JobId { date: 20_261_122, ordinal: 8 };
        let map = job.task(TaskKind::Map, 0);
        let list = SplitList::Inline([planned()].into());
        vec![
            accepted_that_skips(job),
            Record::SplitsPlanned { job, n_maps: 1, input_bytes: 7, list },
            at_record(failed(map.attempt(0), FailureKind::UserCode)),
            at_record(failed(map.attempt(1), FailureKind::UserCode)),
        ]
    }

    fn of_named_outputs() -> Vec<Record> {
        let map = JobId { date: 20_261_122, ordinal: 6 }.task(TaskKind::Map, 0);
        vec![
            with_named(with_staged(succeeded(map.attempt(2), "d7"))),
            Record::MapOutputLost { attempt: map.attempt(2) },
            with_status(failed(map.attempt(3), FailureKind::OutOfSpace)),
        ]
    }

    fn killed_for(attempt: AttemptId, why: Option<&str>) -> Record {
        let span = Span { began_at: UnixMillis(11), ended_at: UnixMillis(12) };
        let killed =
            |message: &str| Failure { kind: FailureKind::Killed, message: message.to_owned() };
        let why = why.map(killed);
        let killed = KilledAttempt { span, why, ..killed_attempt(attempt, None) };
        Record::AttemptKilled { killed, place: None }
    }

    fn of_jobs_and_drains() -> Vec<Record> {
        let job = |ordinal| JobId { date: 20_261_122, ordinal };
        let map = job(1).task(TaskKind::Map, 0);
        let reduce = job(1).task(TaskKind::Reduce, 0);
        let last = job(4).task(TaskKind::Map, 0);
        let crashed = FailureKind::Crashed { exit_code: Some(1), signal: None };
        let planned = |job, list| Record::SplitsPlanned { job, n_maps: 1, input_bytes: 7, list };
        let staged =
            StagedSplits { path: "/.howdah/staging/x".to_owned(), digest: "0b".to_owned() };
        vec![
            Record::Initialised { cluster: "cluster-1".parse().unwrap(), former_journals: 0 },
            Record::Initialised { cluster: "cluster-1".parse().unwrap(), former_journals: 2 },
            Record::Started { epoch: Epoch(1) },
            accepted(job(1)),
            planned(job(1), SplitList::Inline([self::planned()].into())),
            failed(map.attempt(0), crashed),
            succeeded(map.attempt(1), "d1"),
            failed(reduce.attempt(0), FailureKind::OutOfSpace),
            succeeded(reduce.attempt(1), "d2"),
            Record::MapOutputLost { attempt: map.attempt(1) },
            succeeded(map.attempt(2), "d3"),
            Record::ReducesUndone { map: map.attempt(2), reduces_from: 0 },
            Record::ReducesUndone { map: map.attempt(2), reduces_from: 2 },
            Record::MapOutputLost { attempt: map.attempt(2) },
            timed(succeeded(map.attempt(3), "d3")),
            ended(job(1), JobState::Succeeded, None),
            Record::JobForgotten { job: job(1) },
            accepted(job(2)),
            planned(job(2), SplitList::Staged(staged)),
            ended(job(2), JobState::Killed, Some("by a client")),
            Record::StagingRemoved { job: job(2) },
            accepted(job(3)),
            planned(job(3), SplitList::Inline([self::planned()].into())),
            ended(job(3), JobState::Killed, None),
            accepted(job(4)),
            Record::PriorityChanged { job: job(4), priority: Priority::High },
            planned(job(4), SplitList::Inline([self::planned()].into())),
            Record::AttemptKilled {
                killed: killed_attempt(last.attempt(0), Some(self::planned().split)),
                place: Some(Locality::OffRack),
            },
            Record::AttemptKilled { killed: killed_attempt(last.attempt(1), None), place: None },
            placed(failed(last.attempt(2), FailureKind::UserCode), Locality::RackLocal),
            placed(succeeded(last.attempt(0), "d4"), Locality::NodeLocal),
            ended(job(4), JobState::Succeeded, None),
            accepted(job(5)),
            planned(job(5), SplitList::Inline([self::planned_elsewhere()].into())),
            with_staged(succeeded(job(5).task(TaskKind::Reduce, 0).attempt(0), "d5")),
            Record::HostDrained { host: "host-1".parse().unwrap() },
            Record::HostDrained { host: "host-2".parse().unwrap() },
            Record::HostUndrained { host: "host-1".parse().unwrap() },
            Record::JobPaused { job: job(5) },
            Record::JobResumed { job: job(5) },
            spanned(succeeded(job(5).task(TaskKind::Map, 0).attempt(0), "d6")),
            accepted(job(6)),
            planned(job(6), SplitList::Inline([self::planned()].into())),
            spanned(failed(job(6).task(TaskKind::Map, 0).attempt(0), FailureKind::FailedOnRequest)),
            killed_for(job(6).task(TaskKind::Map, 0).attempt(1), None),
            Record::HistoryWritten { job: job(4) },
            killed_for(job(6).task(TaskKind::Map, 0).attempt(2), Some("a backup won")),
        ]
    }

    /// What journals hold, which must remain readable for ever. A record whose bytes change needs a
    /// serde default for the addition, and both forms in here.
    const GOLDEN: &str = include_str!("golden_records.txt");

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn records_have_the_bytes_that_journals_hold() {
        let encoded: Vec<_> =
            one_of_each().iter().map(|record| hexadecimal(&encode_record(record))).collect();
        let golden: Vec<_> = GOLDEN.lines().collect();
        assert_eq!(encoded, golden, "a journal of the release before would not be read");
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        for record in one_of_each() {
            assert_eq!(decode_record::<Record>(&encode_record(&record)).unwrap(), record);
        }
    }

    #[test]
    fn a_field_that_a_record_has_no_more_is_passed_over() {
        let ended = ended(JobId { date: 20_261_122, ordinal: 3 }, JobState::Killed, None);
        let mut bytes = encode_record(&ended);
        // The number of fields follows the name.
        let n_fields = 2 + "job_ended".len();
        assert_eq!(bytes[n_fields], 0x86);
        bytes[n_fields] += 1;
        bytes.extend(encode_record(&"killed"));
        bytes.extend(encode_record(&[killed_attempt(
            "attempt_20261122_0003_m_000000_0".parse().unwrap(),
            None,
        )]));
        assert_eq!(decode_record::<Record>(&bytes).unwrap(), ended);
    }

    #[test]
    fn a_snapshot_at_any_point_and_the_records_after_it_give_the_same_state() {
        let records: Vec<_> = one_of_each().iter().map(encode_record).collect();
        let mut whole = JobFold::default();
        for record in &records {
            whole.apply(record).unwrap();
        }
        for cut in 0..=records.len() {
            let mut first = JobFold::default();
            records[..cut].iter().for_each(|record| first.apply(record).unwrap());
            let mut second = JobFold::restore(Some(&first.snapshot())).unwrap();
            assert_eq!(second, first);
            records[cut..].iter().for_each(|record| second.apply(record).unwrap());
            assert_eq!(second, whole, "cut at {cut}");
        }
    }
}
