//! How much of what a task says is passed on: it is the author's text, of any length, and the JobTracker
//! must be able to take in and keep all of it, from every host.

use std::collections::BTreeMap;

use mapreduce_protocol::{
    DIGEST_BYTES_MAX, FailedRecord, FromTask, NAMED_OUTPUTS_MAX, TrackerEvent, status_line,
};

/// Length limit of a message for people, bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// Length limit of a counter's name with its group, bytes.
pub(crate) const COUNTER_NAME_BYTES_MAX: usize = 256;

/// Counters of one attempt; the runtime's own come within a task's limit of 1000 and some.
pub(crate) const COUNTERS_MAX: usize = 1024;

/// Stands at the end of a message that was cut.
const CUT_MARK: &str = " … (cut)";

/// Bytes of a named output's name, at most.
const NAME_BYTES_MAX: usize = 64;

/// Bytes of an event in JSON apart from its texts.
const EVENT_BYTES: usize = 512;

/// Bytes of a counter in JSON apart from its name.
const COUNTER_BYTES: usize = 32;

/// Bytes that one byte of a text takes in JSON at most (`\u0000`).
const ESCAPED_BYTES: usize = 6;

/// What the task says, within the limits.
pub(crate) fn bounded(mut message: FromTask) -> FromTask {
    match &mut message {
        FromTask::Progress { .. } => {}
        FromTask::Status { status } => *status = status_line(status),
        FromTask::FetchFailed { message, .. } => cut_message(message),
        FromTask::Failed { failure } => cut_message(&mut failure.message),
        FromTask::Succeeded { result } => {
            cut(&mut result.digest, DIGEST_BYTES_MAX);
            limit_counters(&mut result.counters);
            // One more: what was left out.
            result.named.truncate(NAMED_OUTPUTS_MAX + 1);
            result.named.iter_mut().for_each(|output| cut(&mut output.name, NAME_BYTES_MAX));
        }
    }
    message
}

/// Leaves the beginning of a text for people.
pub(crate) fn cut_message(message: &mut String) {
    if message.len() > MESSAGE_BYTES_MAX {
        cut(message, MESSAGE_BYTES_MAX - CUT_MARK.len());
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
            TrackerEvent::Succeeded { result, .. } => {
                let name = |name: &String| name.len() * ESCAPED_BYTES + COUNTER_BYTES;
                let named = result.named.iter().map(|output| output.name.len() * ESCAPED_BYTES);
                result.digest.len() * ESCAPED_BYTES
                    + named.map(|bytes| bytes + COUNTER_BYTES).sum::<usize>()
                    + result.counters.keys().map(name).sum::<usize>()
            }
            TrackerEvent::Failed { failure, status, record, .. } => {
                let status = status.as_ref().map_or(0, String::len);
                let path =
                    |record: &FailedRecord| record.place.as_ref().map_or(0, |it| it.path.len());
                let record = record.as_ref().map_or(0, |record| record.start.len() + path(record));
                (failure.message.len() + status + record) * ESCAPED_BYTES
            }
            TrackerEvent::FetchFailed { message, .. } => message.len() * ESCAPED_BYTES,
            TrackerEvent::MapOutputLost { .. } => 0,
        }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{AttemptResult, Failure, FailureKind};

    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        for text in ["é".repeat(MESSAGE_BYTES_MAX), "x".repeat(16 << 20)] {
            let failure = Failure { kind: FailureKind::UserCode, message: text.clone() };
            let FromTask::Failed { failure } = bounded(FromTask::Failed { failure }) else {
                panic!("another message")
            };
            assert!(failure.message.len() <= MESSAGE_BYTES_MAX);
            assert!(failure.message.len() > MESSAGE_BYTES_MAX - 4);
            let kept = failure.message.strip_suffix(CUT_MARK).unwrap();
            assert!(text.starts_with(kept));
        }
        let mut short = "x".repeat(MESSAGE_BYTES_MAX);
        cut_message(&mut short);
        assert_eq!(short, "x".repeat(MESSAGE_BYTES_MAX));
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
}
