//! Properties of Hadoop (`-D NAME=VALUE`), under the names of both its families, and what of a job they are.

use std::collections::BTreeMap;

use mapreduce_protocol::{ByteSize, JobSpec, Priority, Streaming, TaskLimits};

use crate::hadoop_line::{HadoopLineError, class};

/// The names of Hadoop 1 and of Hadoop 2.
const NEW_NAMES: &[(&str, &str)] = &[
    ("mapred.job.name", "mapreduce.job.name"),
    ("mapred.reduce.tasks", "mapreduce.job.reduces"),
    ("mapred.map.tasks", "mapreduce.job.maps"),
    ("mapred.job.priority", "mapreduce.job.priority"),
    ("mapred.job.queue.name", "mapreduce.job.queuename"),
    ("mapred.map.max.attempts", "mapreduce.map.maxattempts"),
    ("mapred.reduce.max.attempts", "mapreduce.reduce.maxattempts"),
    ("mapred.map.tasks.speculative.execution", "mapreduce.map.speculative"),
    ("mapred.reduce.tasks.speculative.execution", "mapreduce.reduce.speculative"),
    ("mapred.job.map.memory.mb", "mapreduce.map.memory.mb"),
    ("mapred.job.reduce.memory.mb", "mapreduce.reduce.memory.mb"),
    ("mapred.textoutputformat.separator", "mapreduce.output.textoutputformat.separator"),
    ("map.output.key.field.separator", "mapreduce.map.output.key.field.separator"),
    ("mapred.text.key.partitioner.options", "mapreduce.partition.keypartitioner.options"),
    ("mapred.text.key.comparator.options", "mapreduce.partition.keycomparator.options"),
    ("mapred.output.key.comparator.class", "mapreduce.job.output.key.comparator.class"),
    ("mapred.partitioner.class", PARTITIONER),
    ("mapreduce.partitioner.class", PARTITIONER),
    ("stream.num.reduce.output.fields", "stream.num.reduce.output.key.fields"),
    ("mapred.input.format.class", INPUT_FORMAT),
    ("mapreduce.inputformat.class", INPUT_FORMAT),
    ("mapred.output.format.class", "mapreduce.job.outputformat.class"),
    ("mapreduce.outputformat.class", "mapreduce.job.outputformat.class"),
    ("mapred.mapper.class", "mapreduce.job.map.class"),
    ("mapreduce.map.class", "mapreduce.job.map.class"),
    ("mapred.combiner.class", "mapreduce.job.combine.class"),
    ("mapreduce.combine.class", "mapreduce.job.combine.class"),
    ("mapred.reducer.class", "mapreduce.job.reduce.class"),
    ("mapreduce.reduce.class", "mapreduce.job.reduce.class"),
    ("key.value.separator.in.input.line", INPUT_SEPARATOR),
];

/// Names the partitioner's class.
pub(crate) const PARTITIONER: &str = "mapreduce.job.partitioner.class";

/// Names the input format's class.
pub(crate) const INPUT_FORMAT: &str = "mapreduce.job.inputformat.class";

/// Where a line's key ends for the input format [`KEY_VALUE`].
const INPUT_SEPARATOR: &str = "mapreduce.input.keyvaluelinerecordreader.key.value.separator";

/// An input format that cuts lines, which a command then gets with a tab at the cut.
const KEY_VALUE: &str = "KeyValueTextInputFormat";

/// Of no meaning here, and no loss.
const IDLE: &[&str] = &["mapreduce.job.maps", "mapred.used.genericoptionsparser"];

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
    ("stream.map.input.ignoreKey", &["true"], "a mapper gets lines without their offset (true)"),
    ("stream.recordreader.class", &[], TEXT_INPUT),
    (INPUT_FORMAT, &["TextInputFormat", "CombineTextInputFormat", KEY_VALUE], TEXT_INPUT),
    ("textinputformat.record.delimiter", &["\n", "\\n"], TEXT_INPUT),
    (
        "mapreduce.job.outputformat.class",
        &["TextOutputFormat"],
        "the output is text (TextOutputFormat); leave the property out",
    ),
    ("mapreduce.job.map.class", &["PipeMapper", "IdentityMapper"], COMMANDS),
    ("mapreduce.job.combine.class", &["PipeCombiner"], COMMANDS),
    ("mapreduce.job.reduce.class", &["PipeReducer", "IdentityReducer"], COMMANDS),
];

const LINES: &str = "commands read and write lines (text)";

const TEXT_INPUT: &str =
    "records are lines of text (TextInputFormat); turn other files into lines first";

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
    fn check_guarded(&mut self, warnings: &mut Vec<String>) -> Result<(), HadoopLineError> {
        let cuts = self.0.get(INPUT_FORMAT).is_some_and(|it| class(it) == KEY_VALUE);
        if let Some(separator) = self.take(INPUT_SEPARATOR) {
            if !cuts {
                idle(
                    Some(separator),
                    "separators of the input:",
                    "-inputformat KeyValueTextInputFormat",
                    warnings,
                );
            } else if !matches!(separator.as_str(), "\t" | "\\t") {
                let wanted = "with KeyValueTextInputFormat the separator is a tab; leave both out, and cut lines in the mapper";
                return Err(wrong(INPUT_SEPARATOR, &separator, wanted));
            }
        }
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
        self.check_guarded(warnings)?;
        self.apply_to_job(spec)?;
        self.apply_to_records(streaming)?;
        self.apply_to_keys(streaming, warnings)?;
        self.0.retain(|name, _| !IDLE.contains(&name.as_str()));
        warnings
            .extend(self.0.iter().map(|(name, value)| format!("-D {name}={value} is not heeded")));
        Ok(())
    }

    fn apply_to_job(&mut self, spec: &mut JobSpec) -> Result<(), HadoopLineError> {
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
        let maps = self.take_bool("mapreduce.map.speculative")?;
        // One switch for both kinds: whoever wants a command not to run twice at once is right.
        spec.speculative = match (maps, self.take_bool("mapreduce.reduce.speculative")?) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (maps, reduces) => maps.or(reduces),
        };
        let maps = self.take_number("mapreduce.map.memory.mb")?;
        if let Some(mib) = maps.max(self.take_number("mapreduce.reduce.memory.mb")?) {
            let memory = Some(ByteSize(u64::from(mib) << 20));
            spec.limits = Some(TaskLimits { memory, ..TaskLimits::default() });
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

/// A number of an option or property.
pub(crate) fn number(name: &str, value: &str) -> Result<u32, HadoopLineError> {
    value.trim().parse().map_err(|_| wrong(name, value, "write a whole number"))
}

fn wrong(name: &str, value: &str, wanted: &'static str) -> HadoopLineError {
    HadoopLineError::Value { option: name.to_owned(), value: value.to_owned(), wanted }
}
