//! The sequential oracle of streaming jobs: files are read whole, commands run one after the other on files instead of
//! pipes, and lists are sorted. It shares with the task runtime where a command runs and what it finds there, and none
//! of the ways of records.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use mapreduce_protocol::streaming::{Command, CommandRole, LineEnds};
use mapreduce_protocol::{
    Failure, FailureKind, InputFormat, OutputFormat, OutputForms, SplitPiece, Streaming, TaskId,
    TaskKind, is_output_name,
};

use super::environment::Environment;
use super::plain_order::PlainOrder;
use super::reporter::Reporter;
use super::workplace::{self, Workplace};
use crate::api::Counters;
use crate::api::{StatusSink, TaskContext};
use crate::local::LOCAL_JOB;
use crate::oracle_input::{MARK, OracleInput};
use crate::oracle_output::{self, OracleOutput, Piece, Writer};
use crate::task::progress::Progress;

/// One run.
pub(super) struct Plain<'a> {
    pub(super) about: &'a Streaming,
    pub(super) forms: &'a OutputForms,
    pub(super) files: &'a [PathBuf],
    /// Where it may work.
    pub(super) folder: &'a Path,
    pub(super) n_reduces: u32,
    /// What was written beside the main output so far.
    pub(super) named: RefCell<Vec<(Writer, Vec<u8>)>>,
}

/// A key, and what stands behind its separator, if there is one.
type Pair = (Vec<u8>, Option<Vec<u8>>);

impl Plain<'_> {
    /// All that it writes.
    pub(super) fn run(
        self,
        input: &[OracleInput],
        counters: &mut Counters,
    ) -> Result<OracleOutput, Failure> {
        let parts = self.parts(input, counters)?;
        Ok(OracleOutput { parts, named: self.named.into_inner() })
    }

    /// The text of each part. A mapper runs once for each file.
    fn parts(
        &self,
        input: &[OracleInput],
        counters: &mut Counters,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let about = self.about;
        let mut lines = Vec::new();
        for (index, file) in (0..).zip(input) {
            let (records, text) = self.read(file)?;
            counters.add_own("MAP_INPUT_RECORDS", records);
            let length = file.data.len() as u64;
            let path = file.path.as_str();
            let piece = SplitPiece {
                path: path.into(),
                offset: 0,
                length,
                file_length: length,
                e_tag: None,
            };
            let n_maps = u32::try_from(input.len()).unwrap_or(u32::MAX);
            let task = (TaskKind::Map, index, n_maps);
            let written = self.pass(CommandRole::Mapper, task, Some(&piece), text, counters);
            let written = written.map_err(|failure| Failure {
                message: format!("the map of {path}: {}", failure.message),
                ..failure
            })?;
            lines.extend(self.lines_of(&written));
        }
        let tab = || "\t".to_owned();
        let separator = about.map_output_separator.clone().unwrap_or_else(tab);
        let fields = about.map_output_key_fields.unwrap_or(1);
        if self.n_reduces == 0 {
            return Ok(vec![self.text(&lines, &separator, fields)?]);
        }
        let order = PlainOrder::of(about);
        let mut partitions = vec![Vec::new(); self.n_reduces as usize];
        for line in lines {
            let (key, value) = split(&line, &separator, fields);
            let partition = order.hash(&key) % u64::from(self.n_reduces);
            partitions[partition as usize].push((key, value));
        }
        (0..).zip(partitions).map(|(n, pairs)| self.reduce(n, pairs, counters)).collect()
    }

    /// How many records a file has, and what its mapper reads.
    fn read(&self, file: &OracleInput) -> Result<(u64, Vec<u8>), Failure> {
        if matches!(file.format, InputFormat::Text | InputFormat::Lines { .. }) {
            let lines = self.lines_of(self.unmarked(&file.data));
            return Ok((lines.len() as u64, joined(lines)));
        }
        let records = file.records()?;
        let is_raw =
            matches!(file.format, InputFormat::WholeFile | InputFormat::FixedLength { .. });
        let bare = |bytes: &[u8]| match (bytes, self.about.line_ends) {
            ([rest @ .., b'\r'], LineEnds::Crlf | LineEnds::Any) => rest.to_vec(),
            (bytes, _) => bytes.to_vec(),
        };
        let keyed = records.iter().map(|(at, key, value)| match key {
            Some(key) if *at == 0 => (Some(self.unmarked(key)), value),
            key => (*key, value),
        });
        let text = keyed.map(|(key, value)| match key {
            _ if is_raw => value.to_vec(),
            Some(key) if value.is_empty() => [&bare(key)[..], b"\t\n"].concat(),
            Some(key) => [key, b"\t", &bare(value), b"\n"].concat(),
            None => [&bare(value)[..], b"\n"].concat(),
        });
        let text: Vec<Vec<u8>> = text.collect();
        Ok((records.len() as u64, text.concat()))
    }

    /// The beginning of a file without the mark that may stand there.
    fn unmarked<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        match text.strip_prefix(MARK) {
            Some(rest) if self.about.line_ends != LineEnds::Lf => rest,
            _ => text,
        }
    }

    fn reduce(
        &self,
        index: u32,
        mut pairs: Vec<Pair>,
        counters: &mut Counters,
    ) -> Result<Vec<u8>, Failure> {
        let about = self.about;
        let order = PlainOrder::of(about);
        pairs.sort_by(|a, b| order.compare(&a.0, &b.0));
        counters.add_own("REDUCE_INPUT_RECORDS", pairs.len() as u64);
        if about.command(CommandRole::Reducer).is_none() {
            return self.written(&pairs);
        }
        let separator = about.reduce_input_separator.as_deref().unwrap_or("\t").as_bytes();
        let lines = pairs
            .iter()
            .map(|(key, value)| [key, separator, value.as_deref().unwrap_or_default()].concat());
        let task = (TaskKind::Reduce, index, 0);
        let written =
            self.pass(CommandRole::Reducer, task, None, joined(lines.collect()), counters)?;
        let separator = about.reduce_output_separator.as_deref().unwrap_or("\t");
        let fields = about.reduce_output_key_fields.unwrap_or(1);
        self.text(&self.lines_of(&written), separator, fields)
    }

    /// Lines as they stand in the job's output.
    fn text(&self, lines: &[Vec<u8>], separator: &str, fields: u32) -> Result<Vec<u8>, Failure> {
        let pairs = lines.iter().map(|line| split(line, separator, fields));
        self.written(&pairs.collect::<Vec<_>>())
    }

    fn written(&self, pairs: &[Pair]) -> Result<Vec<u8>, Failure> {
        let lines = pairs.iter().map(|(key, value)| self.line(key, value.as_deref()));
        let wanted = match self.forms.format {
            OutputFormat::Text | OutputFormat::KeyValue { .. } => {
                return Ok(joined(lines.collect()));
            }
            OutputFormat::FixedLength { bytes } => bytes as usize,
            _ => {
                let piece = |(key, value): &Pair| {
                    (Piece::of_bytes(Some(key)), Piece::of_bytes(value.as_deref()))
                };
                let pieces: Vec<_> = pairs.iter().map(piece).collect();
                return oracle_output::written(&pieces, self.forms);
            }
        };
        let lines: Vec<_> = lines.collect();
        match lines.iter().find(|line| line.len() != wanted) {
            Some(line) => Err(failed(format!("a record has {} bytes of {wanted}", line.len()))),
            None => Ok(lines.concat()),
        }
    }

    fn line(&self, key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
        let separator = match &self.forms.format {
            OutputFormat::KeyValue { separator } => separator.as_bytes(),
            _ => self.about.output_separator.as_deref().unwrap_or("\t").as_bytes(),
        };
        match value {
            Some(value) => [key, separator, value].concat(),
            None if self.about.trailing_separator => [key, separator].concat(),
            None => key.to_vec(),
        }
    }

    fn lines_of(&self, text: &[u8]) -> Vec<Vec<u8>> {
        let mut lines: Vec<Vec<u8>> =
            text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        if self.about.line_ends == LineEnds::Lf {
            return lines;
        }
        for line in &mut lines {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        match self.about.line_ends {
            LineEnds::Any => lines
                .iter()
                .flat_map(|line| line.split(|byte| *byte == b'\r').map(<[u8]>::to_vec))
                .collect(),
            LineEnds::Crlf | LineEnds::Lf => lines,
        }
    }

    /// What the command of `role` makes of `text`.
    fn pass(
        &self,
        role: CommandRole,
        (kind, index, n_maps): (TaskKind, u32, u32),
        reads: Option<&SplitPiece>,
        text: Vec<u8>,
        counters: &mut Counters,
    ) -> Result<Vec<u8>, Failure> {
        let Some(command) = self.about.command(role) else { return Ok(text) };
        let command: Command = command.parse().map_err(|error| failed(format!("{error}")))?;
        let folder = self.folder.join(format!("{kind}-{index}"));
        let disk = |error: std::io::Error| failed(format!("{}: {error}", folder.display()));
        std::fs::create_dir(&folder).map_err(disk)?;
        let workplace = Workplace::make(&folder, self.about, self.files, &Progress::untold())?;
        let identity = TaskContext {
            attempt: LOCAL_JOB.task(kind, index).attempt(0),
            job_name: String::new(),
            n_maps,
            n_reduces: self.n_reduces,
            files: Vec::new(),
            status: StatusSink::default(),
        };
        let mut environment = Environment::new(&identity, self.about, &workplace);
        if let Some(piece) = reads {
            environment.reads(piece);
        }
        let [stdin, stdout, stderr] = ["stdin", "stdout", "stderr"].map(|name| folder.join(name));
        std::fs::write(&stdin, &text).map_err(disk)?;
        let mut input = File::open(&stdin).map_err(disk)?;
        let mut process = workplace.prepare(&command, &environment);
        process
            .stdin(input.try_clone().map_err(disk)?)
            .stdout(File::create(&stdout).map_err(disk)?)
            .stderr(File::create(&stderr).map_err(disk)?);
        let status = workplace::start(process, role, &command)?.wait().map_err(disk)?;
        let mut reporter =
            Reporter::new(self.about.reporter_prefix.as_deref(), StatusSink::default());
        let said = std::fs::read(&stderr).map_err(disk)?;
        let said = [reporter.take(&said, counters).to_vec(), reporter.end(counters).to_vec()];
        std::io::stderr().write_all(&said.concat()).map_err(disk)?;
        // The two share where they are in the file.
        let has_read_all = input.stream_position().map_err(disk)? >= text.len() as u64;
        if status.signal().is_some() || !status.success() && !self.about.nonzero_exit {
            let complaint = workplace.complaint(&command).map(|it| format!("; {it}"));
            return Err(failed(format!(
                "the {role} `{command}`: {status}: {}{}",
                reporter.tail(),
                complaint.unwrap_or_default()
            )));
        }
        if !has_read_all && !self.about.partial_input {
            return Err(failed(format!("the {role} `{command}` has not read all of its input")));
        }
        self.read_beside(role, identity.attempt.task, workplace.beside())?;
        std::fs::read(&stdout).map_err(disk)
    }

    /// Files that a command has written beside its standard output.
    fn read_beside(&self, role: CommandRole, task: TaskId, folder: &Path) -> Result<(), Failure> {
        let about = self.about;
        let (separator, fields) = match role {
            CommandRole::Reducer => {
                (&about.reduce_output_separator, about.reduce_output_key_fields)
            }
            _ => (&about.map_output_separator, about.map_output_key_fields),
        };
        for name in super::beside::names(folder)? {
            if !is_output_name(&name) {
                return Err(failed(format!("{name:?} can't be the name of an output")));
            }
            let path = folder.join(&name);
            let written = std::fs::read(&path)
                .map_err(|error| failed(format!("{}: {error}", path.display())))?;
            let lines = self.lines_of(&written);
            let text =
                self.text(&lines, separator.as_deref().unwrap_or("\t"), fields.unwrap_or(1))?;
            self.named.borrow_mut().push(((name, task), text));
        }
        Ok(())
    }
}

fn joined(lines: Vec<Vec<u8>>) -> Vec<u8> {
    lines.into_iter().flat_map(|line| [line, b"\n".to_vec()].concat()).collect()
}

/// Key and value of a line.
fn split(line: &[u8], separator: &str, fields: u32) -> (Vec<u8>, Option<Vec<u8>>) {
    let separator = separator.as_bytes();
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut rest = line;
    while parts.len() < fields as usize {
        let Some(at) = rest.windows(separator.len()).position(|it| it == separator) else {
            return (line.to_vec(), None);
        };
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    (parts.join(separator), Some(rest.to_vec()))
}

fn failed(message: String) -> Failure {
    Failure { kind: FailureKind::UserCode, message }
}
