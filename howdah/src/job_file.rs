//! A job file as its author writes it, checked as far as that goes without the cluster. `job submit`,
//! `local` and `demo` call it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chunkstore_client::stores::{StoreUrl, UrlError};
use chunkstore_protocol::{PathError, StorePath};
use ids::OWN_SCHEME;
use mapreduce_protocol::{
    JobSpec, NameError, Native, PROGRAM_FILE_BYTES_MAX, Program, ProgramError, ShippedFile,
    builtins, check_name, is_argument,
};
use serde::de::DeserializeOwned;

use crate::job_changes::{JobChangeError, JobChanges};

/// Length limit of a job file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a job can't be run as it is written.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {flaw}")]
pub(crate) struct JobFileError {
    /// The job file, or `standard input`.
    pub(crate) file: PathBuf,
    /// What is wrong.
    pub(crate) flaw: JobFlaw,
}

/// What is wrong with a job file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobFlaw {
    /// What the system said when it was to be read.
    #[error("cannot read the job file: {0}")]
    Unreadable(std::io::Error),
    /// The file is no job file.
    #[error("a job file has at most {FILE_BYTES_MAX} bytes")]
    TooLong,
    /// It is not YAML, or has unknown, missing or malformed keys.
    #[error("{}", at_key(.0))]
    Yaml(serde_path_to_error::Error<serde_yaml::Error>),
    /// The same of JSON.
    #[error("{}", net::schema_words(&.0.to_string()))]
    Json(serde_json::Error),
    /// An argument would not stay as it is written.
    #[error("{0}")]
    Argument(net::Rewritten),
    /// No job can be called so.
    #[error("'name': {0}")]
    Name(NameError),
    /// There is nothing to read.
    #[error("'input' is empty: name at least one file or folder")]
    NoInput,
    /// It is none of the jobs that a cluster takes.
    #[error(transparent)]
    Invalid(Box<jobtracker::InvalidJob>),
    /// The output of a local job exists.
    #[error("the output {0} exists: remove it, or name another folder")]
    OutputExists(String),
    /// The output of a local job is an input, or lies within one, or would hold one.
    #[error("output {output} overlaps input {input}: choose a folder outside of the inputs")]
    OutputOverlapsInput {
        /// The output.
        output: String,
        /// The input.
        input: String,
    },
    /// An input of a local job can't be read.
    #[error("cannot read the input {input}: {cause}")]
    Input {
        /// The input.
        input: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// An input or output is no path of the chunk store.
    #[error("'{key}': {cause}")]
    StorePath {
        /// `input` or `output`.
        key: &'static str,
        /// What is wrong with it.
        cause: PathError,
    },
    /// An input or output is no URL of a store.
    #[error("'{key}': {cause}")]
    Url {
        /// `input` or `output`.
        key: &'static str,
        /// What is wrong with it.
        cause: UrlError,
    },
    /// Something of a local job lies in a store.
    #[error(
        "'{key}': {path} is in a store, and `howdah local` knows this host's files alone: fetch it, or submit the job"
    )]
    NotLocal {
        /// `input`, `output` or `files`.
        key: &'static str,
        /// What lies there.
        path: String,
    },
    /// What the command line changes can't be.
    #[error(transparent)]
    Change(JobChangeError),
    /// With what the command line changes it is no job.
    #[error("with --set: {}", net::schema_words(&.0.to_string()))]
    Changed(serde_json::Error),
    /// The program, its arguments or the number of reduces won't do.
    #[error(transparent)]
    Program(ProgramError),
    /// An argument of the builtin is wrong.
    #[error(transparent)]
    Builtin(mapreduce::runtime::BuiltinError),
    /// The author's executable is not marked as one.
    #[error("{0} is not executable: if it is your program, run `chmod +x` on it")]
    NotExecutable(PathBuf),
    /// The author's executable is none.
    #[error(
        "{0} is no program: it begins neither as an ELF executable nor with `#!`; name the executable that the build \
         made"
    )]
    NoProgram(PathBuf),
    /// A file that the program brings along can't be read.
    #[error("cannot read {shipped}, which the program brings along: {cause}")]
    Shipped {
        /// The file that the job names.
        shipped: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The author's executable can't be read.
    #[error("cannot read the executable {executable}: {cause}")]
    Executable {
        /// The executable.
        executable: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

impl JobFlaw {
    /// As the flaw of this job file.
    fn of(self, file: &Path) -> JobFileError {
        JobFileError { file: file.to_owned(), flaw: self }
    }
}

/// A job with the file it came from.
#[derive(Clone, Debug)]
pub(crate) struct JobFile {
    /// The file.
    pub(crate) path: PathBuf,
    /// The job.
    pub(crate) spec: JobSpec,
}

impl JobFile {
    /// Reads and checks the file, all but its paths.
    pub(crate) fn read(path: &Path) -> Result<Self, JobFileError> {
        Self::read_changed(path, &JobChanges::default())
    }

    /// The same with changes; `-` is standard input, and paths are relative to the current folder then.
    pub(crate) fn read_changed(path: &Path, changes: &JobChanges) -> Result<Self, JobFileError> {
        let is_stdin = path == Path::new("-");
        let file = if is_stdin { PathBuf::from("standard input") } else { path.to_owned() };
        let text = match is_stdin {
            true => bounded_text(std::io::stdin().lock()),
            false => fs::File::open(path).and_then(bounded_text),
        };
        let text = match text {
            Ok(Some(text)) => text,
            Ok(None) => return Err(JobFlaw::TooLong.of(&file)),
            Err(cause) => return Err(JobFlaw::Unreadable(cause).of(&file)),
        };
        let spec = match changes.is_empty() {
            true => parse(&file, &text)?,
            false => {
                let mut job: serde_json::Value = parse(&file, &text)?;
                changes.apply(&mut job).map_err(|cause| JobFlaw::Change(cause).of(&file))?;
                let changed = serde_json::from_value(job);
                changed.map_err(|cause| JobFlaw::Changed(cause).of(&file))?
            }
        };
        Self::of(file, spec)
    }

    /// Checks a job, all but its paths, which are relative to where `file` is.
    pub(crate) fn of(file: PathBuf, mut spec: JobSpec) -> Result<Self, JobFileError> {
        // As shells complete folders.
        spec.input.iter_mut().chain([&mut spec.output]).for_each(cut_slashes);
        if let Err(cause) = check_name(&spec.name) {
            return Err(JobFlaw::Name(cause).of(&file));
        }
        if spec.input.is_empty() {
            return Err(JobFlaw::NoInput.of(&file));
        }
        if let Err(cause) = builtins::check(&spec) {
            return Err(JobFlaw::Program(cause).of(&file));
        }
        if let Program::Builtin(builtin) = &spec.program
            && let Err(cause) = mapreduce::runtime::builtin(&builtin.name, &builtin.args)
        {
            return Err(JobFlaw::Builtin(cause).of(&file));
        }
        let job = Self { path: file, spec };
        let anywhere = JobSpec {
            input: vec!["/in".to_owned()],
            output: "/out".to_owned(),
            ..job.as_shipped()
        };
        job.validate(&anywhere)?;
        Ok(job)
    }

    fn validate(&self, spec: &JobSpec) -> Result<(), JobFileError> {
        let valid = jobtracker::validate(spec).map(drop);
        valid.map_err(|cause| JobFlaw::Invalid(Box::new(cause)).of(&self.path))
    }

    /// With an executable and a digest of the form that submit puts there.
    fn as_shipped(&self) -> JobSpec {
        let mut spec = self.spec.clone();
        let digest = || Some("0".repeat(64));
        if let Program::Native(native) = &mut spec.program {
            native.executable = "/program".to_owned();
            native.sha256 = digest();
        }
        for file in spec.program.shipped_mut() {
            file.path = "/program".to_owned();
            file.sha256 = digest();
        }
        spec
    }

    fn paths(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let output = std::iter::once(("output", &self.spec.output));
        self.spec.input.iter().map(|input| ("input", input)).chain(output)
    }

    /// Checks all that a cluster will check of the job as it is written.
    pub(crate) fn check_for_cluster(&self) -> Result<(), JobFileError> {
        self.paths().try_for_each(|(key, path)| {
            if ids::names_another_store(path) {
                let url = path.parse::<StoreUrl>().map(drop);
                return url.map_err(|cause| JobFlaw::Url { key, cause }.of(&self.path));
            }
            let path = StoreUrl::without_own_scheme(path).parse::<StorePath>().map(drop);
            path.map_err(|cause| JobFlaw::StorePath { key, cause }.of(&self.path))
        })?;
        self.validate(&self.as_shipped())
    }

    /// The same job with the whole paths of its local inputs and its output, which are relative to the job file as all its
    /// paths are.
    pub(crate) fn with_local_paths(mut self) -> Result<Self, JobFileError> {
        let folder = self.beside("");
        let (file, spec) = (&self.path, &mut self.spec);
        let inputs = spec.input.iter_mut().map(|input| ("input", input));
        for (key, path) in inputs.chain([("output", &mut spec.output)]) {
            let local = path.strip_prefix("file://").unwrap_or(path);
            if ids::names_another_store(local) || local.starts_with(OWN_SCHEME) {
                return Err(JobFlaw::NotLocal { key, path: path.clone() }.of(file));
            }
            let whole = std::path::absolute(folder.join(local));
            let text = whole.and_then(|whole| {
                let text = whole.to_str().map(str::to_owned);
                text.ok_or_else(|| std::io::Error::other("its path is not UTF-8"))
            });
            let input = path.clone();
            *path = text.map_err(|cause| JobFlaw::Input { input, cause }.of(file))?;
        }
        if let Some(stored) = spec.program.shipped().find(|it| stored(it).is_some()) {
            return Err(JobFlaw::NotLocal { key: "files", path: stored.path.clone() }.of(file));
        }
        Ok(self)
    }

    /// Checks that the job can be run on local files: inputs that are there, and an output that is not.
    pub(crate) fn check_for_local(&self) -> Result<(), JobFileError> {
        let output = &self.spec.output;
        for input in &self.spec.input {
            let (below, above) = (Path::new(output), Path::new(input));
            if below.starts_with(above) || above.starts_with(below) {
                let (output, input) = (output.clone(), input.clone());
                return Err(JobFlaw::OutputOverlapsInput { output, input }.of(&self.path));
            }
            if let Err(cause) = fs::metadata(input) {
                return Err(JobFlaw::Input { input: input.clone(), cause }.of(&self.path));
            }
        }
        // A dangling link exists, too.
        match fs::symlink_metadata(output) {
            Ok(_) => Err(JobFlaw::OutputExists(output.clone()).of(&self.path)),
            Err(_) => Ok(()),
        }
    }

    /// The path of the author's executable, if the program is native: relative to the job file.
    pub(crate) fn executable(&self) -> Option<PathBuf> {
        match &self.spec.program {
            Program::Builtin(_) | Program::Streaming(_) => None,
            Program::Native(Native { executable, .. }) => Some(self.beside(executable)),
        }
    }

    /// A path of the job file's, relative to it.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Checks that a file that the program brings along is there, and can be.
    pub(crate) fn check_shipped(&self, shipped: &ShippedFile) -> Result<(), JobFileError> {
        let shipped = self.beside(&shipped.path);
        let checked = check_shipped(&shipped).and_then(|()| fs::File::open(&shipped).map(drop));
        checked.map_err(|cause| JobFlaw::Shipped { shipped, cause }.of(&self.path))
    }

    /// The bytes of a file that the program brings along.
    pub(crate) fn read_shipped(&self, shipped: &ShippedFile) -> Result<Vec<u8>, JobFileError> {
        let shipped = self.beside(&shipped.path);
        let read = check_shipped(&shipped).and_then(|()| fs::read(&shipped));
        read.map_err(|cause| JobFlaw::Shipped { shipped, cause }.of(&self.path))
    }

    /// The same job with the whole paths of the files that the program brings along, all of which are there.
    pub(crate) fn with_files_found(mut self) -> Result<Self, JobFileError> {
        let folder = self.beside("");
        for it in self.spec.program.shipped_mut().filter(|it| stored(it).is_none()) {
            let shipped = folder.join(&it.path);
            let found = shipped.canonicalize().and_then(|path| {
                check_shipped(&path)?;
                fs::File::open(&path)?;
                let text = path.to_str().map(str::to_owned);
                text.ok_or_else(|| std::io::Error::other("its path is not UTF-8"))
            });
            it.path = found.map_err(|cause| JobFlaw::Shipped { shipped, cause }.of(&self.path))?;
        }
        Ok(self)
    }

    /// The bytes of the author's executable, if the program is native.
    pub(crate) fn read_executable(&self) -> Result<Option<Vec<u8>>, JobFileError> {
        let Some(executable) = self.executable() else { return Ok(None) };
        let read = fs::metadata(&executable).and_then(|found| Ok((found, fs::read(&executable)?)));
        match read {
            Err(cause) => Err(JobFlaw::Executable { executable, cause }.of(&self.path)),
            Ok((_, bytes)) if !bytes.starts_with(b"\x7fELF") && !bytes.starts_with(b"#!") => {
                Err(JobFlaw::NoProgram(executable).of(&self.path))
            }
            Ok((found, _)) if found.permissions().mode() & 0o111 == 0 => {
                Err(JobFlaw::NotExecutable(executable).of(&self.path))
            }
            Ok((_, bytes)) => Ok(Some(bytes)),
        }
    }
}

/// The path in the chunk store of a file that lies there already.
pub(crate) fn stored(shipped: &ShippedFile) -> Option<&str> {
    shipped.path.strip_prefix(OWN_SCHEME)
}

/// Whether a file can be brought along. It is not opened for that: to open a pipe waits for its writer.
fn check_shipped(path: &Path) -> std::io::Result<()> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(std::io::Error::other("it is no file; make it an archive"));
    }
    if found.len() > PROGRAM_FILE_BYTES_MAX {
        let most = PROGRAM_FILE_BYTES_MAX >> 30;
        let message = format!(
            "it has more than {most} GiB: put it into the chunk store, and read it from there as the job's input or in \
             the command"
        );
        return Err(std::io::Error::other(message));
    }
    Ok(())
}

fn cut_slashes(path: &mut String) {
    let kept = path.trim_end_matches('/').len().max(1);
    path.truncate(kept);
}

fn bounded_text(from: impl std::io::Read) -> std::io::Result<Option<String>> {
    use std::io::Read as _;
    let mut text = String::new();
    let n = from.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok((n as u64 <= FILE_BYTES_MAX).then_some(text))
}

/// YAML, of which JSON is a part but for tabs between tokens. What looks like JSON is complained about as
/// JSON: its parser says where.
fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, JobFileError> {
    let json = match serde_json::from_str(text) {
        Ok(spec) => return Ok(spec),
        Err(cause) => cause,
    };
    let yaml = serde_yaml::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(yaml).map_err(|cause| {
        let mut tokens = text.chars().filter(|c| !c.is_whitespace());
        let flaw = match (tokens.next(), tokens.next()) {
            (Some('{'), Some('"')) => JobFlaw::Json(json),
            _ => JobFlaw::Yaml(cause),
        };
        flaw.of(file)
    })?;
    let rewritten = serde_yaml::from_str(text)
        .and_then(|read| net::rewritten(&read, serde_yaml::Deserializer::from_str(text)));
    let rewritten = rewritten.unwrap_or_default().into_iter().find(|it| is_argument(&it.path));
    match rewritten {
        None => Ok(parsed),
        Some(cause) => Err(JobFlaw::Argument(cause).of(file)),
    }
}

/// What is wrong with the file, with the key that it is wrong with: what values say themselves does not name it.
fn at_key(error: &serde_path_to_error::Error<serde_yaml::Error>) -> String {
    let (path, words) = (error.path().to_string(), net::schema_words(&error.inner().to_string()));
    match words.split_once(": ") {
        _ if path == "." => words,
        // Some of the path is said already.
        Some((begins, rest)) if path.starts_with(begins) => format!("{path}: {rest}"),
        _ => format!("{path}: {words}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<JobFile, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.yaml");
        fs::write(&path, text).unwrap();
        let read = JobFile::read(&path).and_then(|job| job.check_for_cluster().map(|()| job));
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn yaml_and_json_are_one_schema() {
        let yaml = "name: n\ninput: [/in]\noutput: /out\nprogram:\n  builtin: {name: wordcount}\n";
        let json = "{\t\"name\": \"n\", \"input\": [\"/in\"], \"output\": \"/out\",\n\
                    \t\"program\": {\"builtin\": {\"name\": \"wordcount\"}}}";
        let (yaml, json) = (read(yaml).unwrap(), read(json).unwrap());
        assert_eq!(yaml.spec, json.spec);
        let flow = "{name: n, input: [/in/], output: /out, program: {builtin: {name: wordcount}}}";
        assert_eq!(read(flow).unwrap().spec, json.spec, "YAML may begin with a brace too");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        const WORDCOUNT: &str = "program:\n  builtin: {name: wordcount}\n";
        let job = |rest: &str| format!("name: n\ninput: [/in]\noutput: /out\n{rest}");
        let table = [
            (job("program: {builtin: {name: wordcuont}}"), "wordcuont"),
            (job("program: {builtin: {name: grep, args: {pattern: '('}}}"), "regular expression"),
            (job("program: {builtin: {name: topn, args: {n: +5}}}"), "args.n: +5 would become 5"),
            (job(&format!("reduces: 0\n{WORDCOUNT}")), "at least one reduce"),
            (job(&format!("reducers: 4\n{WORDCOUNT}")), "line 4"),
            (job("program: [\n"), "line"),
            (job(WORDCOUNT).replace("[/in]", "[in]"), "not absolute"),
            (job(WORDCOUNT).replace("[/in]", "[]"), "'input' is empty"),
            (job(WORDCOUNT).replace("/out", "/out/../x"), "'output'"),
            (job(WORDCOUNT).replace("name: n\n", "name: ''\n"), "'name'"),
            (job(WORDCOUNT).replace("name: n\n", "name: \"a\\tb\"\n"), "control characters"),
            (job(&format!("max_attempts: 0\n{WORDCOUNT}")), "1 to 100"),
            (job(WORDCOUNT).replace("/out", "/in/out"), "overlaps"),
            (job(WORDCOUNT).replace("[/in]", "[/out/in]"), "overlaps"),
            (job(WORDCOUNT).replace("/out", "/.howdah/out"), "/.howdah"),
            (job(WORDCOUNT).replace("name: n\n", "name: [n]\n"), "a string"),
            (job("program: 7\n"), "an object"),
            (job("program: {builtin: wordcount}\n"), "an object"),
            (job(&format!("reduces: many\n{WORDCOUNT}")), "a whole number"),
            (job(&format!("timeout: 2\n{WORDCOUNT}")), "job.yaml: timeout: \"2\" is not a time"),
            (job(&format!("limits: {{memory: [1]}}\n{WORDCOUNT}")), "limits.memory: "),
            ("7".to_owned(), "an object"),
            ("{\"name\": 1}".to_owned(), "line 1 column"),
        ];
        for (text, expected) in table {
            let error = read(&text).map(|job| job.spec).unwrap_err();
            assert!(error.contains(expected) && error.contains("job.yaml"), "{text}: {error}");
        }
    }

    #[test]
    fn what_can_not_be_brought_along_is_said_before_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("fine"), "text").unwrap();
        fs::File::create(at("large")).unwrap().set_len(PROGRAM_FILE_BYTES_MAX + 1).unwrap();
        fs::create_dir(at("folder")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        for (name, expected) in [
            ("fine", None),
            ("large", Some("more than 2 GiB")),
            ("folder", Some("make it an archive")),
            ("pipe", Some("it is no file")),
            ("none", Some("No such file")),
        ] {
            let text = format!(
                "name: n\ninput: [/in]\noutput: /out\nprogram:\n  streaming: {{mapper: cat, files: [{name}]}}\n"
            );
            fs::write(at("job.yaml"), text).unwrap();
            let job = JobFile::read(&at("job.yaml")).unwrap();
            let Program::Streaming(streaming) = &job.spec.program else { panic!("{name}") };
            let read = job.read_shipped(&streaming.files[0]).err().map(|it| it.to_string());
            let found = job.clone().with_files_found().err().map(|it| it.to_string());
            assert_eq!(read, found, "{name}");
            assert_eq!(read.is_some(), expected.is_some(), "{name}: {read:?}");
            assert!(read.unwrap_or_default().contains(expected.unwrap_or_default()), "{name}");
        }
    }

    #[test]
    fn an_executable_is_found_beside_its_job_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.yaml");
        let native = "name: n\ninput: [/in]\noutput: /out\nprogram: {native: {executable: prog}}\n";
        fs::write(&path, native).unwrap();
        let job = JobFile::read(&path).unwrap();
        let missing = job.read_executable().unwrap_err().to_string();
        assert!(missing.contains("prog") && missing.contains("job.yaml"), "{missing}");
        let program = folder.path().join("prog");
        for (bytes, mode, said) in [
            ("bytes", 0o755, "no program"),
            ("", 0o755, "no program"),
            ("#!/bin/sh", 0o644, "chmod"),
        ] {
            fs::write(&program, bytes).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
            let refused = job.read_executable().unwrap_err().to_string();
            assert!(refused.contains(said) && refused.contains("prog"), "{refused}");
        }
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(job.read_executable().unwrap().unwrap(), b"#!/bin/sh");
    }
}
