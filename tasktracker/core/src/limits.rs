//! How much of what a task says is passed on: it is the author's text, of any length, and the JobTracker
//! must be able to take in and keep all of it, from every host.

use std::collections::BTreeMap;

use mapreduce_protocol::{
    AttemptResult, COUNTER_NAME_BYTES_MAX, COUNTERS_MAX, DIGEST_BYTES_MAX, FAILURE_BYTES_MAX,
    FailedRecord, Failure, FailureKind, FromTask, HEAVY_PARTITIONS_MAX, NAMED_OUTPUTS_MAX,
    NamedOutput, OUTPUT_NAME_BYTES_MAX, RESULT_BYTES_MAX, STAGED_NAME_BYTES_MAX, STAGED_PARTS_MAX,
    StagedOutput, TrackerEvent, status_line,
};

/// Stands at the end of a message that was cut.
const CUT_MARK: &str = " … (cut)";

/// Bytes of an event in JSON apart from its texts.
const EVENT_BYTES: usize = 512;

/// Bytes of a counter in JSON apart from its name.
const COUNTER_BYTES: usize = 32;

/// Bytes of an output that is told of, in JSON, apart from its texts.
const OUTPUT_BYTES: usize = 96;

/// Bytes of a partition and its size in JSON.
const PARTITION_BYTES: usize = 40;

/// What the task says, within the limits. Nothing can be left out of what it has staged, or the job's output would lack it:
/// a success that tells of more than there is room for is a failure.
pub(crate) fn bounded(mut message: FromTask) -> FromTask {
    match &mut message {
        FromTask::Progress { .. } => {}
        FromTask::Status { status } => *status = status_line(status),
        FromTask::FetchFailed { message, .. } => cut_message(message),
        FromTask::Failed { failure } => cut_message(&mut failure.message),
        FromTask::Succeeded { result } => {
            cut(&mut result.digest, DIGEST_BYTES_MAX);
            limit_counters(&mut result.counters);
            if let Some(sizes) = &mut result.sizes {
                sizes.heavy.truncate(HEAVY_PARTITIONS_MAX);
            }
            if let Some(why) = why_too_much(result) {
                let message = format!("it says that it has succeeded, but {why}");
                // It would be so each time.
                return FromTask::Failed {
                    failure: Failure { kind: FailureKind::BadJob, message },
                };
            }
        }
    }
    message
}

/// Why a success can't be told of, and what to do, if that is so.
fn why_too_much(result: &AttemptResult) -> Option<String> {
    // One more: what was left out.
    let (n_named, n_named_max) = (result.named.len(), NAMED_OUTPUTS_MAX + 1);
    if n_named > n_named_max {
        return Some(format!("it names {n_named} outputs: at most {n_named_max} are taken"));
    }
    let length = |output: &NamedOutput| output.name.len();
    if let Some(long) = result.named.iter().map(length).find(|it| *it > OUTPUT_NAME_BYTES_MAX) {
        return Some(format!(
            "it names an output by {long} bytes: at most {OUTPUT_NAME_BYTES_MAX} are taken"
        ));
    }
    let named = result.named.iter().filter_map(|output| output.staged.as_ref());
    if let Some(why) = result.staged.iter().chain(named).find_map(why_no_part) {
        return Some(why);
    }
    let bytes = result_bytes(result);
    (bytes > RESULT_BYTES_MAX).then(|| {
        format!(
            "the names of its counters and outputs, and of all parts that it has staged, take {bytes} bytes: at most \
             {RESULT_BYTES_MAX} are taken; let it write fewer named outputs, or more tasks write less each (smaller \
             splits, more 'reduces')"
        )
    })
}

/// Why a staged output is none of the store's client, if that is so.
fn why_no_part(staged: &StagedOutput) -> Option<String> {
    let n = staged.parts.len();
    if n > STAGED_PARTS_MAX {
        return Some(format!(
            "it has staged an output of {n} parts: at most {STAGED_PARTS_MAX} are taken"
        ));
    }
    let mut lengths = staged.parts.iter().chain(&staged.upload).map(String::len);
    let long = lengths.find(|length| *length > STAGED_NAME_BYTES_MAX)?;
    Some(format!(
        "it has staged a part with a name of {long} bytes: at most {STAGED_NAME_BYTES_MAX} are taken"
    ))
}

/// Leaves the beginning of a text for people.
pub(crate) fn cut_message(message: &mut String) {
    if message.len() > FAILURE_BYTES_MAX {
        cut(message, FAILURE_BYTES_MAX - CUT_MARK.len());
        message.push_str(CUT_MARK);
    }
}

/// Leaves the beginning of a text.
pub(crate) fn cut(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

/// Counters whose names are equal after the cut become one.
fn limit_counters(counters: &mut BTreeMap<String, u64>) {
    let fits = |name: &String| name.len() <= COUNTER_NAME_BYTES_MAX;
    if counters.len() <= COUNTERS_MAX && counters.keys().all(fits) {
        return;
    }
    let mut limited = BTreeMap::new();
    for (mut name, sum) in std::mem::take(counters) {
        cut(&mut name, COUNTER_NAME_BYTES_MAX);
        if limited.len() < COUNTERS_MAX || limited.contains_key(&name) {
            let total: &mut u64 = limited.entry(name).or_default();
            *total = total.saturating_add(sum);
        }
    }
    *counters = limited;
}

/// Bytes that an event takes in JSON at most.
pub(crate) fn event_bytes(event: &TrackerEvent) -> usize {
    EVENT_BYTES
        + match event {
            TrackerEvent::Succeeded { result, .. } => result_bytes(result),
            TrackerEvent::Failed { failure, status, record, .. } => {
                let path = |record: &FailedRecord| {
                    record.place.as_ref().map_or(0, |it| text_bytes(&it.path))
                };
                let of_record = |record: &FailedRecord| text_bytes(&record.start) + path(record);
                text_bytes(&failure.message)
                    + status.as_deref().map_or(0, text_bytes)
                    + record.as_ref().map_or(0, of_record)
            }
            TrackerEvent::FetchFailed { message, .. } => text_bytes(message),
            TrackerEvent::MapOutputLost { .. } => 0,
        }
}

fn result_bytes(result: &AttemptResult) -> usize {
    let counter = |name: &String| text_bytes(name) + COUNTER_BYTES;
    let of_staged = |staged: &Option<StagedOutput>| staged.as_ref().map_or(0, staged_bytes);
    let named =
        |output: &NamedOutput| OUTPUT_BYTES + text_bytes(&output.name) + of_staged(&output.staged);
    let sizes = result.sizes.as_ref();
    text_bytes(&result.digest)
        + result.counters.keys().map(counter).sum::<usize>()
        + of_staged(&result.staged)
        + sizes.map_or(0, |it| PARTITION_BYTES * (it.heavy.len() + 1))
        + result.named.iter().map(named).sum::<usize>()
}

fn staged_bytes(staged: &StagedOutput) -> usize {
    let texts = staged.parts.iter().chain(&staged.upload);
    OUTPUT_BYTES + texts.map(|text| text_bytes(text) + 1).sum::<usize>()
}

/// Bytes of a text in JSON.
fn text_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        // `\u0000`
        0..32 => 6,
        _ => 1,
    };
    2 + text.bytes().map(escaped).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{AttemptId, OutputSizes, RecordPlace};

    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        for text in ["é".repeat(FAILURE_BYTES_MAX), "x".repeat(16 << 20)] {
            let failure = Failure { kind: FailureKind::UserCode, message: text.clone() };
            let FromTask::Failed { failure } = bounded(FromTask::Failed { failure }) else {
                panic!("another message")
            };
            assert!(failure.message.len() <= FAILURE_BYTES_MAX);
            assert!(failure.message.len() > FAILURE_BYTES_MAX - 4);
            let kept = failure.message.strip_suffix(CUT_MARK).unwrap();
            assert!(text.starts_with(kept));
        }
        let mut short = "x".repeat(FAILURE_BYTES_MAX);
        cut_message(&mut short);
        assert_eq!(short, "x".repeat(FAILURE_BYTES_MAX));
    }

    #[test]
    fn counters_are_limited_in_number_and_in_the_length_of_names() {
        let limited = |counters: BTreeMap<String, u64>| {
            let result =
                AttemptResult { digest: "d".to_owned(), counters, ..AttemptResult::default() };
            match bounded(FromTask::Succeeded { result }) {
                FromTask::Succeeded { result } => result.counters,
                other => panic!("{other:?}"),
            }
        };
        let few: BTreeMap<_, _> = (0..COUNTERS_MAX).map(|n| (format!("g.{n:06}"), 1)).collect();
        assert_eq!(limited(few.clone()), few);
        let many = (0..5000).map(|n| (format!("g.{n:06}"), 1)).collect();
        assert_eq!(limited(many), few);
        let long = "n".repeat(1 << 20);
        let names = [format!("{long}a"), format!("{long}b"), "short".to_owned()];
        let sums = limited(names.into_iter().zip([3, u64::MAX, 5]).collect());
        let expected = [("n".repeat(COUNTER_NAME_BYTES_MAX), u64::MAX), ("short".to_owned(), 5)];
        assert_eq!(sums, expected.into());
    }

    fn staged(n_parts: usize, name: &str) -> Option<StagedOutput> {
        let parts = vec![name.to_owned(); n_parts];
        Some(StagedOutput { upload: Some(name.to_owned()), parts, bytes: u64::MAX })
    }

    fn named(n: usize, staged: &Option<StagedOutput>) -> Vec<NamedOutput> {
        let output = |n| NamedOutput { name: format!("{n:064}"), staged: staged.clone() };
        (0..n).map(output).collect()
    }

    #[test]
    fn a_success_that_tells_of_too_much_is_a_failure_that_says_why() {
        let usual = "e".repeat(34);
        let (most, longest) = (staged(1024, &usual), "e".repeat(400));
        let long_name = vec![NamedOutput { name: "n".repeat(65), staged: None }];
        let with = |staged, named| AttemptResult { staged, named, ..AttemptResult::default() };
        for (result, refused) in [
            (with(None, Vec::new()), None),
            (with(most.clone(), named(16, &most)), None),
            (with(staged(1024, &longest), named(32, &None)), None),
            (with(None, named(33, &staged(1, &longest))), None),
            (with(None, named(34, &None)), Some("names 34 outputs: at most 33")),
            (with(None, long_name), Some("an output by 65 bytes: at most 64")),
            (with(staged(1025, &usual), Vec::new()), Some("1025 parts: at most 1024")),
            (with(None, named(1, &staged(1025, &usual))), Some("1025 parts: at most 1024")),
            (with(staged(1, &"e".repeat(401)), Vec::new()), Some("401 bytes: at most 400")),
            (with(None, named(1, &staged(1, &"e".repeat(401)))), Some("401 bytes: at most 400")),
            (with(most.clone(), named(32, &most)), Some("at most 786432")),
            (with(None, named(33, &staged(1024, &longest))), Some("fewer named outputs")),
            (with(staged(1024, &"\0".repeat(400)), Vec::new()), Some("at most 786432")),
        ] {
            match (bounded(FromTask::Succeeded { result }), refused) {
                (FromTask::Succeeded { result }, None) => {
                    assert!(result_bytes(&result) <= RESULT_BYTES_MAX);
                }
                (FromTask::Failed { failure }, Some(words)) => {
                    assert!(failure.message.contains(words), "{}", failure.message);
                    assert_eq!(failure.kind, FailureKind::BadJob);
                }
                (other, refused) => panic!("{refused:?}: {other:?}"),
            }
        }
        let sizes = Some(OutputSizes { bytes: 9, heavy: vec![(1, 1); 1_000_000] });
        let result = AttemptResult { sizes, ..AttemptResult::default() };
        let FromTask::Succeeded { result } = bounded(FromTask::Succeeded { result }) else {
            panic!("what only helps to place reduces fails nothing")
        };
        assert_eq!(result.sizes.unwrap().heavy.len(), HEAVY_PARTITIONS_MAX);
    }

    #[test]
    fn an_event_takes_no_more_than_was_counted() {
        let attempt: AttemptId = "attempt_20261122_4000000000_m_4000000000_9".parse().unwrap();
        let nasty: String = ('\0'..'\u{a0}').chain("\"\\é\u{2028}".chars()).collect();
        let text = || nasty.clone();
        let result = AttemptResult {
            digest: text(),
            counters: (0..9).map(|n| (format!("{nasty}{n}"), u64::MAX)).collect(),
            staged: staged(9, &nasty),
            sizes: Some(OutputSizes { bytes: u64::MAX, heavy: vec![(u32::MAX, u64::MAX); 16] }),
            named: vec![NamedOutput { name: text(), staged: staged(9, &nasty) }; 33],
        };
        let failure = Failure { kind: FailureKind::HostUnfit, message: text() };
        let place = Some(RecordPlace { path: text(), offset: u64::MAX });
        let record = Some(FailedRecord { ordinal: u64::MAX, place, start: text() });
        for event in [
            TrackerEvent::Succeeded { attempt, result },
            TrackerEvent::Failed { attempt, failure, status: Some(text()), record },
            TrackerEvent::FetchFailed { reduce: attempt, map: attempt, message: text() },
            TrackerEvent::MapOutputLost { attempt },
        ] {
            let (counted, bytes) = (event_bytes(&event), serde_json::to_vec(&event).unwrap().len());
            assert!((bytes..2 * bytes + EVENT_BYTES).contains(&counted), "{counted}, not {bytes}");
        }
    }
}
