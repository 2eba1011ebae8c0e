//! A job file as its author writes it, checked as far as that goes without the cluster. `job submit`,
//! `local` and `demo` call it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chunkstore_client::stores::{StoreUrl, UrlError};
use chunkstore_protocol::{PathError, StorePath};
use mapreduce_protocol::{
    JobSpec, NameError, Native, PROGRAM_FILE_BYTES_MAX, Program, ProgramError, ShippedFile,
    builtins, check_name, is_argument,
};
use serde::de::DeserializeOwned;

use crate::job_changes::{JobChangeError, JobChanges};

/// Length limit of a job file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a file of the chunk store begins with where a job brings files along.
pub(crate) const OWN_SCHEME: &str = "howdah://";

/// Why a job can't be run as it is written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobFileError {
    /// The file can't be read.
    #[error("cannot read the job file {file}: {cause}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is no job file.
    #[error("the job file {file} has more than {FILE_BYTES_MAX} bytes")]
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
    /// An argument would not stay as it is written.
    #[error("{file}: {cause}")]
    Argument {
        /// The file.
        file: PathBuf,
        /// Which, and what it would become.
        cause: net::Rewritten,
    },
    /// It is not JSON, or has unknown, missing or malformed keys.
    #[error("{file}: {}", net::schema_words(&cause.to_string()))]
    Json {
        /// The file.
        file: PathBuf,
        /// What is wrong, with line and column.
        cause: serde_json::Error,
    },
    /// No job can be called so.
    #[error("{file}: 'name': {cause}")]
    Name {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        cause: NameError,
    },
    /// There is nothing to read.
    #[error("{file}: 'input' is empty: name at least one file or folder")]
    NoInput {
        /// The file.
        file: PathBuf,
    },
    /// It is none of the jobs that a cluster takes.
    #[error("{file}: {cause}")]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Which rule it breaks.
        cause: Box<jobtracker::InvalidJob>,
    },
    /// The output of a local job exists.
    #[error("{file}: the output {output} exists: remove it, or name another folder")]
    OutputExists {
        /// The file.
        file: PathBuf,
        /// The output.
        output: String,
    },
    /// The output of a local job is an input, or lies within one, or would hold one.
    #[error(
        "{file}: output {output} overlaps input {input}: choose a folder outside of the inputs"
    )]
    OutputOverlapsInput {
        /// The file.
        file: PathBuf,
        /// The output.
        output: String,
        /// The input.
        input: String,
    },
    /// An input of a local job can't be read.
    #[error("{file}: cannot read the input {input}: {cause}")]
    Input {
        /// The file.
        file: PathBuf,
        /// The input.
        input: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// An input or output is no path of the chunk store.
    #[error("{file}: '{key}': {cause}")]
    StorePath {
        /// The file.
        file: PathBuf,
        /// `input` or `output`.
        key: &'static str,
        /// What is wrong with it.
        cause: PathError,
    },
    /// An input or output is no URL of a store.
    #[error("{file}: '{key}': {cause}")]
    Url {
        /// The file.
        file: PathBuf,
        /// `input` or `output`.
        key: &'static str,
        /// What is wrong with it.
        cause: UrlError,
    },
    /// Something of a local job lies in a store.
    #[error(
        "{file}: '{key}': {path} is in a store, and `howdah local` knows this host's files alone: fetch it, or submit the job"
    )]
    NotLocal {
        /// The file.
        file: PathBuf,
        /// `input`, `output` or `files`.
        key: &'static str,
        /// What lies there.
        path: String,
    },
    /// What the command line changes can't be.
    #[error(transparent)]
    Change(#[from] JobChangeError),
    /// With what the command line changes it is no job.
    #[error("{file}, with --set: {}", net::schema_words(&cause.to_string()))]
    Changed {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        cause: serde_json::Error,
    },
    /// The program, its arguments or the number of reduces won't do.
    #[error("{file}: {cause}")]
    Program {
        /// The file.
        file: PathBuf,
        /// What is wrong with them.
        cause: ProgramError,
    },
    /// An argument of the builtin is wrong.
    #[error("{file}: {cause}")]
    Builtin {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        cause: mapreduce::runtime::BuiltinError,
    },
    /// The author's executable is not marked as one.
    #[error("{file}: {executable} is not executable: if it is your program, run `chmod +x` on it")]
    NotExecutable {
        /// The file.
        file: PathBuf,
        /// The executable.
        executable: PathBuf,
    },
    /// The author's executable is none.
    #[error(
        "{file}: {executable} is no program: it begins neither as an ELF executable nor with `#!`; name \
         the executable that the build made"
    )]
    NoProgram {
        /// The file.
        file: PathBuf,
        /// The executable.
        executable: PathBuf,
    },
    /// A file that the program brings along can't be read.
    #[error("{file}: cannot read {shipped}, which the program brings along: {cause}")]
    Shipped {
        /// The file.
        file: PathBuf,
        /// The file that the job names.
        shipped: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The author's executable can't be read.
    #[error("{file}: cannot read the executable {executable}: {cause}")]
    Executable {
        /// The file.
        file: PathBuf,
        /// The executable.
        executable: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
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
            Ok(None) => return Err(JobFileError::TooLong { file }),
            Err(cause) => return Err(JobFileError::Unreadable { file, cause }),
        };
        let spec = match changes.is_empty() {
            true => parse(&file, &text)?,
            false => {
                let mut job: serde_json::Value = parse(&file, &text)?;
                changes.apply(&mut job)?;
                let changed = serde_json::from_value(job);
                changed.map_err(|cause| JobFileError::Changed { file: file.clone(), cause })?
            }
        };
        Self::of(file, spec)
    }

    /// Checks a job, all but its paths, which are relative to where `file` is.
    pub(crate) fn of(file: PathBuf, mut spec: JobSpec) -> Result<Self, JobFileError> {
        // As shells complete folders.
        spec.input.iter_mut().chain([&mut spec.output]).for_each(cut_slashes);
        if let Err(cause) = check_name(&spec.name) {
            return Err(JobFileError::Name { file, cause });
        }
        if spec.input.is_empty() {
            return Err(JobFileError::NoInput { file });
        }
        if let Err(cause) = builtins::check(&spec) {
            return Err(JobFileError::Program { file, cause });
        }
        if let Program::Builtin(builtin) = &spec.program
            && let Err(cause) = mapreduce::runtime::builtin(&builtin.name, &builtin.args)
        {
            return Err(JobFileError::Builtin { file, cause });
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
        jobtracker::validate(spec).map(drop).map_err(|cause| JobFileError::Invalid {
            file: self.path.clone(),
            cause: Box::new(cause),
        })
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
            let file = || self.path.clone();
            if StoreUrl::is_url(path) {
                let url = path.parse::<StoreUrl>().map(drop);
                return url.map_err(|cause| JobFileError::Url { file: file(), key, cause });
            }
            let path = StoreUrl::without_own_scheme(path).parse::<StorePath>().map(drop);
            path.map_err(|cause| JobFileError::StorePath { file: file(), key, cause })
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
            if StoreUrl::is_url(local) || local.starts_with(OWN_SCHEME) {
                return Err(JobFileError::NotLocal { file: file.clone(), key, path: path.clone() });
            }
            let whole = std::path::absolute(folder.join(local));
            let text = whole.and_then(|whole| {
                let text = whole.to_str().map(str::to_owned);
                text.ok_or_else(|| std::io::Error::other("its path is not UTF-8"))
            });
            let input = path.clone();
            *path =
                text.map_err(|cause| JobFileError::Input { file: file.clone(), input, cause })?;
        }
        if let Some(stored) = spec.program.shipped().find(|it| stored(it).is_some()) {
            let (file, path) = (file.clone(), stored.path.clone());
            return Err(JobFileError::NotLocal { file, key: "files", path });
        }
        Ok(self)
    }

    /// Checks that the job can be run on local files: inputs that are there, and an output that is not.
    pub(crate) fn check_for_local(&self) -> Result<(), JobFileError> {
        let file = || self.path.clone();
        let output = &self.spec.output;
        for input in &self.spec.input {
            let (below, above) = (Path::new(output), Path::new(input));
            if below.starts_with(above) || above.starts_with(below) {
                let (output, input) = (output.clone(), input.clone());
                return Err(JobFileError::OutputOverlapsInput { file: file(), output, input });
            }
            if let Err(cause) = fs::metadata(input) {
                return Err(JobFileError::Input { file: file(), input: input.clone(), cause });
            }
        }
        // A dangling link exists, too.
        match fs::symlink_metadata(output) {
            Ok(_) => Err(JobFileError::OutputExists { file: file(), output: output.clone() }),
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
        checked.map_err(|cause| JobFileError::Shipped { file: self.path.clone(), shipped, cause })
    }

    /// The bytes of a file that the program brings along.
    pub(crate) fn read_shipped(&self, shipped: &ShippedFile) -> Result<Vec<u8>, JobFileError> {
        let shipped = self.beside(&shipped.path);
        let file = self.path.clone();
        let read = check_shipped(&shipped).and_then(|()| fs::read(&shipped));
        read.map_err(|cause| JobFileError::Shipped { file, shipped, cause })
    }

    /// The same job with the whole paths of the files that the program brings along, all of which are there.
    pub(crate) fn with_files_found(mut self) -> Result<Self, JobFileError> {
        let (folder, file) = (self.beside(""), self.path.clone());
        for it in self.spec.program.shipped_mut().filter(|it| stored(it).is_none()) {
            let shipped = folder.join(&it.path);
            let found = shipped.canonicalize().and_then(|path| {
                check_shipped(&path)?;
                fs::File::open(&path)?;
                let text = path.to_str().map(str::to_owned);
                text.ok_or_else(|| std::io::Error::other("its path is not UTF-8"))
            });
            it.path = found.map_err(|cause| JobFileError::Shipped {
                file: file.clone(),
                shipped,
                cause,
            })?;
        }
        Ok(self)
    }

    /// The bytes of the author's executable, if the program is native.
    pub(crate) fn read_executable(&self) -> Result<Option<Vec<u8>>, JobFileError> {
        let Some(executable) = self.executable() else { return Ok(None) };
        let file = self.path.clone();
        let read = fs::metadata(&executable).and_then(|found| Ok((found, fs::read(&executable)?)));
        match read {
            Err(cause) => Err(JobFileError::Executable { file, executable, cause }),
            Ok((_, bytes)) if !bytes.starts_with(b"\x7fELF") && !bytes.starts_with(b"#!") => {
                Err(JobFileError::NoProgram { file, executable })
            }
            Ok((found, _)) if found.permissions().mode() & 0o111 == 0 => {
                Err(JobFileError::NotExecutable { file, executable })
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
    let parsed = serde_yaml::from_str(text).map_err(|cause| {
        let file = file.to_owned();
        let mut tokens = text.chars().filter(|c| !c.is_whitespace());
        match (tokens.next(), tokens.next()) {
            (Some('{'), Some('"')) => JobFileError::Json { file, cause: json },
            _ => JobFileError::Yaml { file, cause },
        }
    })?;
    let rewritten = serde_yaml::from_str(text)
        .and_then(|read| net::rewritten(&read, serde_yaml::Deserializer::from_str(text)));
    let rewritten = rewritten.unwrap_or_default().into_iter().find(|it| is_argument(&it.path));
    match rewritten {
        None => Ok(parsed),
        Some(cause) => Err(JobFileError::Argument { file: file.to_owned(), cause }),
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
