//! Properties of Hadoop (`-D NAME=VALUE`), under the names of both its families, and what of a job they are.

use std::collections::BTreeMap;

use mapreduce_protocol::{ByteSize, JobSpec, Priority, Streaming, TaskLimits};

use crate::hadoop_line::HadoopLineError;

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
];

/// Names the partitioner's class.
pub(crate) const PARTITIONER: &str = "mapreduce.job.partitioner.class";

/// Of no meaning here, and no loss.
const IDLE: &[&str] =
    &["mapreduce.job.maps", "stream.map.input.ignoreKey", "mapred.used.genericoptionsparser"];

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
        let fields = self.take_number("num.key.fields.for.partition")?;
        let options = self.take("mapreduce.partition.keypartitioner.options");
        let options = options.or_else(|| fields.map(|n| format!("-k1,{n}")));
        match self.take(PARTITIONER) {
            None => idle(
                options,
                "the partitioner's",
                "-partitioner KeyFieldBasedPartitioner",
                warnings,
            ),
            Some(class) => match last(&class) {
                "KeyFieldBasedPartitioner" => streaming.partition = options,
                "HashPartitioner" => {}
                _ => {
                    let wanted = "only KeyFieldBasedPartitioner and HashPartitioner are here; give the former options";
                    return Err(wrong("the partitioner", &class, wanted));
                }
            },
        }
        let options = self.take("mapreduce.partition.keycomparator.options");
        let name = "mapreduce.job.output.key.comparator.class";
        match self.take(name) {
            None => idle(
                options,
                "the comparator's",
                "-D mapreduce.job.output.key.comparator.class=KeyFieldBasedComparator",
                warnings,
            ),
            Some(class) if last(&class) == "KeyFieldBasedComparator" => streaming.sort = options,
            Some(class) => {
                return Err(wrong(
                    name,
                    &class,
                    "only KeyFieldBasedComparator is here; give it options",
                ));
            }
        }
        Ok(())
    }
}

fn last(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}

fn idle(options: Option<String>, whose: &str, class: &str, warnings: &mut Vec<String>) {
    if let Some(options) = options {
        warnings.push(format!(
            "{whose} options {options} are not heeded without {class}, as in Hadoop"
        ));
    }
}

/// A number of an option or property.
pub(crate) fn number(name: &str, value: &str) -> Result<u32, HadoopLineError> {
    value.trim().parse().map_err(|_| wrong(name, value, "write a whole number"))
}

fn wrong(name: &str, value: &str, wanted: &'static str) -> HadoopLineError {
    HadoopLineError::Value { option: name.to_owned(), value: value.to_owned(), wanted }
}
