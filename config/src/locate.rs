//! Walks a YAML text for what typed parsing does not tell: which key is unknown or doubled, and
//! where the value of a key stands. Positions come from the parser itself: it stamps an error with
//! the event at which a visitor raised it, so the walk raises one where it wants to know.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_yaml::Value;

/// Line and column, both from 1.
pub(crate) type Position = (usize, usize);

/// A key that can't stand where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyFault {
    /// The schema has no such key.
    Unknown,
    /// The section has it already.
    Doubled,
}

/// A faulty key, with its section's path (empty for the top) and where it stands.
#[derive(Debug)]
pub(crate) struct FaultyKey {
    pub(crate) section: String,
    pub(crate) name: String,
    pub(crate) fault: KeyFault,
    pub(crate) position: Option<Position>,
}

/// The first faulty key of `text` against `schema`, whose mappings are sections, whose first list
/// elements stand for all, and whose other values stand for any. Syntax errors are not told here.
pub(crate) fn faulty_key(text: &str, schema: &Value) -> Option<FaultyKey> {
    let mut found = None;
    let walk = KeyWalk { schema, section: String::new(), found: &mut found };
    let error = walk.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    let (section, name, fault) = found?;
    Some(FaultyKey { section, name, fault, position: position_of(&error) })
}

/// Where the value of `key` (`a.b`, `hosts[1].name`) stands in `text`; the nearest section around it
/// where it stands nowhere.
pub(crate) fn value_position(text: &str, key: &str) -> Option<Position> {
    let steps: Vec<Step<'_>> = key.split('.').flat_map(steps_of).collect();
    (1..=steps.len()).rev().find_map(|known| {
        let walk = ValueWalk { steps: &steps[..known] };
        let error = walk.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
        error.to_string().contains(HERE).then(|| position_of(&error))?
    })
}

pub(crate) fn position_of(error: &serde_yaml::Error) -> Option<Position> {
    error.location().map(|at| (at.line(), at.column()))
}

type Found = Option<(String, String, KeyFault)>;

struct KeyWalk<'a> {
    schema: &'a Value,
    section: String,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for KeyWalk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.schema {
            Value::Mapping(_) | Value::Sequence(_) => deserializer.deserialize_any(self),
            _ => deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ()),
        }
    }
}

impl<'de> Visitor<'de> for KeyWalk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Value::Mapping(known) = self.schema else { return ignore_map(map) };
        let mut seen = BTreeSet::new();
        loop {
            let key = KeyName { known, seen: &mut seen, section: &self.section, found: self.found };
            let Some(name) = map.next_key_seed(key)? else { return Ok(()) };
            let section = join(&self.section, &name);
            let schema = known.get(name.as_str()).unwrap_or(&Value::Null);
            map.next_value_seed(KeyWalk { schema, section, found: self.found })?;
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let schema = self.schema.get(0).unwrap_or(&Value::Null);
        for index in 0_usize.. {
            let section = format!("{}[{index}]", self.section);
            let element = KeyWalk { schema, section, found: self.found };
            if list.next_element_seed(element)?.is_none() {
                break;
            }
        }
        Ok(())
    }
}

fn ignore_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// `section.name`, or `name` at the top.
pub(crate) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

struct KeyName<'a> {
    known: &'a serde_yaml::Mapping,
    seen: &'a mut BTreeSet<String>,
    section: &'a str,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for KeyName<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyName<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<String, E> {
        let fault = if !self.known.contains_key(name) {
            KeyFault::Unknown
        } else if !self.seen.insert(name.to_owned()) {
            KeyFault::Doubled
        } else {
            return Ok(name.to_owned());
        };
        *self.found = Some((self.section.to_owned(), name.to_owned(), fault));
        Err(E::custom(HERE))
    }
}

const HERE: &str = "the walk ends here";

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// `hosts[1]` is two steps.
fn steps_of(part: &str) -> impl Iterator<Item = Step<'_>> {
    let (name, index) = match part.split_once('[') {
        Some((name, rest)) => (name, rest.strip_suffix(']').and_then(|n| n.parse().ok())),
        None => (part, None),
    };
    [Some(Step::Key(name)), index.map(Step::Index)].into_iter().flatten()
}

struct ValueWalk<'a> {
    steps: &'a [Step<'a>],
}

impl<'de> DeserializeSeed<'de> for ValueWalk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! visit_scalar {
    ($($visit:ident: $value:ty),*) => {$(
        fn $visit<E: serde::de::Error>(self, _: $value) -> Result<(), E> {
            self.at_scalar()
        }
    )*};
}

impl ValueWalk<'_> {
    fn at_scalar<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.steps.is_empty() { Err(E::custom(HERE)) } else { Ok(()) }
    }
}

impl<'de> Visitor<'de> for ValueWalk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values")
    }

    visit_scalar!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.at_scalar()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.steps.split_first() else {
            return Err(A::Error::custom(HERE));
        };
        while let Some(key) = map.next_key::<String>()? {
            match step {
                Step::Key(name) if *name == key => {
                    map.next_value_seed(ValueWalk { steps: rest })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.steps.split_first() else {
            return Err(A::Error::custom(HERE));
        };
        for at in 0_usize.. {
            let read = match step {
                Step::Index(index) if *index == at => {
                    list.next_element_seed(ValueWalk { steps: rest })?
                }
                _ => list.next_element::<IgnoredAny>()?.map(|_| ()),
            };
            if read.is_none() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a:\n  b: 1\n  c: [x, {d: y}]\n# comment\ne: {f: 2,\n  g: 3}\n";

    #[test]
    fn every_value_is_found_in_block_and_flow_style() {
        for (key, position) in [
            ("a.b", (2, 6)),
            ("a.c[0]", (3, 7)),
            ("a.c[1].d", (3, 14)),
            ("e.f", (5, 8)),
            ("e.g", (6, 6)),
            ("e.missing", (5, 4)),
        ] {
            assert_eq!(value_position(TEXT, key), Some(position), "{key}");
        }
        assert_eq!(value_position("", "a"), None);
    }

    #[test]
    fn an_unknown_and_a_doubled_key_are_told_where_they_stand() {
        let schema = serde_yaml::from_str::<Value>("{a: {b: 1, c: [{d: 1}]}, e: 0}").unwrap();
        let told = |text: &str| {
            faulty_key(text, &schema).map(|key| (key.section, key.name, key.fault, key.position))
        };
        let faulty = |section: &str, name: &str, fault, position| {
            Some((section.to_owned(), name.to_owned(), fault, Some(position)))
        };
        assert_eq!(told("a:\n  b: 1\n  x: 2\n"), faulty("a", "x", KeyFault::Unknown, (3, 3)));
        assert_eq!(told("e: 1\ne: 2\n"), faulty("", "e", KeyFault::Doubled, (2, 1)));
        assert_eq!(
            told("a: {c: [{d: 1}, {q: 1}]}"),
            faulty("a.c[1]", "q", KeyFault::Unknown, (1, 18))
        );
        assert_eq!(told("a: {b: {any: thing}}\ne:\n"), None);
        assert_eq!(told("a: ["), None, "syntax is told by the typed parse");
    }
}
