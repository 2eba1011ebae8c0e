//! What properties of Hadoop are called, under the names of both its families, and which of them count. What of a job they are
//! is in `hadoop_properties`.

use crate::hadoop_skips::{SKIP_GROUPS, SKIP_RECORDS};

/// The names of Hadoop 1 and of Hadoop 2.
pub(crate) const NEW_NAMES: &[(&str, &str)] = &[
    ("mapred.job.name", "mapreduce.job.name"),
    ("mapred.reduce.tasks", "mapreduce.job.reduces"),
    ("mapred.map.tasks", "mapreduce.job.maps"),
    ("mapred.job.priority", "mapreduce.job.priority"),
    ("mapred.job.queue.name", "mapreduce.job.queuename"),
    ("mapred.map.max.attempts", "mapreduce.map.maxattempts"),
    ("mapred.reduce.max.attempts", "mapreduce.reduce.maxattempts"),
    ("mapred.skip.map.max.skip.records", SKIP_RECORDS),
    ("mapred.skip.reduce.max.skip.groups", SKIP_GROUPS),
    ("mapred.skip.attempts.to.start.skipping", "mapreduce.task.skip.start.attempts"),
    ("mapred.skip.out.dir", "mapreduce.job.skip.outdir"),
    ("mapred.map.tasks.speculative.execution", "mapreduce.map.speculative"),
    ("mapred.reduce.tasks.speculative.execution", "mapreduce.reduce.speculative"),
    ("mapred.reduce.slowstart.completed.maps", SLOWSTART),
    ("io.sort.mb", "mapreduce.task.io.sort.mb"),
    ("io.sort.factor", "mapreduce.task.io.sort.factor"),
    ("mapred.reduce.parallel.copies", "mapreduce.reduce.shuffle.parallelcopies"),
    ("mapred.job.shuffle.input.buffer.percent", "mapreduce.reduce.shuffle.input.buffer.percent"),
    ("mapred.job.reuse.jvm.num.tasks", "mapreduce.job.jvm.numtasks"),
    ("dfs.block.size", "dfs.blocksize"),
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
    ("mapred.output.format.class", OUTPUT_FORMAT),
    ("mapreduce.outputformat.class", OUTPUT_FORMAT),
    ("mapred.mapper.class", "mapreduce.job.map.class"),
    ("mapreduce.map.class", "mapreduce.job.map.class"),
    ("mapred.combiner.class", "mapreduce.job.combine.class"),
    ("mapreduce.combine.class", "mapreduce.job.combine.class"),
    ("mapred.reducer.class", "mapreduce.job.reduce.class"),
    ("mapreduce.reduce.class", "mapreduce.job.reduce.class"),
    ("key.value.separator.in.input.line", INPUT_SEPARATOR),
    ("mapred.input.dir.recursive", RECURSIVE),
    ("mapred.max.split.size", "mapreduce.input.fileinputformat.split.maxsize"),
    ("mapred.min.split.size", "mapreduce.input.fileinputformat.split.minsize"),
    ("mapred.task.timeout", TASK_TIMEOUT),
    ("mapred.max.map.failures.percent", "mapreduce.map.failures.maxpercent"),
    ("mapred.max.reduce.failures.percent", "mapreduce.reduce.failures.maxpercent"),
    ("mapred.map.child.env", "mapreduce.map.env"),
    ("mapred.reduce.child.env", "mapreduce.reduce.env"),
    ("mapred.output.compress", COMPRESS),
    ("mapred.output.compression.codec", CODEC),
    ("mapred.output.compression.type", "mapreduce.output.fileoutputformat.compress.type"),
    ("mapred.compress.map.output", MAP_COMPRESS),
    ("mapred.map.output.compression.codec", MAP_CODEC),
    ("mapred.line.input.format.linespermap", LINES_PER_MAP),
    ("mapred.input.pathFilter.class", "mapreduce.input.pathFilter.class"),
    ("mapred.linerecordreader.maxlength", "mapreduce.input.linerecordreader.line.maxlength"),
];

/// The properties that count, under the names of Hadoop 2, and what they are here. `howdah streaming --help` lists them.
pub(crate) const HEEDED: &[(&str, &str)] = &[
    ("mapreduce.job.name", "what people call the job"),
    ("mapreduce.job.reduces", "number of reduces, as -numReduceTasks"),
    ("mapreduce.job.priority", "VERY_HIGH, HIGH, NORMAL, LOW, VERY_LOW"),
    ("mapreduce.job.queuename", "the pool"),
    (
        "mapreduce.map.maxattempts, mapreduce.reduce.maxattempts",
        "tries of a task, the larger of the two",
    ),
    (
        "mapreduce.map.skip.maxrecords, mapreduce.reduce.skip.maxgroups",
        "records and keys that the job may leave out (skip_records), together",
    ),
    ("mapreduce.map.speculative, mapreduce.reduce.speculative", "backups of late attempts"),
    (
        "mapreduce.map.memory.mb, mapreduce.reduce.memory.mb",
        "memory of an attempt, the larger of the two",
    ),
    (
        SLOWSTART,
        "share of the maps that must be done before reduces start (reduce_slowstart), 0 to 1",
    ),
    (TASK_TIMEOUT, "milliseconds without a sign of life (limits.silence); 0: 7 days"),
    (RECURSIVE, "true: subfolders of the input are read, too"),
    (
        "stream.map.output.field.separator, stream.num.map.output.key.fields",
        "where a mapper's key ends",
    ),
    ("stream.reduce.input.field.separator", "between key and value for a reducer; may be empty"),
    (
        "stream.reduce.output.field.separator, stream.num.reduce.output.key.fields",
        "where a reducer's key ends",
    ),
    ("mapreduce.output.textoutputformat.separator", "between key and value in the output"),
    ("mapreduce.output.fileoutputformat.compress", "true: parts of the output are compressed"),
    (CODEC, "GzipCodec, BZip2Codec, ZStandardCodec, Lz4Codec, SnappyCodec; gzip if absent"),
    ("mapreduce.map.output.compress", "true: what goes from maps to reduces is compressed"),
    (MAP_CODEC, "ZStandardCodec, GzipCodec, BZip2Codec: as zstd; others, or none: as lz4"),
    (INPUT_SEPARATOR, "with -inputformat KeyValueTextInputFormat"),
    (LINES_PER_MAP, "with -inputformat NLineInputFormat"),
    ("mapreduce.map.output.key.field.separator", "what ends a field of a key"),
    ("mapreduce.partition.keypartitioner.options", "with -partitioner KeyFieldBasedPartitioner"),
    ("num.key.fields.for.partition", "the same, as a number of fields"),
    ("mapreduce.partition.keycomparator.options", "with mapreduce.job.output.key.comparator.class"),
    ("stream.non.zero.exit.is.failure", "false: a command may end with any status"),
    ("stream.stderr.reporter.prefix", "what lines for counters and status begin with"),
    (PARTIAL_INPUT, "true: a command may end before it has read all (howdah's own)"),
    (LINE_ENDS, "crlf, lf, any: what ends a line (howdah's own)"),
    (TRAILING_SEPARATOR, "true: an output line without a value gets one (howdah's own)"),
];

/// Job-file keys of which Hadoop has no property.
pub(crate) const PARTIAL_INPUT: &str = "howdah.streaming.partial.input";
pub(crate) const LINE_ENDS: &str = "howdah.streaming.line.ends";
pub(crate) const TRAILING_SEPARATOR: &str = "howdah.streaming.trailing.separator";

/// Share of the maps that must be done before reduces start.
pub(crate) const SLOWSTART: &str = "mapreduce.job.reduce.slowstart.completedmaps";

/// How long an attempt may be silent.
pub(crate) const TASK_TIMEOUT: &str = "mapreduce.task.timeout";

/// Whether subfolders of the input are read.
pub(crate) const RECURSIVE: &str = "mapreduce.input.fileinputformat.input.dir.recursive";

/// Names the partitioner's class.
pub(crate) const PARTITIONER: &str = "mapreduce.job.partitioner.class";

/// Names the input format's class.
pub(crate) const INPUT_FORMAT: &str = "mapreduce.job.inputformat.class";

/// Where a line's key ends for the input format [`KEY_VALUE`].
pub(crate) const INPUT_SEPARATOR: &str =
    "mapreduce.input.keyvaluelinerecordreader.key.value.separator";

/// An input format that cuts lines, which a command then gets with a tab at the cut.
pub(crate) const KEY_VALUE: &str = "KeyValueTextInputFormat";

/// An input format by which each map reads so many lines.
pub(crate) const N_LINES: &str = "NLineInputFormat";

/// Lines of a map for the input format [`N_LINES`].
pub(crate) const LINES_PER_MAP: &str = "mapreduce.input.lineinputformat.linespermap";

/// An input format of lines, by which a mapper of Hadoop gets them with their offset, unless [`IGNORE_KEY`] is set.
pub(crate) const COMBINED: &str = "CombineTextInputFormat";

/// Whether a mapper gets lines without their offset, or values without their key.
pub(crate) const IGNORE_KEY: &str = "stream.map.input.ignoreKey";

/// What stands between key and value for a mapper.
pub(crate) const MAP_INPUT_SEPARATOR: &str = "stream.map.input.field.separator";

/// Names the output format's class.
pub(crate) const OUTPUT_FORMAT: &str = "mapreduce.job.outputformat.class";

pub(crate) const COMPRESS: &str = "mapreduce.output.fileoutputformat.compress";
pub(crate) const CODEC: &str = "mapreduce.output.fileoutputformat.compress.codec";
pub(crate) const MAP_COMPRESS: &str = "mapreduce.map.output.compress";
pub(crate) const MAP_CODEC: &str = "mapreduce.map.output.compress.codec";
