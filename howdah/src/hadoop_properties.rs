//! Properties of Hadoop (`-D NAME=VALUE`), under the names of both its families, and what of a job they are.

use std::collections::BTreeMap;
use std::time::Duration;

use mapreduce_protocol::streaming::LineEnds;
use mapreduce_protocol::{
    ByteSize, InputFormat, JobSpec, MapOutputCompression, OutputCompression, OutputFormat,
    Priority, SILENCE_MAX, SILENCE_MIN, Share, Streaming, TaskLimits, TimeSpan,
};

use crate::hadoop_line::{HadoopLineError, class};
use crate::hadoop_names::{
    CODEC, COMBINED, COMPRESS, IGNORE_KEY, INPUT_FORMAT, INPUT_SEPARATOR, KEY_VALUE, LINE_ENDS,
    LINES_PER_MAP, MAP_CODEC, MAP_COMPRESS, MAP_INPUT_SEPARATOR, N_LINES, NEW_NAMES, OUTPUT_FORMAT,
    PARTIAL_INPUT, PARTITIONER, RECURSIVE, SLOWSTART, TASK_TIMEOUT, TRAILING_SEPARATOR,
};
use crate::hadoop_skips;

/// Of no meaning here, and no loss: the last one is of formats that are not here.
const IDLE: &[&str] =
    &["mapred.used.genericoptionsparser", "mapreduce.output.fileoutputformat.compress.type"];

/// What the cluster's configuration decides for all jobs.
const CLUSTER: &[(&str, &str)] = &[
    ("mapreduce.task.io.sort.mb", "task.sort_buffer"),
    ("mapreduce.task.io.sort.factor", "task.merge_factor"),
    ("mapreduce.reduce.shuffle.parallelcopies", "task.parallel_fetches"),
    ("mapreduce.reduce.shuffle.input.buffer.percent", "task.fetch_buffer"),
    ("dfs.replication", "chunkmaster.replication"),
    ("dfs.blocksize", "chunkmaster.chunk_bytes"),
];

/// Those without which the job's result is the same, and what decides here instead.
const UNHEEDED: &[(&str, &str)] = &[
    ("mapreduce.job.maps", SPLITS),
    ("mapreduce.input.fileinputformat.split.maxsize", SPLITS),
    ("mapreduce.input.fileinputformat.split.minsize", SPLITS),
    (
        "mapreduce.task.skip.start.attempts",
        "a record is left out when two attempts have failed at it",
    ),
    (
        "mapreduce.job.skip.outdir",
        "what is left out is beside the parts of the output, as _skipped-m-00000",
    ),
    ("mapreduce.job.jvm.numtasks", "each attempt has a process of its own"),
];

const SPLITS: &str =
    "each chunk of the input is a map's, or jobtracker.split_bytes of it, where that is less";

/// Those with which the job's result would be another, the values that are what is done here (of a class the last part
/// of its name), and what to do instead.
const GUARDED: &[(&str, &[&str], &str)] = &[
    ("stream.map.input", &["text", "TextInputWriter"], LINES),
    ("stream.map.output", &["text", "TextOutputReader"], LINES),
    ("stream.reduce.input", &["text", "TextInputWriter"], LINES),
    ("stream.reduce.output", &["text", "TextOutputReader"], LINES),
    ("stream.map.input.writer.class", &["TextInputWriter"], LINES),
    ("stream.map.output.reader.class", &["TextOutputReader"], LINES),
    ("stream.reduce.input.writer.class", &["TextInputWriter"], LINES),
    ("stream.reduce.output.reader.class", &["TextOutputReader"], LINES),
    (IGNORE_KEY, &["true"], "a mapper gets lines without their offset (true)"),
    ("stream.recordreader.class", &[], TEXT_INPUT),
    (INPUT_FORMAT, &["TextInputFormat", COMBINED], TEXT_INPUT),
    ("mapreduce.input.pathFilter.class", &[""], PATHS),
    ("mapreduce.input.linerecordreader.line.maxlength", &["", "2147483647"], LONG_LINES),
    ("textinputformat.record.delimiter", &["\n", "\\n"], TEXT_INPUT),
    (OUTPUT_FORMAT, &["TextOutputFormat"], TEXT_OUTPUT),
    ("mapreduce.map.failures.maxpercent", &["0"], ALL_OR_NOTHING),
    ("mapreduce.reduce.failures.maxpercent", &["0"], ALL_OR_NOTHING),
    ("mapreduce.map.env", &[""], ENVIRONMENT),
    ("mapreduce.reduce.env", &[""], ENVIRONMENT),
    ("mapred.child.env", &[""], ENVIRONMENT),
    ("mapreduce.job.map.class", &["PipeMapper", "IdentityMapper"], COMMANDS),
    ("mapreduce.job.combine.class", &["PipeCombiner"], COMMANDS),
    ("mapreduce.job.reduce.class", &["PipeReducer", "IdentityReducer"], COMMANDS),
];

const CODECS: &str = "write GzipCodec, BZip2Codec, ZStandardCodec, Lz4Codec or SnappyCodec";

const LINES: &str = "commands read and write lines (text)";

const PATHS: &str = "classes can't be run; name the files by patterns (-input '/in/2026-*')";

const LONG_LINES: &str =
    "lines of any length are read (up to 1 GiB); leave long ones out in the mapper";

const OFFSETS: &str =
    "a mapper gets lines without their offset: say so with -D stream.map.input.ignoreKey=true";

pub(crate) const TEXT_INPUT: &str = "records are lines of text (TextInputFormat, KeyValueTextInputFormat, NLineInputFormat); turn other files into lines first";

pub(crate) const TEXT_OUTPUT: &str = "the output is lines of text, or nothing (TextOutputFormat, NullOutputFormat); a job file has other formats, too";

const ALL_OR_NOTHING: &str = "no part of an output may be missing (0): have the command skip what it can't work with, and count it";

const ENVIRONMENT: &str =
    "write -cmdenv NAME=VALUE for each variable; all commands of the job get it";

const COMMANDS: &str = "classes can't be run; write commands (-mapper, -combiner, -reducer)";

/// Names, those of Hadoop 2, and values.
#[derive(Default)]
pub(crate) struct Properties(BTreeMap<String, String>);

impl Properties {
    /// The last one counts.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let renamed = NEW_NAMES.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new);
        self.0.insert(renamed.to_owned(), value.to_owned());
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn take_number(&mut self, name: &str) -> Result<Option<u32>, HadoopLineError> {
        self.take(name).map(|value| number(name, &value)).transpose()
    }

    /// Refuses what would change the result.
    fn check_guarded(&mut self) -> Result<(), HadoopLineError> {
        for (name, accepted, instead) in GUARDED {
            if let Some(value) = self.take(name).filter(|value| !accepted.contains(&class(value))) {
                return Err(wrong(name, &value, instead));
            }
        }
        Ok(())
    }

    fn take_bool(&mut self, name: &str) -> Result<Option<bool>, HadoopLineError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(wrong(name, &value, "write true or false")),
        }
    }

    /// Says all that it can of the job; the rest becomes warnings.
    pub(crate) fn apply(
        mut self,
        spec: &mut JobSpec,
        streaming: &mut Streaming,
        warnings: &mut Vec<String>,
    ) -> Result<(), HadoopLineError> {
        self.apply_to_formats(spec, warnings)?;
        self.check_guarded()?;
        self.apply_to_job(spec, warnings)?;
        self.apply_to_records(streaming)?;
        self.apply_to_keys(streaming, warnings)?;
        self.0.retain(|name, _| !IDLE.contains(&name.as_str()));
        warnings.extend(self.0.iter().map(|(name, value)| {
            let of = |table: &[(&str, &'static str)]| {
                table.iter().find(|(known, _)| known == name).map(|(_, instead)| *instead)
            };
            let instead = match of(CLUSTER) {
                Some(key) => format!("{key} of the cluster's configuration counts, for all jobs"),
                None => of(UNHEEDED).unwrap_or("nothing here is called so").to_owned(),
            };
            format!("-D {name}={value} is not heeded: {instead}")
        }));
        Ok(())
    }

    /// What records are, and how they are written.
    fn apply_to_formats(
        &mut self,
        spec: &mut JobSpec,
        warnings: &mut Vec<String>,
    ) -> Result<(), HadoopLineError> {
        let separator = self.take(INPUT_SEPARATOR);
        let lines = self.take_number(LINES_PER_MAP)?;
        match self.0.get(INPUT_FORMAT).map(|it| class(it)) {
            Some(KEY_VALUE) => {
                // Of a text, the first character counts, as in Hadoop.
                let first = match separator.as_deref() {
                    None | Some("" | "\\t") => '\t',
                    Some(text) => text.chars().next().unwrap_or('\t'),
                };
                spec.input_format = Some(InputFormat::KeyValue { separator: first.into() });
                self.check_key_for_mapper()?;
                self.take(INPUT_FORMAT);
                idle_lines(lines, warnings);
            }
            Some(format @ (N_LINES | COMBINED))
                if self.0.get(IGNORE_KEY).is_none_or(|it| it != "true") =>
            {
                return Err(wrong(INPUT_FORMAT, format, OFFSETS));
            }
            Some(N_LINES) => {
                let per_split = lines.unwrap_or(1).max(1);
                spec.input_format = Some(InputFormat::Lines { per_split });
                self.take(INPUT_FORMAT);
                idle_separator(separator, warnings);
            }
            _ => {
                idle_separator(separator, warnings);
                idle_lines(lines, warnings);
            }
        }
        // As in Hadoop, of lines without a key nothing is separated.
        idle(self.take(MAP_INPUT_SEPARATOR), "separators for mappers:", BY_KEY_VALUE, warnings);
        if self.0.get(OUTPUT_FORMAT).is_some_and(|it| class(it) == "NullOutputFormat") {
            spec.output_format = Some(OutputFormat::Null);
            self.take(OUTPUT_FORMAT);
        }
        self.apply_to_compression(spec, warnings)
    }

    /// A mapper of lines that are cut into key and value gets both, with a tab between them.
    fn check_key_for_mapper(&mut self) -> Result<(), HadoopLineError> {
        if let Some(value) = self.take(IGNORE_KEY).filter(|value| value != "false") {
            let wanted = "with KeyValueTextInputFormat a mapper gets key, tab, value (false): leave the key out there, as cut -f2- does";
            return Err(wrong(IGNORE_KEY, &value, wanted));
        }
        if let Some(value) =
            self.take(MAP_INPUT_SEPARATOR).filter(|it| !matches!(it.as_str(), "\t" | "\\t"))
        {
            return Err(wrong(
                MAP_INPUT_SEPARATOR,
                &value,
                "a mapper gets a tab between key and value",
            ));
        }
        Ok(())
    }

    fn apply_to_compression(
        &mut self,
        spec: &mut JobSpec,
        warnings: &mut Vec<String>,
    ) -> Result<(), HadoopLineError> {
        let (is_on, codec) = (self.take_bool(COMPRESS)?, self.take(CODEC));
        if is_on == Some(true) {
            let compression = match codec.as_deref().map(class) {
                None | Some("GzipCodec") => OutputCompression::Gzip,
                Some("DefaultCodec" | "DeflateCodec") => {
                    warnings.push(
                        "parts are compressed by gzip, not as bare zlib (.deflate)".to_owned(),
                    );
                    OutputCompression::Gzip
                }
                Some("BZip2Codec") => OutputCompression::Bzip2,
                Some("ZStandardCodec") => OutputCompression::Zstd,
                Some("Lz4Codec") => OutputCompression::Lz4,
                Some("SnappyCodec") => OutputCompression::Snappy,
                Some(_) => return Err(wrong(CODEC, &codec.unwrap_or_default(), CODECS)),
            };
            spec.output_compression = Some(compression);
        } else {
            idle(
                codec,
                "codecs of the output:",
                "-D mapreduce.output.fileoutputformat.compress=true",
                warnings,
            );
        }
        let (is_on, codec) = (self.take_bool(MAP_COMPRESS)?, self.take(MAP_CODEC));
        if is_on == Some(true) {
            spec.map_output_compression = Some(match codec.as_deref().map(class) {
                Some("ZStandardCodec" | "GzipCodec" | "BZip2Codec") => MapOutputCompression::Zstd,
                _ => MapOutputCompression::Lz4,
            });
        } else {
            idle(
                codec,
                "codecs of map outputs:",
                "-D mapreduce.map.output.compress=true",
                warnings,
            );
        }
        Ok(())
    }

    /// Whether subfolders are to be read.
    pub(crate) fn take_recursive(&mut self) -> Result<bool, HadoopLineError> {
        Ok(self.take_bool(RECURSIVE)?.unwrap_or(false))
    }

    fn apply_to_job(
        &mut self,
        spec: &mut JobSpec,
        warnings: &mut Vec<String>,
    ) -> Result<(), HadoopLineError> {
        if let Some(name) = self.take("mapreduce.job.name") {
            spec.name = name;
        }
        spec.reduces = self.take_number("mapreduce.job.reduces")?;
        spec.pool = self.take("mapreduce.job.queuename");
        if let Some(value) = self.take("mapreduce.job.priority") {
            let known = value.to_lowercase().replace('_', "-").parse::<Priority>();
            let wanted = "write VERY_HIGH, HIGH, NORMAL, LOW or VERY_LOW";
            spec.priority =
                Some(known.map_err(|_| wrong("mapreduce.job.priority", &value, wanted))?);
        }
        let maps = self.take_number("mapreduce.map.maxattempts")?;
        spec.max_attempts = maps.max(self.take_number("mapreduce.reduce.maxattempts")?);
        spec.skip_records = hadoop_skips::allowed(|name| self.take(name), warnings)?;
        let maps = self.take_bool("mapreduce.map.speculative")?;
        // One switch for both kinds: whoever wants a command not to run twice at once is right.
        spec.speculative = match (maps, self.take_bool("mapreduce.reduce.speculative")?) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (maps, reduces) => maps.or(reduces),
        };
        let maps = self.take_number("mapreduce.map.memory.mb")?;
        let reduces = self.take_number("mapreduce.reduce.memory.mb")?;
        if let (Some(maps), Some(reduces)) = (maps, reduces)
            && maps != reduces
        {
            warnings.push(format!(
                "maps and reduces have one limit of memory here, the larger of {maps} and {reduces} MiB"
            ));
        }
        let memory = maps.max(reduces).map(|mib| ByteSize(u64::from(mib) << 20));
        let limits = TaskLimits { memory, silence: self.take_silence()?, ..TaskLimits::default() };
        spec.limits = Some(limits).filter(|limits| !limits.is_empty());
        self.apply_slowstart(spec)
    }

    fn take_silence(&mut self) -> Result<Option<TimeSpan>, HadoopLineError> {
        let Some(value) = self.take(TASK_TIMEOUT) else { return Ok(None) };
        let given = value.trim().parse().map(Duration::from_millis);
        let given = given.map_err(|_| wrong(TASK_TIMEOUT, &value, "write milliseconds"))?;
        // None at all, in Hadoop.
        let silence = if given.is_zero() { SILENCE_MAX } else { TimeSpan(given) };
        Ok(Some(silence.clamp(SILENCE_MIN, SILENCE_MAX)))
    }

    fn apply_slowstart(&mut self, spec: &mut JobSpec) -> Result<(), HadoopLineError> {
        if let Some(value) = self.take(SLOWSTART) {
            let share = value.trim().parse::<f64>().ok().and_then(|it| Share::try_from(it).ok());
            let wanted = "write a number from 0 to 1";
            spec.reduce_slowstart = Some(share.ok_or_else(|| wrong(SLOWSTART, &value, wanted))?);
        }
        Ok(())
    }

    fn apply_to_records(&mut self, streaming: &mut Streaming) -> Result<(), HadoopLineError> {
        streaming.map_output_separator = self.take("stream.map.output.field.separator");
        streaming.map_output_key_fields = self.take_number("stream.num.map.output.key.fields")?;
        streaming.reduce_input_separator = self.take("stream.reduce.input.field.separator");
        streaming.reduce_output_separator = self.take("stream.reduce.output.field.separator");
        streaming.reduce_output_key_fields =
            self.take_number("stream.num.reduce.output.key.fields")?;
        streaming.output_separator = self.take("mapreduce.output.textoutputformat.separator");
        streaming.reporter_prefix = self.take("stream.stderr.reporter.prefix");
        let is_failure = self.take_bool("stream.non.zero.exit.is.failure")?;
        streaming.nonzero_exit = is_failure == Some(false);
        streaming.partial_input = self.take_bool(PARTIAL_INPUT)?.unwrap_or(false);
        streaming.trailing_separator = self.take_bool(TRAILING_SEPARATOR)?.unwrap_or(false);
        if let Some(value) = self.take(LINE_ENDS) {
            streaming.line_ends = match value.as_str() {
                "crlf" => LineEnds::Crlf,
                "lf" => LineEnds::Lf,
                "any" => LineEnds::Any,
                _ => return Err(wrong(LINE_ENDS, &value, "write crlf, lf or any")),
            };
        }
        Ok(())
    }

    /// Options count where the class is named that heeds them, as in Hadoop.
    fn apply_to_keys(
        &mut self,
        streaming: &mut Streaming,
        warnings: &mut Vec<String>,
    ) -> Result<(), HadoopLineError> {
        streaming.key_separator = self.take("mapreduce.map.output.key.field.separator");
        // As in Hadoop, the number comes first, and 0 is none.
        let fields = self.take_number("num.key.fields.for.partition")?.filter(|n| *n > 0);
        let options = self.take("mapreduce.partition.keypartitioner.options");
        let options = fields.map(|n| format!("-k1,{n}")).or(options);
        let partitioner = self.take(PARTITIONER);
        match partitioner.as_deref().map(class) {
            Some("KeyFieldBasedPartitioner") => streaming.partition = options,
            None | Some("HashPartitioner") => {
                let partitioner = "-partitioner KeyFieldBasedPartitioner";
                idle(options, "the partitioner's options", partitioner, warnings);
            }
            Some(_) => {
                let wanted = "only KeyFieldBasedPartitioner and HashPartitioner are here; give the former options";
                return Err(wrong("the partitioner", &partitioner.unwrap_or_default(), wanted));
            }
        }
        let options = self.take("mapreduce.partition.keycomparator.options");
        let name = "mapreduce.job.output.key.comparator.class";
        match self.take(name) {
            None => idle(
                options,
                "the comparator's options",
                "-D mapreduce.job.output.key.comparator.class=KeyFieldBasedComparator",
                warnings,
            ),
            Some(given) if class(&given) == "KeyFieldBasedComparator" => streaming.sort = options,
            Some(given) => {
                return Err(wrong(
                    name,
                    &given,
                    "only KeyFieldBasedComparator is here; give it options",
                ));
            }
        }
        Ok(())
    }
}

/// A warning about what counts only with a class.
fn idle(given: Option<String>, what: &str, class: &str, warnings: &mut Vec<String>) {
    if let Some(given) = given {
        warnings.push(format!("{what} {given} are not heeded without {class}, as in Hadoop"));
    }
}

const BY_KEY_VALUE: &str = "-inputformat KeyValueTextInputFormat";

fn idle_separator(given: Option<String>, warnings: &mut Vec<String>) {
    idle(given, "separators of the input:", BY_KEY_VALUE, warnings);
}

fn idle_lines(given: Option<u32>, warnings: &mut Vec<String>) {
    let given = given.map(|it| it.to_string());
    idle(given, "lines of each map:", "-inputformat NLineInputFormat", warnings);
}

/// A number of an option or property.
pub(crate) fn number(name: &str, value: &str) -> Result<u32, HadoopLineError> {
    value.trim().parse().map_err(|_| wrong(name, value, "write a whole number"))
}

pub(crate) fn wrong(name: &str, value: &str, wanted: &'static str) -> HadoopLineError {
    HadoopLineError::Value { option: name.to_owned(), value: value.to_owned(), wanted }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::Program;

    use super::*;
    use crate::hadoop_names::HEEDED;

    fn applied(properties: &[(&str, &str)]) -> Result<(JobSpec, Streaming, Vec<String>), String> {
        let mut all = Properties::default();
        properties.iter().for_each(|(name, value)| all.set(name, value));
        let json = r#"{"name":"n","input":["/in"],"output":"/out","program":{"streaming":{}}}"#;
        let mut spec: JobSpec = serde_json::from_str(json).unwrap();
        let Program::Streaming(mut streaming) = spec.program.clone() else { panic!("{spec:?}") };
        let mut warnings = Vec::new();
        all.take_recursive().map_err(|it| it.to_string())?;
        let done = all.apply(&mut spec, &mut streaming, &mut warnings);
        done.map_err(|it| it.to_string())?;
        Ok((spec, *streaming, warnings))
    }

    #[test]
    fn the_properties_that_help_lists_count() {
        for name in HEEDED.iter().flat_map(|(names, _)| names.split(", ")) {
            let said = match applied(&[(name, "no value of it")]) {
                Err(refused) => refused,
                Ok((spec, streaming, warnings)) => {
                    let told = warnings.iter().find(|it| it.contains("no value of it"));
                    let told = told.filter(|it| !it.contains("as in Hadoop"));
                    assert_eq!(told, None, "{name}");
                    format!("{spec:?} {streaming:?} {warnings:?}")
                }
            };
            assert!(said.contains("no value of it"), "{name}: {said}");
        }
    }

    #[test]
    fn what_is_not_heeded_is_named_with_what_counts_instead() {
        for (name, value, expected) in [
            ("mapred.map.tasks", "10", "jobtracker.split_bytes"),
            ("mapred.max.split.size", "1", "jobtracker.split_bytes"),
            ("io.sort.mb", "512", "task.sort_buffer of the cluster's configuration"),
            ("mapreduce.task.io.sort.factor", "10", "task.merge_factor"),
            ("mapred.reduce.parallel.copies", "10", "task.parallel_fetches"),
            ("dfs.block.size", "134217728", "chunkmaster.chunk_bytes"),
            ("mapred.job.reuse.jvm.num.tasks", "-1", "a process of its own"),
            ("no.such.thing", "1", "nothing here"),
        ] {
            let (_, _, warnings) = applied(&[(name, value)]).unwrap();
            assert!(warnings.len() == 1 && warnings[0].contains(expected), "{name}: {warnings:?}");
        }
        let memory = [("mapreduce.map.memory.mb", "64"), ("mapreduce.reduce.memory.mb", "4096")];
        let (spec, _, warnings) = applied(&memory).unwrap();
        assert_eq!(spec.limits.unwrap().memory, Some(ByteSize(4 << 30)));
        assert!(warnings[0].contains("64 and 4096 MiB"), "{warnings:?}");
        assert!(applied(&memory[1..]).unwrap().2.is_empty());
    }

    #[test]
    fn what_would_change_the_result_is_refused_with_what_to_do_instead() {
        for (name, value, expected) in [
            ("mapred.output.compress", "yes", "true or false"),
            ("mapreduce.job.outputformat.class", "SequenceFileOutputFormat", "a job file"),
            ("mapreduce.job.inputformat.class", "NLineInputFormat", "ignoreKey=true"),
            ("mapred.max.map.failures.percent", "5", "(0)"),
            ("mapreduce.map.env", "A=b", "-cmdenv NAME=VALUE"),
            ("mapred.child.env", "A=b", "-cmdenv NAME=VALUE"),
            (RECURSIVE, "yes", "true or false"),
            (LINE_ENDS, "cr", "crlf, lf or any"),
            ("mapred.input.format.class", COMBINED, "ignoreKey=true"),
            ("mapred.input.pathFilter.class", "org.example.Recent", "-input '/in/2026-*'"),
            ("mapred.linerecordreader.maxlength", "65536", "leave long ones out"),
            (IGNORE_KEY, "false", "without their offset"),
        ] {
            let refused = applied(&[(name, value)]).unwrap_err();
            assert!(refused.contains(expected), "{name}: {refused}");
        }
        let harmless = [
            ("mapred.output.compress", "false"),
            ("mapred.max.map.failures.percent", "0"),
            ("mapreduce.input.linerecordreader.line.maxlength", "2147483647"),
        ];
        assert_eq!(applied(&harmless).unwrap().2, Vec::<String>::new());
    }

    #[test]
    fn what_a_job_has_a_key_for_is_translated() {
        let slowstart = ("mapred.reduce.slowstart.completed.maps", "0.8");
        let memory = ("mapreduce.map.memory.mb", "256");
        for (timeout, silence) in [("1800000", "30min"), ("0", "7days"), ("5", "1s")] {
            let all = [slowstart, memory, ("mapred.task.timeout", timeout)];
            let (spec, _, warnings) = applied(&all).unwrap();
            assert_eq!(spec.reduce_slowstart, Share::try_from(0.8).ok());
            let limits = spec.limits.unwrap();
            assert_eq!(limits.silence, silence.parse().ok(), "{timeout}");
            assert_eq!((limits.memory, warnings), (Some(ByteSize(256 << 20)), vec![]));
        }
        for (name, value, expected) in
            [(slowstart.0, "1.5", "from 0 to 1"), (TASK_TIMEOUT, "10min", "milliseconds")]
        {
            let refused = applied(&[(name, value)]).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
        assert_eq!(applied(&[]).unwrap().0.limits, None);
    }

    #[test]
    fn a_mapper_of_keys_and_values_gets_both() {
        let by_key = (INPUT_FORMAT, "org.apache.hadoop.mapred.KeyValueTextInputFormat");
        for (name, value, expected) in
            [(IGNORE_KEY, "true", "cut -f2-"), (MAP_INPUT_SEPARATOR, ",", "a tab between")]
        {
            let refused = applied(&[by_key, (name, value)]).unwrap_err();
            assert!(refused.contains(name) && refused.contains(expected), "{refused}");
        }
        let same = [by_key, (IGNORE_KEY, "false"), (MAP_INPUT_SEPARATOR, "\t")];
        assert_eq!(applied(&same).unwrap().2, Vec::<String>::new());
        let (_, _, warnings) = applied(&[(MAP_INPUT_SEPARATOR, ",")]).unwrap();
        assert!(warnings[0].contains("KeyValueTextInputFormat, as in Hadoop"), "{warnings:?}");
    }

    #[test]
    fn formats_and_codecs_are_those_of_the_job() {
        let (spec, _, warnings) = applied(&[
            ("mapred.output.compress", "true"),
            ("mapred.output.compression.codec", "org.apache.hadoop.io.compress.BZip2Codec"),
            ("mapred.output.compression.type", "BLOCK"),
            ("mapred.compress.map.output", "true"),
            ("mapreduce.map.output.compress.codec", "org.apache.hadoop.io.compress.ZStandardCodec"),
            ("mapred.input.format.class", "org.apache.hadoop.mapred.lib.NLineInputFormat"),
            ("stream.map.input.ignoreKey", "true"),
            ("mapred.line.input.format.linespermap", "100"),
            ("mapreduce.job.outputformat.class", "org.apache.hadoop.mapred.lib.NullOutputFormat"),
        ])
        .unwrap();
        assert_eq!(spec.output_compression, Some(OutputCompression::Bzip2));
        assert_eq!(spec.map_output_compression, Some(MapOutputCompression::Zstd));
        assert_eq!(spec.input_format, Some(InputFormat::Lines { per_split: 100 }));
        assert_eq!(spec.output_format, Some(OutputFormat::Null));
        assert_eq!(warnings, Vec::<String>::new());
        let on = ("mapreduce.output.fileoutputformat.compress", "true");
        let on_map = ("mapreduce.map.output.compress", "true");
        let (spec, _, warnings) = applied(&[on, on_map, (INPUT_FORMAT, KEY_VALUE)]).unwrap();
        assert_eq!(spec.output_compression, Some(OutputCompression::Gzip));
        assert_eq!(spec.map_output_compression, Some(MapOutputCompression::Lz4));
        let separator = "\t".to_owned();
        assert_eq!(spec.input_format, Some(InputFormat::KeyValue { separator }));
        assert!(warnings.is_empty());
        let refused = applied(&[on, (CODEC, "com.example.Mine")]).unwrap_err();
        assert!(refused.contains("BZip2Codec"), "{refused}");
        let (_, _, warnings) = applied(&[on, (CODEC, "DefaultCodec")]).unwrap();
        assert!(warnings[0].contains("gzip"), "{warnings:?}");
    }

    #[test]
    fn job_file_keys_without_a_property_of_hadoops_have_one_here() {
        let all = [(PARTIAL_INPUT, "true"), (LINE_ENDS, "lf"), (TRAILING_SEPARATOR, "true")];
        let (_, streaming, warnings) = applied(&all).unwrap();
        let Streaming { partial_input, line_ends, trailing_separator, .. } = streaming;
        assert_eq!((partial_input, line_ends, trailing_separator), (true, LineEnds::Lf, true));
        assert_eq!(warnings, Vec::<String>::new());
    }
}
