//! The table of builtin programs, as `howdah builtins` and the README show it. What its columns mean is in `builtins`.

use crate::builtins::{BuiltinArgument, BuiltinRule, ReducesRule, SPLIT_POINTS};

const fn needed(name: &'static str, about: &'static str) -> BuiltinArgument {
    BuiltinArgument { name, default: None, about }
}

const fn optional(
    name: &'static str,
    default: &'static str,
    about: &'static str,
) -> BuiltinArgument {
    BuiltinArgument { name, default: Some(default), about }
}

const SEPARATOR: BuiltinArgument = optional("separator", "a tab", "what stands between two fields");

const BAD_LINES: BuiltinArgument = optional(
    "bad_lines",
    "fail",
    "`fail`: a line without such a field, or with no number in it, fails the job; `skip`: it is counted, and left out",
);

const POINTS: BuiltinArgument =
    optional(SPLIT_POINTS, "from a sample", "where the parts begin, in hexadecimal: `6d,74`");

const SEED: BuiltinArgument = optional("seed", "42", "the same seed gives the same bytes");

/// Arguments of `sum`, `min`, `max` and `mean`.
const BY_KEY: &[BuiltinArgument] = &[
    optional("key_field", "1", "the number of the field that is the key, from 1"),
    optional("value_field", "2", "the number of the field that is the number"),
    SEPARATOR,
    BAD_LINES,
];

const fn by_key(name: &'static str, about: &'static str) -> BuiltinRule {
    let example = &[("key_field", "3"), ("value_field", "1"), ("separator", ",")];
    BuiltinRule { name, about, reduces: ReducesRule::AtLeastOne, arguments: BY_KEY, example }
}

/// All builtin programs, by name.
pub const BUILTINS: &[BuiltinRule] = &[
    BuiltinRule {
        name: "distinct",
        about: "each line, or each combination of some of its fields, once",
        reduces: ReducesRule::AtLeastOne,
        arguments: &[
            optional(
                "fields",
                "the whole line",
                "the numbers of the fields, in the order in which to write them",
            ),
            SEPARATOR,
            BAD_LINES,
        ],
        example: &[("fields", "3,1")],
    },
    BuiltinRule {
        name: "grep",
        about: "lines that a regular expression over bytes matches",
        reduces: ReducesRule::MapOnly,
        arguments: &[needed("pattern", "the expression")],
        example: &[("pattern", "ERROR|WARN")],
    },
    BuiltinRule {
        name: "identity",
        about: "all lines as they are",
        reduces: ReducesRule::Optional,
        arguments: &[],
        example: &[],
    },
    BuiltinRule {
        name: "index",
        about: "each word, and behind it the names of the files that hold it, sorted, with tabs between them",
        reduces: ReducesRule::AtLeastOne,
        arguments: &[
            optional("case", "keep", "`keep`, or `lower`: ASCII letters become lower case"),
            optional(
                "names",
                "file",
                "`file`: the last name of a file's path, and files of one name in several folders are one; `path`: all of it",
            ),
        ],
        example: &[("case", "lower")],
    },
    BuiltinRule {
        name: "join",
        about: "lines of two inputs with the same key: the key, the other fields of the left one, those of the right one",
        reduces: ReducesRule::AtLeastOne,
        arguments: &[
            needed(
                "left",
                "one of the inputs, or the last of its folders' names; of each key its lines must fit into 256 MiB",
            ),
            needed("right", "the other one"),
            optional("left_field", "1", "the number of the left key's field, from 1"),
            optional("right_field", "1", "the number of the right key's field"),
            optional(
                "kind",
                "inner",
                "`inner`; `left`, `right`, `full`: lines without a partner, too; `anti`: left ones without",
            ),
            optional("empty", "nothing", "what stands in place of a missing line's fields"),
            SEPARATOR,
            BAD_LINES,
        ],
        example: &[("left", "users"), ("right", "orders"), ("right_field", "2"), ("kind", "left")],
    },
    by_key("max", "the largest number of each key"),
    by_key("mean", "the mean of each key's numbers, whose sum is exact"),
    by_key("min", "the smallest number of each key"),
    BuiltinRule {
        name: "pi",
        about: "an estimate of pi by points of Halton's sequence; of the input, each line is a range of them: `FIRST COUNT`",
        reduces: ReducesRule::One,
        arguments: &[],
        example: &[],
    },
    BuiltinRule {
        name: "sort",
        about: "all lines, sorted by their bytes; several parts, one after the other, are sorted too",
        reduces: ReducesRule::AtLeastOne,
        arguments: &[POINTS],
        example: &[],
    },
    by_key("sum", "the exact sum of each key's numbers"),
    BuiltinRule {
        name: "teragen",
        about: "the records of `howdah gen tera`, 100 bytes each; of the input, each line is a range of them: `FIRST COUNT`",
        reduces: ReducesRule::MapOnly,
        arguments: &[SEED],
        example: &[("seed", "7")],
    },
    BuiltinRule {
        name: "terasort",
        about: "all lines, sorted by their first 10 bytes; equal ones keep their order; parts follow one another",
        reduces: ReducesRule::AtLeastOne,
        arguments: &[POINTS],
        example: &[],
    },
    BuiltinRule {
        name: "teravalidate",
        about: "whether files, one after the other by name, are sorted by their lines' first 10 bytes, and a checksum of them",
        reduces: ReducesRule::One,
        arguments: &[],
        example: &[],
    },
    BuiltinRule {
        name: "topn",
        about: "the lines with the largest numbers, the largest first",
        reduces: ReducesRule::One,
        arguments: &[
            needed("n", "how many, 1 to 1000000"),
            optional("field", "2", "the number of the field that is the number, from 1"),
            optional("order", "largest", "`largest` or `smallest` first"),
            SEPARATOR,
            BAD_LINES,
        ],
        example: &[("n", "10")],
    },
    BuiltinRule {
        name: "wordcount",
        about: "words (runs of bytes other than white space) and how often they occur",
        reduces: ReducesRule::AtLeastOne,
        arguments: &[],
        example: &[],
    },
];
