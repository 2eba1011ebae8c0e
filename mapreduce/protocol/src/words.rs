//! Arguments as people write them: what YAML takes for a whole number or a truth value is text all the same.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Whether the keys of a path in a job file, or in a workflow, lead to a text for which a number will do: an argument
/// of a program, a variable of its environment, or a name.
#[must_use]
pub fn is_argument(path: &[String]) -> bool {
    path.last().is_some_and(|key| key == "name")
        || path
            .windows(3)
            .any(|keys| keys[0] == "program" && ["args", "env"].contains(&keys[2].as_str()))
}

/// One argument.
struct Word(String);

/// A single one.
pub(crate) fn one<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Word::deserialize(from).map(|Word(text)| text)
}

/// A list of them.
pub(crate) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<Word>::deserialize(from)?;
    Ok(words.into_iter().map(|Word(text)| text).collect())
}

/// Several, by name.
pub(crate) fn map<'de, D>(from: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    let words = BTreeMap::<String, Word>::deserialize(from)?;
    Ok(words.into_iter().map(|(name, Word(text))| (name, text)).collect())
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AnyScalar;

        impl Visitor<'_> for AnyScalar {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
                Ok(Word(text.to_owned()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Word, E> {
                Ok(Word(value.to_string()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Word, E> {
                Ok(Word(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Word, E> {
                Ok(Word(value.to_string()))
            }

            /// What was written is not known any more: 0.10 would become 0.1.
            fn visit_f64<E: Error>(self, value: f64) -> Result<Word, E> {
                Err(E::custom(format!("{value} is a number with a fraction: write it in quotes")))
            }
        }

        from.deserialize_any(AnyScalar)
    }
}

#[cfg(test)]
mod tests {
    use crate::Builtin;

    #[test]
    fn numbers_and_truth_values_are_text() {
        let read = |json: &str| serde_json::from_str::<Builtin>(json);
        let builtin = read(r#"{"name": "b", "args": {"n": 10, "t": true, "s": "x"}}"#);
        let args = builtin.unwrap().args;
        let shown: Vec<_> = args.iter().map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(shown, ["n=10", "s=x", "t=true"]);
        for wrong in ["[1]", "null", "{}"] {
            let refused = read(&format!(r#"{{"name": "b", "args": {{"n": {wrong}}}}}"#));
            assert!(refused.unwrap_err().to_string().contains("expected a string"), "{wrong}");
        }
    }

    #[test]
    fn arguments_are_told_by_their_path() {
        let is = |path: &str| {
            super::is_argument(&path.split('.').map(str::to_owned).collect::<Vec<_>>())
        };
        assert!(is("program.native.args.0") && is("jobs.a.program.builtin.args.n"));
        assert!(is("program.streaming.env.A") && is("name") && is("jobs.a.name"));
        assert!(!is("program.streaming.mapper") && !is("reduces") && !is("args.0"));
    }

    #[test]
    fn a_fraction_is_not_rewritten_silently() {
        for written in ["1.10", "1e3", "-0.5"] {
            let refused = serde_json::from_str::<Builtin>(&format!(
                r#"{{"name": "b", "args": {{"n": {written}}}}}"#
            ));
            assert!(refused.unwrap_err().to_string().contains("write it in quotes"), "{written}");
        }
        let quoted = serde_json::from_str::<Builtin>(r#"{"name": "b", "args": {"n": "1.10"}}"#);
        assert_eq!(quoted.unwrap().args["n"], "1.10");
    }
}
