//! Finds YAML scalars that do not keep their spelling: 0x1F becomes 31, +5 becomes 5, True becomes
//! true. Where a text is wanted, that would be another text. Called by the readers of job files and
//! workflows.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A number or truth value whose spelling was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The keys and list positions (from 0) that lead to it.
    pub path: Vec<String>,
    /// Its spelling in the text.
    pub written: String,
    /// How it would be written back.
    pub becomes: String,
}

impl fmt::Display for Rewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, written, becomes } = self;
        let path = path.join(".");
        let colon = if path.is_empty() { "" } else { ": " };
        write!(
            f,
            "{path}{colon}{written} would become {becomes}: write it in quotes, so that it stays as written"
        )
    }
}

/// Finds all such scalars of a text: `read` is what was read from it, `again` reads it once more.
///
/// # Errors
/// When the text can't be read again.
pub fn rewritten<'de, D: Deserializer<'de>>(
    read: &Value,
    again: D,
) -> Result<Vec<Rewritten>, D::Error> {
    let (mut path, mut found) = (Vec::new(), Vec::new());
    Again { read, path: &mut path, found: &mut found }.deserialize(again)?;
    Ok(found)
}

/// Reads what has become `read` once more, with scalars as texts.
struct Again<'a> {
    read: &'a Value,
    path: &'a mut Vec<String>,
    found: &'a mut Vec<Rewritten>,
}

impl<'de> DeserializeSeed<'de> for Again<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        match self.read {
            Value::Object(_) => from.deserialize_map(self),
            Value::Array(_) => from.deserialize_seq(self),
            Value::Number(_) | Value::Bool(_) => from.deserialize_str(self),
            Value::Null | Value::String(_) => IgnoredAny::deserialize(from).map(drop),
        }
    }
}

impl<'de> Visitor<'de> for Again<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was read before")
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<(), E> {
        let becomes = self.read.to_string();
        if becomes != written {
            let (path, written) = (self.path.clone(), written.to_owned());
            self.found.push(Rewritten { path, written, becomes });
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for (n, read) in self.read.as_array().into_iter().flatten().enumerate() {
            self.path.push(n.to_string());
            list.next_element_seed(Again { read, path: self.path, found: self.found })?;
            self.path.pop();
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let Some(read) = self.read.get(&key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            self.path.push(key);
            map.next_value_seed(Again { read, path: self.path, found: self.found })?;
            self.path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let read: Value = serde_yaml::from_str(text).unwrap();
        let found = rewritten(&read, serde_yaml::Deserializer::from_str(text)).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_would_be_another_text_is_found_with_its_path() {
        for (written, becomes) in [
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0b11", "3"),
            ("-0x10", "-16"),
            ("+5", "5"),
            ("-0", "0"),
            ("True", "true"),
            ("FALSE", "false"),
            ("0.10", "0.1"),
        ] {
            let words = format!(
                "{written} would become {becomes}: write it in quotes, so that it stays as written"
            );
            assert_eq!(found(written), std::slice::from_ref(&words));
            let deep = format!("a:\n  - x\n  - {{b: [1, {written}, '{written}', \"0x\"]}}\nc: 2\n");
            assert_eq!(found(&deep), [format!("a.1.b.1: {words}")]);
        }
    }

    #[test]
    fn what_stays_as_it_is_written_is_not_found() {
        for text in
            ["5", "-5", "true", "017", "1_000", "yes", "0xZZ", "'+5'", "~", "a: {b: [], c: }", "{}"]
        {
            assert_eq!(found(text), [""; 0], "{text}");
        }
        assert_eq!(found("text: |\n  0x1F\nanchor: &a [1]\nalias: *a\n"), [""; 0]);
    }
}
