//! What commands write to standard error: lines for the runtime (`reporter:counter:…`, `reporter:status:…`), and all
//! else, which goes to the attempt's log.

use crate::api::{Counters, OWN_GROUP, StatusSink};

const PREFIX: &str = "reporter:";

/// A line for the runtime is that long at most; a longer one is text.
const LINE_BYTES_MAX: usize = 4096;

/// Bytes of a counter's group and name, at most (Hadoop: 128 and 64 characters).
const NAME_BYTES_MAX: usize = 256;

/// Bytes of the end of what was written that are kept for the words about a failure.
const TAIL_BYTES: usize = 2048;

/// Takes standard error apart.
pub(super) struct Reporter {
    prefix: Vec<u8>,
    /// The line under way, as long as it may be one for the runtime.
    line: Vec<u8>,
    /// The line under way is text.
    in_text: bool,
    /// What is to go to the log.
    text: Vec<u8>,
    tail: Vec<u8>,
    status: StatusSink,
}

impl Reporter {
    /// For lines that begin with `prefix`; Hadoop's if absent. `status` is told what they say of the attempt.
    pub(super) fn new(prefix: Option<&str>, status: StatusSink) -> Self {
        Self {
            prefix: prefix.unwrap_or(PREFIX).as_bytes().to_vec(),
            line: Vec::new(),
            in_text: false,
            text: Vec::new(),
            tail: Vec::new(),
            status,
        }
    }

    /// Takes what comes next, cut anywhere; what is for the log.
    pub(super) fn take(&mut self, bytes: &[u8], counters: &mut Counters) -> &[u8] {
        self.text.clear();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.in_text {
                self.text.extend_from_slice(piece);
            } else {
                self.line.extend_from_slice(piece);
                self.look(counters);
            }
            if piece.ends_with(b"\n") {
                self.in_text = false;
            }
        }
        self.keep_tail();
        &self.text
    }

    /// There is no more; what is for the log.
    pub(super) fn end(&mut self, counters: &mut Counters) -> &[u8] {
        self.text.clear();
        if !self.line.is_empty() {
            self.line.push(b'\n');
            self.look(counters);
            if self.in_text || !self.line.is_empty() {
                self.text.append(&mut self.line);
            }
        }
        self.keep_tail();
        &self.text
    }

    /// The end of what went to the log, readable by people.
    pub(super) fn tail(&self) -> String {
        let tail = &self.tail[self.tail.len().saturating_sub(TAIL_BYTES)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    /// Decides about the line under way, if it can be decided yet.
    fn look(&mut self, counters: &mut Counters) {
        let Self { prefix, line, text, status, .. } = self;
        let is_whole = line.ends_with(b"\n");
        if line.starts_with(prefix) && line.len() <= LINE_BYTES_MAX {
            if is_whole {
                let report = String::from_utf8_lossy(&line[prefix.len()..]);
                if let Some(remark) = obey(report.trim(), counters, status) {
                    text.extend_from_slice(remark.as_bytes());
                    text.push(b'\n');
                }
                line.clear();
            }
            return;
        }
        let may_be = !is_whole && prefix.starts_with(line);
        if !may_be {
            text.append(line);
            self.in_text = !is_whole;
        }
    }

    fn keep_tail(&mut self) {
        let new = &self.text[self.text.len().saturating_sub(TAIL_BYTES)..];
        self.tail.extend_from_slice(new);
        if self.tail.len() > 4 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
        }
    }
}

/// Counts lines for the runtime that could not be heeded: the log alone, of one attempt among many, nobody reads.
const REFUSED: &str = "REPORTER_LINES_REFUSED";

/// Does what a line asks for; what the log is to say of it.
fn obey(report: &str, counters: &mut Counters, sink: &StatusSink) -> Option<String> {
    if let Some(counter) = report.strip_prefix("counter:") {
        let refused = count(counter, counters).err()?;
        counters.add_own(REFUSED, 1);
        return Some(format!("not counted, {refused}: {counter}"));
    }
    match report.strip_prefix("status:") {
        Some(status) => {
            sink.say(status.trim());
            Some(format!("status: {}", status.trim()))
        }
        None => {
            counters.add_own(REFUSED, 1);
            Some(format!("neither counter: nor status: {report}"))
        }
    }
}

/// Adds to the counter of a `group,name,amount`.
fn count(counter: &str, counters: &mut Counters) -> Result<(), &'static str> {
    let mut parts = counter.split(',').map(str::trim);
    let (Some(group), Some(name), Some(amount), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("it is not group,name,amount");
    };
    if [group, name].iter().any(|it| it.is_empty() || it.len() > NAME_BYTES_MAX) {
        return Err("group and name have 1 to 256 bytes");
    }
    if group == OWN_GROUP {
        return Err("this group is the runtime's own");
    }
    match amount.parse::<i64>() {
        Ok(amount) if amount >= 0 => {
            counters.add(group, name, amount.unsigned_abs());
            Ok(())
        }
        Ok(_) => Err("a counter can't go down"),
        Err(_) => Err("the amount is no whole number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &[u8], block: usize) -> (String, Counters) {
        let (mut reporter, mut counters) =
            (Reporter::new(None, StatusSink::default()), Counters::default());
        let mut log = Vec::new();
        for piece in text.chunks(block) {
            log.extend_from_slice(reporter.take(piece, &mut counters));
        }
        log.extend_from_slice(reporter.end(&mut counters));
        assert!(reporter.tail().chars().count() <= TAIL_BYTES);
        (String::from_utf8_lossy(&log).into_owned(), counters)
    }

    #[test]
    fn counters_are_counted_and_all_else_goes_to_the_log() {
        let text = b"hello\nreporter:counter:g,a,2\nreporter:counter: g , a , 3 \nrep\n\
                     reporter:status: half way \n\nreporter:counter:g,b c,0\nreporter:counter:x,y,7";
        for block in 1..=text.len() {
            let (log, counters) = report(text, block);
            assert_eq!(log, "hello\nrep\nstatus: half way\n\n", "blocks of {block}");
            let sums = counters.into_sums();
            let sums: Vec<_> = sums.iter().map(|(name, sum)| (name.as_str(), *sum)).collect();
            assert_eq!(sums, [("g.a", 5), ("g.b c", 0), ("x.y", 7)]);
        }
    }

    #[test]
    fn what_can_not_be_counted_is_said_in_the_log() {
        for (line, expected) in [
            ("counter:g,a", "not group,name,amount"),
            ("counter:g,a,1,2", "not group,name,amount"),
            ("counter:g,,1", "1 to 256 bytes"),
            ("counter:g,a,x", "no whole number"),
            ("counter:g,a,-1", "can't go down"),
            ("counter:g,a,99999999999999999999", "no whole number"),
            ("counter:task,MAP_INPUT_RECORDS,1", "runtime's own"),
            ("pause", "neither counter: nor status: pause"),
        ] {
            let (log, counters) = report(format!("reporter:{line}\n").as_bytes(), 7);
            assert!(log.contains(expected) && log.ends_with('\n'), "{line}: {log}");
            let sums: Vec<_> = counters.into_sums().into_iter().collect();
            assert_eq!(sums, [(format!("{OWN_GROUP}.{REFUSED}"), 1)], "{line}");
        }
    }

    #[test]
    fn each_status_is_told_and_the_last_one_stays() {
        let said: std::sync::Arc<std::sync::Mutex<Vec<String>>> = std::sync::Arc::default();
        let heard = std::sync::Arc::clone(&said);
        let sink = StatusSink::new(move |text| heard.lock().unwrap().push(text.to_owned()));
        let (mut reporter, mut counters) = (Reporter::new(None, sink), Counters::default());
        reporter.take(b"reporter:status:one\nreporter:sta", &mut counters);
        reporter.take(b"tus: two \nno status:\n", &mut counters);
        reporter.take(b"reporter:status:three", &mut counters);
        reporter.end(&mut counters);
        assert_eq!(*said.lock().unwrap(), ["one", "two", "three"]);
    }

    #[test]
    fn lines_without_end_and_garbage_are_bounded_text() {
        let garbage = vec![0xff; 3 * LINE_BYTES_MAX];
        let (log, _) = report(&garbage, 100);
        assert_eq!(log.chars().count(), garbage.len());
        let long = [b"reporter:counter:g,a,".to_vec(), vec![b'1'; 2 * LINE_BYTES_MAX]].concat();
        let (log, counters) = report(&long, 1000);
        assert_eq!(log.trim_end().len(), long.len());
        assert!(counters.into_sums().is_empty());
        let mut reporter = Reporter::new(Some("R|"), StatusSink::default());
        let mut counters = Counters::default();
        reporter.take(b"R|counter:g,a,1\nreporter:counter:g,b,1\n", &mut counters);
        assert_eq!(reporter.tail(), "reporter:counter:g,b,1");
        assert_eq!(counters.into_sums().len(), 1);
    }
}
