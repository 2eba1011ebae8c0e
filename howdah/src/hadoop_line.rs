//! Hadoop Streaming's command line → a job: what stood behind `hadoop jar hadoop-streaming.jar`. `howdah streaming` calls
//! it. Which property means what is in `hadoop_properties.rs`.
//!
//! What can't be done is an error that says what to do instead, if the job's result could be another without it, and a
//! warning otherwise.

use std::path::PathBuf;

use ids::OWN_SCHEME;
use mapreduce_protocol::streaming::Command;
use mapreduce_protocol::{JOB_NAME_CHARS_MAX, JobSpec, Program, ShippedFile, Streaming};

use crate::hadoop_names;
use crate::hadoop_properties::{self, Properties};

/// What Hadoop's command line says.
#[derive(Debug)]
pub(crate) struct HadoopLine {
    /// The job. Inputs may be patterns.
    pub(crate) spec: JobSpec,
    /// Read subfolders of the input, too.
    pub(crate) recursive: bool,
    /// Submit it and go.
    pub(crate) background: bool,
    /// The configuration file of this cluster, where it is named behind the other options.
    pub(crate) config: Option<String>,
    /// What is not heeded, for people.
    pub(crate) warnings: Vec<String>,
}

/// Why a line can't be understood, or its job can't be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HadoopLineError {
    /// An option that nobody knows.
    #[error(
        "{option} is no option of Hadoop Streaming{meant}: `howdah streaming --help` lists them",
        option = .0, meant = meant(.0)
    )]
    Unknown(String),
    /// An option without its value.
    #[error("{0} needs a value")]
    NoValue(String),
    /// An option that must be there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An option that was given twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// An option that can't be done here.
    #[error("{option} is not supported: {instead}")]
    Unsupported {
        /// The option, with its value.
        option: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// A value that is none.
    #[error("{option} {value:?}: {wanted}")]
    Value {
        /// The option or property.
        option: String,
        /// As given.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
}

/// The options that are understood.
const OPTIONS: &[&str] = &[
    "-input",
    "-output",
    "-mapper",
    "-combiner",
    "-reducer",
    "-file",
    "-files",
    "-archives",
    "-cmdenv",
    "-numReduceTasks",
    "-D",
    "-jobconf",
    "--config",
    "-partitioner",
    "-inputformat",
    "-outputformat",
    "-inputreader",
    "-io",
    "-cacheFile",
    "-cacheArchive",
    "-mapdebug",
    "-reducedebug",
    "-background",
    "-verbose",
    "-lazyOutput",
];

fn meant(given: &str) -> String {
    let nearest = net::nearest(given, OPTIONS.iter().copied());
    nearest.map_or_else(String::new, |option| format!(" (did you mean {option}?)"))
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    inputs: Vec<String>,
    output: Option<String>,
    streaming: Streaming,
    /// Number of reduces that an option says, not a property.
    reduces: Option<u32>,
    partitioner: Option<String>,
    properties: Properties,
    background: bool,
    config: Option<String>,
    warnings: Vec<String>,
}

/// Reads the arguments behind `howdah streaming`.
pub(crate) fn parse(arguments: &[String]) -> Result<HadoopLine, HadoopLineError> {
    let mut reading = Reading::default();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        let option = argument.strip_prefix('-').filter(|name| !name.is_empty());
        let name = option.ok_or_else(|| HadoopLineError::Unknown(argument.clone()))?;
        if let Some(property) = name.strip_prefix('D').filter(|it| it.contains('=')) {
            reading.property(property)?;
            continue;
        }
        if reading.flag(name) {
            continue;
        }
        let mut value = || rest.next().ok_or_else(|| HadoopLineError::NoValue(argument.clone()));
        reading.option(name, value()?)?;
        // As many as there are.
        while matches!(name, "input" | "file")
            && let Some(more) = rest.next_if(|it| !it.starts_with('-'))
        {
            reading.option(name, more)?;
        }
    }
    reading.finish()
}

/// A command whose first word is the path of a file that is shipped: in its folder the file has another name (Hadoop:
/// `unqualifyIfLocalPath`).
fn unqualified(command: &str, files: &[ShippedFile]) -> String {
    let command = command.trim_start();
    let (program, arguments) = command.split_at(command.find([' ', '\t']).unwrap_or(command.len()));
    let named = canonical(program);
    match files.iter().find(|file| canonical(&file.path) == named) {
        Some(file) if is_plain_word(&file.name) => format!("{}{arguments}", file.name),
        _ => command.to_owned(),
    }
}

/// Which file a path names, be it there or not.
fn canonical(path: &str) -> PathBuf {
    let found = std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    found.unwrap_or_else(|_| path.into())
}

/// Whether neither quotes nor a shell would read anything else in it.
fn is_plain_word(word: &str) -> bool {
    word.chars().all(|c| c.is_alphanumeric() || "._-+@%,:/".contains(c))
}

/// `a,b`, as Hadoop's lists are.
fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|part| !part.is_empty())
}

fn unsupported(name: &str, value: &str, instead: &'static str) -> HadoopLineError {
    HadoopLineError::Unsupported { option: format!("-{name} {value}"), instead }
}

/// The last part of a class' name.
pub(crate) fn class(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

impl Reading {
    fn input(&mut self, text: &str) {
        // In a pattern's braces, commas are its own.
        match text.contains('{') {
            true => self.inputs.push(place(text)),
            false => self.inputs.extend(list(text).map(place)),
        }
    }

    /// Options without a value.
    fn flag(&mut self, name: &str) -> bool {
        match name {
            "background" => self.background = true,
            "verbose" | "debug" => {}
            "lazyOutput" => self.warn("-lazyOutput: parts without lines are written all the same"),
            _ => return false,
        }
        true
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    fn property(&mut self, text: &str) -> Result<(), HadoopLineError> {
        let (name, value) = text.split_once('=').ok_or_else(|| HadoopLineError::Value {
            option: "-D".to_owned(),
            value: text.to_owned(),
            wanted: "write NAME=VALUE",
        })?;
        self.properties.set(name.trim(), value);
        Ok(())
    }

    fn option(&mut self, name: &str, value: &str) -> Result<(), HadoopLineError> {
        match name {
            "input" => {
                self.input(value);
                Ok(())
            }
            "output" => set(&mut self.output, "-output", place(value)),
            "mapper" => {
                let command = command(name, value, "IdentityMapper")?;
                set(&mut self.streaming.mapper, "-mapper", command)
            }
            "combiner" => {
                let command = command(name, value, "IdentityReducer")?;
                set(&mut self.streaming.combiner, "-combiner", command)
            }
            "reducer" => {
                let command = command(name, value, "IdentityReducer")?;
                set(&mut self.streaming.reducer, "-reducer", command)
            }
            "file" | "files" => {
                for file in list(value) {
                    self.streaming.files.push(shipped(name, file)?);
                }
                Ok(())
            }
            "archives" => {
                for archive in list(value) {
                    self.streaming.archives.push(shipped(name, archive)?);
                }
                Ok(())
            }
            "cmdenv" => {
                let (name, value) =
                    value.split_once('=').ok_or_else(|| HadoopLineError::Value {
                        option: "-cmdenv".to_owned(),
                        value: value.to_owned(),
                        wanted: "write NAME=VALUE",
                    })?;
                self.streaming.env.insert(name.to_owned(), value.to_owned());
                Ok(())
            }
            "numReduceTasks" => {
                let number = hadoop_properties::number("-numReduceTasks", value)?;
                set(&mut self.reduces, "-numReduceTasks", number)
            }
            "D" | "jobconf" => self.property(value),
            "-config" => set(&mut self.config, "--config", value.to_owned()),
            "partitioner" => set(&mut self.partitioner, "-partitioner", value.to_owned()),
            _ => self.foreign(name, value),
        }
    }

    /// Options that name classes and places of Hadoop's.
    fn foreign(&mut self, name: &str, value: &str) -> Result<(), HadoopLineError> {
        match (name, class(value)) {
            ("inputformat", "TextInputFormat" | "CombineTextInputFormat") => Ok(()),
            ("inputformat", "KeyValueTextInputFormat" | "NLineInputFormat") => {
                self.properties.set(hadoop_names::INPUT_FORMAT, value);
                Ok(())
            }
            ("outputformat", "TextOutputFormat") => Ok(()),
            ("outputformat", "NullOutputFormat") => {
                self.properties.set(hadoop_names::OUTPUT_FORMAT, value);
                Ok(())
            }
            ("inputformat" | "inputreader", _) => {
                Err(unsupported(name, value, hadoop_properties::TEXT_INPUT))
            }
            ("outputformat", _) => Err(unsupported(name, value, hadoop_properties::TEXT_OUTPUT)),
            ("io", "text") => Ok(()),
            ("io", _) => Err(unsupported(name, value, "commands read and write lines (-io text)")),
            ("cacheFile", _) => self.option("files", value),
            ("cacheArchive", _) => self.option("archives", value),
            ("conf" | "additionalconfspec", _) => {
                Err(unsupported(name, value, "write the properties of that file as -D NAME=VALUE"))
            }
            ("fs" | "jt" | "dfs", _) => Err(unsupported(
                name,
                value,
                "name the cluster's configuration file with --config, or run `howdah local` with a job file",
            )),
            ("libjars", _) => Err(unsupported(name, value, "classes can't be run; write commands")),
            ("mapdebug" | "reducedebug", _) => {
                let option = format!("-{name} {value}");
                self.warn(format!(
                    "{option}: no script runs on failures; `howdah job logs` has what was written"
                ));
                Ok(())
            }
            _ => Err(HadoopLineError::Unknown(format!("-{name}"))),
        }
    }

    fn finish(mut self) -> Result<HadoopLine, HadoopLineError> {
        if self.inputs.is_empty() {
            return Err(HadoopLineError::Missing("-input"));
        }
        let output = self.output.take().ok_or(HadoopLineError::Missing("-output"))?;
        // Absent, or a class that does nothing.
        for command in
            [&mut self.streaming.mapper, &mut self.streaming.combiner, &mut self.streaming.reducer]
        {
            *command = command.take().filter(|it| !it.is_empty());
            *command = command.take().map(|it| unqualified(&it, &self.streaming.files));
        }
        let mut spec = JobSpec::new(
            name_of(&self.streaming),
            self.inputs,
            output,
            Program::Streaming(Box::default()),
        );
        let mut streaming = self.streaming;
        if let Some(given) = self.partitioner {
            self.properties.set(hadoop_names::PARTITIONER, &given);
        }
        let recursive = self.properties.take_recursive()?;
        self.properties.apply(&mut spec, &mut streaming, &mut self.warnings)?;
        if self.reduces.is_some() {
            spec.reduces = self.reduces;
        }
        if streaming.is_map_only() || spec.reduces == Some(0) {
            streaming.reducer = Some("NONE".to_owned());
            spec.reduces = None;
            streaming.forget_reduces();
        } else {
            // Without a reducer Hadoop has one that passes records on.
            spec.reduces = spec.reduces.or(Some(1));
        }
        if streaming.mapper.is_none() && streaming.reducer.as_deref().is_none_or(|it| it == "NONE")
        {
            streaming.mapper = Some("cat".to_owned());
        }
        spec.program = Program::Streaming(Box::new(streaming));
        let Self { background, config, warnings, .. } = self;
        Ok(HadoopLine { spec, recursive, background, config, warnings })
    }
}

fn set<T>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), HadoopLineError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(HadoopLineError::Twice(name)),
    }
}

/// A command, or nothing for the class that passes all on.
fn command(name: &str, value: &str, identity: &str) -> Result<String, HadoopLineError> {
    let is_class = value.starts_with("org.apache.hadoop.") && !value.contains(' ');
    match value {
        _ if is_class && class(value) == identity => Ok(String::new()),
        "aggregate" => {
            Err(unsupported(name, value, "write a command that sums up, such as an awk program"))
        }
        _ if is_class => Err(unsupported(name, value, "classes can't be run; write a command")),
        _ => Ok(Command::of_hadoop(value)),
    }
}

/// A local file, or one of the chunk store.
fn shipped(name: &str, file: &str) -> Result<ShippedFile, HadoopLineError> {
    let local = file.strip_prefix("file://").unwrap_or(file);
    let text = match place(file) {
        path if path != file => format!("{OWN_SCHEME}{path}"),
        _ if local.contains("://") && !local.starts_with(OWN_SCHEME) => {
            let instead = "fetch the file and name the local copy";
            return Err(unsupported(name, file, instead));
        }
        _ => local.to_owned(),
    };
    Ok(text.parse().expect("every text is one"))
}

/// A path without the name of Hadoop's cluster.
fn place(text: &str) -> String {
    match text.strip_prefix("hdfs://") {
        Some(rest) => rest.find('/').map_or_else(|| "/".to_owned(), |at| rest[at..].to_owned()),
        None => text.to_owned(),
    }
}

fn name_of(streaming: &Streaming) -> String {
    let command = streaming.mapper.as_deref().or(streaming.reducer.as_deref()).unwrap_or_default();
    let name = format!("streaming: {command}");
    let plain = name.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(JOB_NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::{InputFormat, Priority};

    use super::*;

    fn words(line: &str) -> Vec<String> {
        match line.parse().unwrap() {
            mapreduce_protocol::streaming::Command::Words(words) => words,
            mapreduce_protocol::streaming::Command::Shell(line) => panic!("{line}"),
        }
    }

    fn parsed(line: &str) -> (JobSpec, Streaming, Vec<String>) {
        let line = parse(&words(line)).unwrap();
        let Program::Streaming(streaming) = line.spec.program.clone() else {
            panic!("{:?}", line.spec)
        };
        (line.spec, *streaming, line.warnings)
    }

    #[test]
    fn a_line_of_hadoop_1_is_a_job() {
        let (spec, streaming, warnings) = parsed(
            "-D mapred.job.name=count -D mapred.reduce.tasks=3 -Dmapred.job.priority=VERY_HIGH -files a.py,b.py#c.py \
             -archives lib.tgz#lib -input /in/a /in/b,/in/c -input hdfs://master:9000/in/d -output /out \
             -mapper 'python3 a.py' -combiner c.py -reducer 'c.py -x' -file d.txt -cmdenv 'A=b c' -cmdenv B= \
             -jobconf stream.num.map.output.key.fields=2 -D mapred.some.thing=1",
        );
        assert_eq!(spec.name, "count");
        assert_eq!(spec.input, ["/in/a", "/in/b", "/in/c", "/in/d"]);
        assert_eq!((spec.reduces, spec.priority), (Some(3), Some(Priority::VeryHigh)));
        let of = |files: &[ShippedFile]| {
            files.iter().map(|it| format!("{}#{}", it.path, it.name)).collect::<Vec<_>>()
        };
        assert_eq!(of(&streaming.files), ["a.py#a.py", "b.py#c.py", "d.txt#d.txt"]);
        assert_eq!(of(&streaming.archives), ["lib.tgz#lib"]);
        let cached = "-input /in -output /out -mapper cat -files hdfs://h:9000/a/x#y,file:///b/z \
                      -cacheFile hdfs:///c/w -cacheArchive howdah:///d/l.zip";
        let (_, cached, _) = parsed(cached);
        assert_eq!(of(&cached.files), ["howdah:///a/x#y", "/b/z#z", "howdah:///c/w#w"]);
        assert_eq!(of(&cached.archives), ["howdah:///d/l.zip#l.zip"]);
        assert_eq!(streaming.mapper.as_deref(), Some("python3 a.py"));
        assert_eq!(streaming.reducer.as_deref(), Some("c.py -x"));
        assert_eq!(streaming.env["A"], "b c");
        assert_eq!(streaming.map_output_key_fields, Some(2));
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("mapred.some.thing"), "{warnings:?}");
    }

    #[test]
    fn fields_count_with_the_classes_that_heed_them() {
        let options = "-input /in -output /out -mapper cat -D stream.num.map.output.key.fields=4 \
                       -D stream.map.output.field.separator=. -D map.output.key.field.separator=. ";
        let (_, streaming, warnings) = parsed(&format!(
            "{options} -D mapreduce.partition.keypartitioner.options=-k1,2 -partitioner \
             org.apache.hadoop.mapred.lib.KeyFieldBasedPartitioner -D mapred.text.key.comparator.options=-k2,2nr \
             -D mapred.output.key.comparator.class=org.apache.hadoop.mapred.lib.KeyFieldBasedComparator"
        ));
        assert_eq!(streaming.partition.as_deref(), Some("-k1,2"));
        assert_eq!(streaming.sort.as_deref(), Some("-k2,2nr"));
        assert_eq!(streaming.key_separator.as_deref(), Some("."));
        assert!(warnings.is_empty(), "{warnings:?}");
        let (_, streaming, warnings) = parsed(&format!(
            "{options} -D num.key.fields.for.partition=2 -D mapreduce.partition.keycomparator.options=-n"
        ));
        assert_eq!((streaming.partition, streaming.sort), (None, None));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        // The number of fields comes before the options, and 0 is none.
        let by_fields = "-partitioner KeyFieldBasedPartitioner \
                         -D mapreduce.partition.keypartitioner.options=-k3,3 \
                         -D num.key.fields.for.partition=";
        for (fields, expected) in [(2, "-k1,2"), (0, "-k3,3")] {
            let (_, streaming, warnings) = parsed(&format!("{options} {by_fields}{fields}"));
            assert_eq!(streaming.partition.as_deref(), Some(expected));
            assert!(warnings.is_empty(), "{warnings:?}");
        }
        let hashed =
            "-partitioner HashPartitioner -D mapreduce.partition.keypartitioner.options=-k3,3";
        let (_, streaming, warnings) = parsed(&format!("{options} {hashed}"));
        assert_eq!(streaming.partition, None);
        assert!(warnings[0].contains("-k3,3 are not heeded"), "{warnings:?}");
    }

    #[test]
    fn a_command_that_is_the_path_of_a_shipped_file_is_its_name() {
        let commands = |line: &str| {
            let (_, streaming, _) = parsed(&format!("-input /in -output /out {line}"));
            let files: Vec<_> = streaming.files.iter().map(|it| it.name.clone()).collect();
            (streaming.mapper.unwrap(), streaming.reducer.unwrap_or_default(), files.join(" "))
        };
        let of = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(
            commands(
                "-file /home/me/map.py /home/me/r.py -mapper /home/me/map.py -reducer '/home/me/r.py -x /home/me/map.py'"
            ),
            of("map.py", "r.py -x /home/me/map.py", "map.py r.py")
        );
        assert_eq!(
            commands("-mapper ./map.py -files map.py#m,src/r.py -reducer 'src/r.py | sort'"),
            of("m", "r.py | sort", "m r.py")
        );
        // Not shipped: a program that all hosts have. Nor is a word changed behind the first.
        assert_eq!(
            commands("-mapper /bin/cat -file /home/me/cat -reducer 'python3 /home/me/cat'"),
            of("/bin/cat", "python3 /home/me/cat", "cat")
        );
        // By another way to the same file.
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        std::fs::write(format!("{folder}/m"), "").unwrap();
        std::os::unix::fs::symlink("m", format!("{folder}/l")).unwrap();
        let (mapper, ..) = commands(&format!("-mapper {folder}/l -file {folder}/../m {folder}/m"));
        assert_eq!(mapper, "m");
    }

    #[test]
    fn properties_that_would_change_the_result_are_refused_and_defaults_are_not() {
        let line = "-input /in -output /out -mapper cat ";
        for refused in [
            "stream.map.input=typedbytes",
            "stream.map.output=rawbytes",
            "stream.reduce.input=typedbytes",
            "stream.reduce.output=org.apache.hadoop.streaming.io.RawBytesOutputReader",
            "stream.map.input.writer.class=x.Mine",
            "stream.map.input.ignoreKey=false",
            "stream.recordreader.class=StreamXmlRecordReader,begin=<a>,end=</a>",
            "mapred.input.format.class=org.apache.hadoop.mapred.SequenceFileInputFormat",
            "mapreduce.job.inputformat.class=NLineInputFormat",
            "mapred.output.format.class=org.apache.hadoop.mapred.SequenceFileOutputFormat",
            "textinputformat.record.delimiter=;",
            "mapred.mapper.class=x.Mine",
            "mapreduce.job.reduce.class=x.Mine",
        ] {
            let error = parse(&words(&format!("{line} -D '{refused}'"))).unwrap_err().to_string();
            assert!(error.contains(refused.split_once('=').unwrap().1), "{refused}: {error}");
        }
        for fine in [
            "stream.map.input=text",
            "stream.reduce.output=text",
            "stream.map.output=org.apache.hadoop.streaming.io.TextOutputReader",
            "stream.map.input.ignoreKey=true",
            "mapred.input.format.class=org.apache.hadoop.mapred.TextInputFormat",
            "mapred.input.format.class=KeyValueTextInputFormat",
            "mapreduce.job.outputformat.class=org.apache.hadoop.mapreduce.lib.output.TextOutputFormat",
        ] {
            let (_, _, warnings) = parsed(&format!("{line} -D {fine}"));
            assert!(warnings.is_empty(), "{fine}: {warnings:?}");
        }
        // Of a separator, the first character counts.
        let separator = "-D key.value.separator.in.input.line=";
        let format = "-inputformat KeyValueTextInputFormat";
        for (given, expected) in [("'\t'", "\t"), (",x", ","), ("", "\t")] {
            let (spec, _, warnings) = parsed(&format!("{line} {separator}{given} {format}"));
            let separator = expected.to_owned();
            assert_eq!(spec.input_format, Some(InputFormat::KeyValue { separator }));
            assert!(warnings.is_empty(), "{warnings:?}");
        }
        let (_, _, warnings) = parsed(&format!("{line} {separator}, "));
        assert!(warnings[0].contains("as in Hadoop"), "{warnings:?}");
    }

    #[test]
    fn jobs_without_reducers_are_what_they_are_in_hadoop() {
        let reduces = |line: &str| {
            let (spec, streaming, _) = parsed(&format!("-input /in -output /out {line}"));
            (spec.reduces, streaming.is_map_only(), streaming.mapper)
        };
        let cat = || Some("cat".to_owned());
        assert_eq!(reduces("-mapper cat"), (Some(1), false, cat()));
        assert_eq!(reduces("-mapper cat -reducer NONE"), (None, true, cat()));
        assert_eq!(
            reduces("-mapper cat -reducer wc -numReduceTasks 0 -combiner wc"),
            (None, true, cat())
        );
        assert_eq!(reduces("-reducer wc -D mapreduce.job.reduces=2"), (Some(2), false, None));
        assert_eq!(
            reduces("-mapper org.apache.hadoop.mapred.lib.IdentityMapper"),
            (Some(1), false, cat())
        );
    }

    #[test]
    fn what_can_not_be_done_says_what_can() {
        let line = "-input /in -output /out -mapper cat ";
        for (options, expected) in [
            ("-inputformat SequenceFileAsTextInputFormat", "lines of text"),
            ("-outputformat SequenceFileOutputFormat", "text"),
            ("-io typedbytes", "-io text"),
            ("-files s3://b/x#y", "local copy"),
            ("-cacheFile ftp://h/x#y", "local copy"),
            ("-jt local", "--config"),
            ("-partitioner com.example.Mine", "KeyFieldBasedPartitioner"),
            ("-reducer aggregate", "awk"),
            ("-reducer org.example", "x"),
            ("-reducer org.apache.hadoop.mapred.lib.LongSumReducer", "write a command"),
            ("-numReduceTasks many", "whole number"),
            ("-mapredtask x", "-mapredtask is no option of Hadoop Streaming: "),
            ("-maper x", "-maper is no option of Hadoop Streaming (did you mean -mapper?)"),
            ("--input x", "(did you mean -input?)"),
            ("-D x", "NAME=VALUE"),
            ("-cmdenv x", "NAME=VALUE"),
            ("-output /twice", "-output is given twice"),
            ("-numReduceTasks", "needs a value"),
            ("word", "word is no option"),
            ("-D mapred.job.priority=URGENT", "VERY_HIGH"),
            (
                "-D mapreduce.job.output.key.comparator.class=com.example.Mine",
                "KeyFieldBasedComparator",
            ),
        ] {
            match parse(&words(&format!("{line}{options}"))) {
                Err(error) => assert!(error.to_string().contains(expected), "{options}: {error}"),
                Ok(line) => assert_eq!(options, "-reducer org.example", "{line:?}"),
            }
        }
        assert!(
            parse(&words("-input /in -mapper cat")).unwrap_err().to_string().contains("-output")
        );
        assert!(
            parse(&words("-output /in -mapper cat")).unwrap_err().to_string().contains("-input")
        );
    }
}
