//! A workflow file as its author writes it → a plan, with the place of each job in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mapreduce_protocol::is_argument;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::line_of::line_of;
use super::plan::{Bound, Plan, PlannedJob, PlannedLoop, RunNames, Until};
use super::text;
use crate::cli::inputs::could_mean;

/// Length limit of a workflow file, bytes.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;
/// Rounds of a loop, at most.
const ROUNDS_MAX: u32 = 100_000;
/// Characters of a job's name: it is part of the names of files, and of an idempotency key.
const NAME_CHARS_MAX: usize = 60;

/// Why a workflow can't be run as it is written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkflowError {
    /// It can't be read.
    #[error("cannot read the workflow file {file}: {cause}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It is too long.
    #[error("the workflow file {file} has more than {FILE_BYTES_MAX} bytes")]
    TooLong {
        /// The file.
        file: PathBuf,
    },
    /// It is not YAML, or has unknown, missing or malformed keys.
    #[error("{file}: {}", net::schema_words(&cause.to_string()))]
    Yaml {
        /// The file.
        file: PathBuf,
        /// What is wrong, with line and column.
        cause: serde_yaml::Error,
    },
    /// Something about one job or loop, or about all.
    #[error("{place}: {why}")]
    At {
        /// `file`, `file:line` or `file:line: job NAME`.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// `--var` is none.
    #[error("--var {given}: write NAME=VALUE")]
    Variable {
        /// As given.
        given: String,
    },
}

/// The keys of a workflow file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AsWritten {
    name: String,
    #[serde(default)]
    variables: BTreeMap<String, Value>,
    jobs: Map<String, Value>,
}

/// The keys of a loop.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoopAsWritten {
    rounds: u32,
    until: Option<UntilAsWritten>,
    #[serde(default)]
    after: Vec<String>,
    jobs: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UntilAsWritten {
    job: Option<String>,
    counter: String,
    at_most: Option<u64>,
    at_least: Option<u64>,
}

/// A workflow with the file it came from.
#[derive(Clone, Debug)]
pub(crate) struct WorkflowFile {
    pub(crate) path: PathBuf,
    /// As it was read.
    pub(crate) text: String,
    pub(crate) plan: Plan,
}

/// `NAME=VALUE`, the value as it would stand in the file.
pub(crate) fn parse_variable(given: &str) -> Result<(String, Value), WorkflowError> {
    let (name, value) = given
        .split_once('=')
        .filter(|(name, _)| !name.trim().is_empty())
        .ok_or_else(|| WorkflowError::Variable { given: given.to_owned() })?;
    let value = match serde_yaml::from_str(value) {
        // 0.10, 0x1F and True mean what is written: only what reads the same again becomes a number or truth value.
        Ok(Value::Number(read)) if read.is_f64() || read.to_string() != value.trim() => {
            value.trim().into()
        }
        Ok(Value::Bool(read)) if read.to_string() != value.trim() => value.trim().into(),
        Ok(read) => read,
        Err(_) => value.into(),
    };
    Ok((name.trim().to_owned(), value))
}

impl WorkflowFile {
    /// Reads and checks a file; `variables` take the place of those in it.
    pub(crate) fn read(path: &Path, variables: &[(String, Value)]) -> Result<Self, WorkflowError> {
        use std::io::Read as _;
        let file = path.to_owned();
        let mut text = String::new();
        let read = std::fs::File::open(path)
            .and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        match read {
            Err(cause) => Err(WorkflowError::Unreadable { file, cause }),
            Ok(n) if n as u64 > FILE_BYTES_MAX => Err(WorkflowError::TooLong { file }),
            Ok(_) => Self::parse(path, &text, variables),
        }
    }

    /// Checks a text, of which paths are relative to where `path` is.
    pub(crate) fn parse(
        path: &Path,
        text: &str,
        variables: &[(String, Value)],
    ) -> Result<Self, WorkflowError> {
        let yaml = |cause| WorkflowError::Yaml { file: path.to_owned(), cause };
        // By its own type of values, which refuses a key that stands there twice.
        let any: serde_yaml::Value = serde_yaml::from_str(text).map_err(yaml)?;
        drop(any);
        let mut written: AsWritten = serde_yaml::from_str(text).map_err(yaml)?;
        let reader = Reader { path, text };
        reader.check_words().map_err(yaml)??;
        for (name, value) in variables {
            let known = written.variables.get_mut(name);
            let names =
                || format!("--var {name}: the workflow has no such variable under 'variables'");
            *known.ok_or_else(|| reader.at(None, names()))? = value.clone();
        }
        let plan = reader.plan(written)?;
        Ok(Self { path: path.to_owned(), text: text.to_owned(), plan })
    }

    /// `FILE:LINE: job NAME`
    pub(crate) fn place_of(&self, job: &str) -> String {
        Reader { path: &self.path, text: &self.text }.place(Some(job))
    }
}

/// Paths of a job, as a first round has them.
struct Shown {
    output: String,
    /// All its other texts: what it reads is among them.
    texts: Vec<String>,
    /// Which of them may be patterns.
    input: Vec<String>,
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn place(&self, of: Option<&str>) -> String {
        let file = self.path.display();
        match of.map(|name| (name, line_of(self.text, name))) {
            None => file.to_string(),
            Some((name, None)) => format!("{file}: job {name}"),
            Some((name, Some(line))) => format!("{file}:{line}: job {name}"),
        }
    }

    fn at(&self, of: Option<&str>, why: impl Into<String>) -> WorkflowError {
        WorkflowError::At { place: self.place(of), why: why.into() }
    }

    /// Refuses arguments and variables that would not stay as they are written.
    fn check_words(&self) -> Result<Result<(), WorkflowError>, serde_yaml::Error> {
        let read = serde_yaml::from_str(self.text)?;
        let mut rewritten =
            net::rewritten(&read, serde_yaml::Deserializer::from_str(self.text))?.into_iter();
        let is_variable = |path: &[String]| path.first().is_some_and(|it| it == "variables");
        Ok(match rewritten.find(|it| is_argument(&it.path) || is_variable(&it.path)) {
            None => Ok(()),
            Some(rewritten) => Err(self.at(None, rewritten.to_string())),
        })
    }

    fn plan(&self, written: AsWritten) -> Result<Plan, WorkflowError> {
        if written.name.is_empty() || written.jobs.is_empty() {
            return Err(self.at(None, "a workflow has a 'name' and at least one job under 'jobs'"));
        }
        for (name, value) in &written.variables {
            let is_reserved =
                ["run", "work", "store", "round", "previous"].contains(&name.as_str());
            let is_name =
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            if is_reserved || !is_name || name.is_empty() {
                let why = format!(
                    "'{name}' can't be a variable: take letters, digits, _ and -, and none of run, work, store, round, previous"
                );
                return Err(self.at(None, why));
            }
            if value.is_array() || value.is_object() || value.is_null() {
                return Err(self.at(
                    None,
                    format!("the variable '{name}' must be a text, a number, true or false"),
                ));
            }
            if value.is_f64() {
                let why = format!(
                    "the variable '{name}' is {value}, a number with a fraction: write it in quotes, so that it stays as written"
                );
                return Err(self.at(None, why));
            }
        }
        let variables = written.variables;
        let mut plan = Plan { name: written.name, variables, jobs: Vec::new(), loops: Vec::new() };
        let mut after = BTreeMap::new();
        for (name, value) in written.jobs {
            match value.get("rounds").is_some() || value.get("jobs").is_some() {
                true => self.take_loop(&mut plan, &mut after, &name, value)?,
                false => self.take_job(&mut plan, &mut after, name, value, None)?,
            }
        }
        self.find_what_each_waits_for(&mut plan, &after)?;
        self.check_that_rounds_differ(&plan)?;
        self.put_in_order(&mut plan)?;
        Ok(plan)
    }

    fn take_name(&self, plan: &Plan, name: &str) -> Result<(), WorkflowError> {
        let is_name = (1..=NAME_CHARS_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if !is_name {
            let why = format!("a job's name is 1 to {NAME_CHARS_MAX} letters, digits, _ and -");
            return Err(self.at(Some(name), why));
        }
        let is_taken = plan.job(name).is_some() || plan.loops.iter().any(|it| it.name == name);
        if is_taken || plan.variables.contains_key(name) {
            return Err(self.at(
                Some(name),
                "the name stands for something else already, in a loop, outside or a variable",
            ));
        }
        Ok(())
    }

    fn take_job(
        &self,
        plan: &mut Plan,
        after: &mut BTreeMap<String, Vec<String>>,
        name: String,
        mut template: Value,
        in_loop: Option<usize>,
    ) -> Result<(), WorkflowError> {
        self.take_name(plan, &name)?;
        let fields = template.as_object_mut();
        let fields = fields
            .ok_or_else(|| self.at(Some(&name), "it is not an object of the keys of a job"))?;
        if fields.contains_key("name") {
            return Err(self.at(
                Some(&name),
                "the key 'name' is not for jobs of a workflow: they are called as they stand here",
            ));
        }
        if let Some(given) = fields.remove("after") {
            let names = serde_json::from_value(given);
            after.insert(
                name.clone(),
                names.map_err(|_| self.at(Some(&name), "'after' is not a list of names"))?,
            );
        }
        let line = line_of(self.text, &name);
        plan.jobs.push(PlannedJob { name, line, template, in_loop, waits_for: BTreeSet::new() });
        Ok(())
    }

    fn take_loop(
        &self,
        plan: &mut Plan,
        after: &mut BTreeMap<String, Vec<String>>,
        name: &str,
        value: Value,
    ) -> Result<(), WorkflowError> {
        self.take_name(plan, name)?;
        let at = |why: String| self.at(Some(name), why);
        let mut value = value;
        for key in ["rounds", "until"] {
            if let Some(part) = value.get_mut(key) {
                let look_up = |wanted: &str| {
                    let known = plan.variables.get(wanted).cloned();
                    known.ok_or_else(|| {
                        format!("'{key}' of a loop knows variables alone, and none is '{wanted}'")
                    })
                };
                *part = text::filled(part, &look_up).map_err(at)?;
            }
        }
        let it: LoopAsWritten = serde_json::from_value(value).map_err(|error| {
            at(format!(
                "a loop has 'rounds', 'until' and 'jobs': {}",
                net::schema_words(&error.to_string())
            ))
        })?;
        if !(1..=ROUNDS_MAX).contains(&it.rounds) || it.jobs.is_empty() {
            return Err(at(format!(
                "a loop has 'rounds' from 1 to {ROUNDS_MAX}, and at least one job"
            )));
        }
        let only = (it.jobs.len() == 1).then(|| it.jobs.keys().next().cloned()).flatten();
        let until = match it.until {
            None => None,
            Some(until) => {
                let job = until.job.or(only).filter(|job| it.jobs.contains_key(job));
                let job = job.ok_or_else(|| {
                    at("'until' needs a 'job' of the loop, whose counter it is".into())
                })?;
                let bound = match (until.at_most, until.at_least) {
                    (Some(most), None) => Bound::AtMost(most),
                    (None, Some(least)) => Bound::AtLeast(least),
                    _ => return Err(at("'until' has one of 'at_most' and 'at_least'".into())),
                };
                Some(Until { job, counter: until.counter, bound })
            }
        };
        let in_loop = plan.loops.len();
        let line = line_of(self.text, name);
        plan.loops.push(PlannedLoop { name: name.to_owned(), line, rounds: it.rounds, until });
        for (inner, value) in it.jobs {
            if value.get("rounds").is_some() || value.get("jobs").is_some() {
                return Err(
                    self.at(Some(&inner), "a loop in a loop is not possible: make one of both")
                );
            }
            after.entry(inner.clone()).or_default();
            self.take_job(plan, after, inner.clone(), value, Some(in_loop))?;
            after.entry(inner).or_default().extend(it.after.iter().cloned());
        }
        Ok(())
    }

    /// By `after`, by the names of other jobs in their texts, and by the paths that they write.
    fn find_what_each_waits_for(
        &self,
        plan: &mut Plan,
        after: &BTreeMap<String, Vec<String>>,
    ) -> Result<(), WorkflowError> {
        let shown: Vec<Shown> =
            plan.jobs.iter().map(|job| self.shown_paths(plan, job)).collect::<Result<_, _>>()?;
        let mut found = Vec::new();
        for (job, Shown { texts, input, .. }) in plan.jobs.iter().zip(&shown) {
            let mut waits_for = BTreeSet::new();
            for name in after.get(&job.name).into_iter().flatten() {
                let loops = plan.loops.iter().position(|it| it.name == *name);
                let inner = plan.jobs.iter().filter(|it| loops.is_some() && it.in_loop == loops);
                let names: Vec<_> =
                    plan.job(name).into_iter().chain(inner).map(|it| it.name.clone()).collect();
                if names.is_empty() {
                    return Err(self.at(
                        Some(&job.name),
                        format!("'after' names {name}, and there is no such job"),
                    ));
                }
                waits_for.extend(names);
            }
            let mut names = Vec::new();
            text::names(&job.template, &mut names).map_err(|why| self.at(Some(&job.name), why))?;
            let named = names.iter().filter_map(|name| name.split_once('.'));
            waits_for
                .extend(named.filter_map(|(job, _)| plan.job(job)).map(|other| other.name.clone()));
            for (other, Shown { output, .. }) in plan.jobs.iter().zip(&shown) {
                let lies_in = |path: &String| {
                    path.strip_prefix(output.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '#']))
                };
                // What a pattern means is what is there before the job begins: never its own output.
                let is_meant = other.name != job.name
                    && input.iter().any(|pattern| could_mean(pattern, output));
                if !output.is_empty() && (is_meant || texts.iter().any(lies_in)) {
                    waits_for.insert(other.name.clone());
                }
            }
            if waits_for.contains(&job.name) {
                return Err(self.at(Some(&job.name), "it reads its own output"));
            }
            found.push(waits_for);
        }
        for (job, waits_for) in plan.jobs.iter_mut().zip(found) {
            job.waits_for = waits_for;
        }
        Ok(())
    }

    /// The second round of a job must not write where the first one did.
    fn check_that_rounds_differ(&self, plan: &Plan) -> Result<(), WorkflowError> {
        for job in &plan.jobs {
            let Some(at) = job.in_loop.filter(|at| plan.loops[*at].rounds > 1) else { continue };
            let is_inner = |name: &str| plan.job(name).is_some_and(|it| it.in_loop == Some(at));
            let output = |round: u32| {
                let look_up = |name: &str| -> Result<Value, String> {
                    Ok(match name.split_once('.') {
                        None if name == "round" => round.into(),
                        None if name == "previous" => (round - 1).into(),
                        // What another job of the round leaves is another thing in each.
                        Some((other, _)) if is_inner(other) => format!("{name}-{round}").into(),
                        _ => name.into(),
                    })
                };
                job.template.get("output").map(|output| text::filled(output, &look_up))
            };
            if output(1) == output(2) {
                let why = "its output is the same in each round: name ${round} in it";
                return Err(self.at(Some(&job.name), why));
            }
        }
        Ok(())
    }

    /// Its output and other texts as a first round would have them, names of other jobs left as they are.
    fn shown_paths(&self, plan: &Plan, job: &PlannedJob) -> Result<Shown, WorkflowError> {
        let names = RunNames { run: "RUN".into(), work: "/WORK".into(), store: "" };
        let look_up = |name: &str| -> Result<Value, String> {
            if name.split_once('.').is_some_and(|(other, _)| plan.job(other).is_some()) {
                return Ok(format!("${{{name}}}").into());
            }
            plan.resolved_name(name, job, &names)
        };
        let shown =
            text::filled(&job.template, &look_up).map_err(|why| self.at(Some(&job.name), why))?;
        let output = shown["output"].as_str().unwrap_or_default().trim_end_matches('/').to_owned();
        let (mut texts, mut input) = (Vec::new(), Vec::new());
        let others = shown.as_object().into_iter().flatten().filter(|(key, _)| *key != "output");
        others.for_each(|(_, value)| texts_of(value, &mut texts));
        texts_of(&shown["input"], &mut input);
        let plain = |path: &String| path.strip_prefix("howdah://").unwrap_or(path).to_owned();
        let all = |texts: Vec<String>| texts.iter().map(plain).collect();
        Ok(Shown { output: plain(&output), texts: all(texts), input: all(input) })
    }

    /// Puts each job behind those that it waits for; where they wait for one another, that is said.
    fn put_in_order(&self, plan: &mut Plan) -> Result<(), WorkflowError> {
        let mut left = std::mem::take(&mut plan.jobs);
        // What is outside waits for the whole loop, and a job of a loop for the whole of another one.
        while !left.is_empty() {
            let is_free = |job: &PlannedJob| {
                left.iter().all(|other| {
                    let is_same_loop = job.in_loop.is_some() && other.in_loop == job.in_loop;
                    let waits = job.waits_for.contains(&other.name);
                    let waits_for_loop = !is_same_loop
                        && other.in_loop.is_some()
                        && left.iter().chain(&plan.jobs).any(|it| {
                            it.in_loop == other.in_loop && job.waits_for.contains(&it.name)
                        });
                    !waits && !waits_for_loop
                })
            };
            let Some(at) = left.iter().position(is_free) else {
                let names: Vec<_> = left.iter().map(|job| job.name.as_str()).collect();
                let why = format!(
                    "these wait for one another, and none could be the first: {}",
                    names.join(", ")
                );
                return Err(self.at(Some(&left[0].name), why));
            };
            plan.jobs.push(left.remove(at));
        }
        Ok(())
    }
}

fn texts_of(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts_of(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| texts_of(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        WorkflowFile::parse("flow.yaml".as_ref(), text, &[]).unwrap_err().to_string()
    }

    const JOB: &str = "input: [/in], program: {builtin: {name: wordcount}}";

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let jobs = |jobs: &str| format!("name: n\nvariables: {{a: 1}}\njobs:\n{jobs}");
        let of = |more: &str| format!("{{{JOB}, {more}}}");
        for (text, parts) in [
            ("name: n\n".to_owned(), &["flow.yaml", "jobs"][..]),
            ("name: n\njobs: {}\n".to_owned(), &["at least one job"]),
            ("name: n\njob: {}\n".to_owned(), &["flow.yaml", "line 2"]),
            (jobs("  x: {}\n  x: {}\n"), &["flow.yaml", "duplicate"]),
            (jobs("  x: 7\n"), &["flow.yaml:4: job x", "keys of a job"]),
            (
                jobs(&format!("  x: {}\n", of("output: '${b}'"))),
                &["flow.yaml:4: job x", "no variable 'b'", "(a)"],
            ),
            (jobs(&format!("  x: {}\n", of("output: '${round}'"))), &["jobs in loops alone"]),
            (
                jobs(&format!("  x: {}\n", of("output: /o, after: [y]"))),
                &["there is no such job", "y"],
            ),
            (jobs(&format!("  x: {}\n", of("output: /in"))), &["reads its own output"]),
            (
                jobs(&format!(
                    "  x: {}\n  # why\n  y: {}\n",
                    of("output: /o, after: [y]"),
                    of("output: /p, after: [x]")
                )),
                &["flow.yaml:4: job x", "wait for one another", "x, y"],
            ),
            (
                jobs("  l:\n    rounds: 0\n    jobs: {x: {}}\n"),
                &["flow.yaml:4: job l", "from 1 to"],
            ),
            (
                jobs("  l:\n    rounds: many\n    jobs: {x: {}}\n"),
                &["flow.yaml:4: job l", "whole number"],
            ),
            (
                jobs(&format!(
                    "  l:\n    rounds: 2\n    until: {{counter: g.c}}\n    jobs:\n      x: {}\n",
                    of("output: /o")
                )),
                &["flow.yaml:4: job l", "'at_most' and 'at_least'"],
            ),
            (
                jobs(&format!("  l:\n    rounds: 2\n    jobs:\n      x: {}\n", of("output: /o"))),
                &["flow.yaml:7: job x", "the same in each round", "${round}"],
            ),
            (
                jobs(&format!(
                    "  x: {}\n  l:\n    rounds: 2\n    jobs:\n      x: {}\n",
                    of("output: /o"),
                    of("output: /p")
                )),
                &["job x", "something else already"],
            ),
            (
                jobs("  l:\n    rounds: 2\n    jobs:\n      m: {rounds: 2, jobs: {x: {}}}\n"),
                &["flow.yaml:7: job m", "loop in a loop"],
            ),
        ] {
            let said = refused(&text);
            assert!(parts.iter().all(|part| said.contains(part)), "{text}\n{said}");
        }
    }

    #[test]
    fn a_pattern_waits_for_each_job_whose_output_it_could_match() {
        let waits = |input: &str, output: &str| {
            let text = format!(
                "name: n\njobs:\n  day: {{{JOB}, output: '{output}'}}\n  sum: {{input: ['{input}'], output: /all/sum, \
                 program: {{builtin: {{name: wordcount, args: {{x: '/all/*'}}}}}}}}\n"
            );
            let plan = WorkflowFile::parse("flow.yaml".as_ref(), &text, &[]).unwrap().plan;
            plan.job("sum").unwrap().waits_for.contains("day")
        };
        for (input, output, expected) in [
            ("/daily/*", "/daily/2026-01-02", true),
            ("howdah:///daily/*", "/daily/2026-01-02", true),
            ("/daily/2026-*/part-*", "howdah:///daily/2026-01-02", true),
            ("${work}/{a,b}", "${work}/a", true),
            ("/all/*", "/all/day", true),
            ("/daily/2025-*", "/daily/2026-01-02", false),
            ("/daily/[0-9]*", "/daily/report", false),
            // Arguments are no patterns.
            ("/in/*", "/all/day", false),
            ("${day.output}/part-*", "/daily/2026-01-02", true),
        ] {
            assert_eq!(waits(input, output), expected, "{input} of {output}");
        }
    }

    #[test]
    fn numbers_that_would_not_stay_as_they_are_written_are_refused() {
        let variable = |a: &str| format!("name: n\nvariables: {{a: {a}}}\njobs: {{x: {{}}}}\n");
        let native = "{input: [/in], output: /o, program: {native: {executable: p, args: [0o17]}}}";
        for (text, expected) in [
            (variable("1.10"), "flow.yaml: variables.a: 1.10 would become 1.1: write it in quotes"),
            (variable("1.5"), "flow.yaml: the variable 'a' is 1.5, a number with a fraction"),
            (
                format!("name: n\njobs: {{x: {native}}}\n"),
                "flow.yaml: jobs.x.program.native.args.0: 0o17 would become 15",
            ),
        ] {
            assert!(refused(&text).starts_with(expected), "{}", refused(&text));
        }
    }

    #[test]
    fn variables_of_the_command_line_take_the_place_of_those_in_the_file() {
        let text = format!(
            "name: n\nvariables: {{n: 2, out: /o}}\njobs:\n  l:\n    rounds: ${{n}}\n    jobs:\n      x: {{{JOB}, output: '${{out}}-${{round}}'}}\n"
        );
        let file = |variables: &[&str]| {
            let variables: Vec<_> =
                variables.iter().map(|it| parse_variable(it).unwrap()).collect();
            WorkflowFile::parse("flow.yaml".as_ref(), &text, &variables)
        };
        assert_eq!(file(&[]).unwrap().plan.loops[0].rounds, 2);
        assert_eq!(file(&["n=5"]).unwrap().plan.loops[0].rounds, 5);
        assert!(file(&["m=5"]).unwrap_err().to_string().contains("no such variable"));
        assert!(parse_variable("n").is_err());
        for kept in ["0.10", "0x1F", "1e3", "True", "/a b"] {
            assert_eq!(parse_variable(&format!("n={kept}")).unwrap().1, kept);
        }
        assert_eq!(parse_variable("n=-7").unwrap().1, -7);
        assert_eq!(parse_variable("n=true").unwrap().1, true);
    }
}
