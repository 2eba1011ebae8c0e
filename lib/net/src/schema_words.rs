//! Rewords serde's errors on malformed YAML and JSON for whoever wrote the text, without the names
//! of our types. Called by the JSON extractor and the reader of job files.

/// `text`, a message of serde, with the expected type named as in YAML and JSON, and with the key or
/// name that was probably meant by an unknown one.
#[must_use]
pub fn schema_words(text: &str) -> String {
    match meant(text) {
        Some(name) => {
            text.replacen("`, expected ", &format!("` (did you mean `{name}`?), expected "), 1)
        }
        None => typed(text),
    }
}

/// The name among `known` that differs from `given` by only a few letters, if there is one.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &&str| strsim::osa_distance(given, other);
    let close = known.into_iter().min_by_key(distance)?;
    (distance(&close) <= (given.chars().count() / 3).max(1)).then_some(close)
}

/// The key or name that was probably meant by an unknown one.
fn meant(text: &str) -> Option<&str> {
    let unknown = ["unknown field `", "unknown variant `"];
    let (_, rest) = unknown.into_iter().find_map(|words| text.rsplit_once(words))?;
    let (given, expected) = rest.split_once("`, expected ")?;
    nearest(given, expected.split('`').skip(1).step_by(2))
}

fn typed(text: &str) -> String {
    // The last occurrence: what comes before it is what was found instead, which may be any text.
    let Some((before, expected)) = text.rsplit_once("expected ") else {
        return text.to_owned();
    };
    let (type_name, after) = match expected.split_once(" at line ") {
        Some((type_name, place)) => (type_name, format!(" at line {place}")),
        None => (expected, String::new()),
    };
    let is_text = before.contains("invalid type: string ");
    match word_for(type_name) {
        Some(A_LIST) if is_text => {
            let given = before.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"'));
            let given = given.map_or("", |(given, _)| given);
            format!("{before}expected {A_LIST}: write [{given}]{after}")
        }
        Some(word) => format!("{before}expected {word}{after}"),
        None => text.to_owned(),
    }
}

const A_LIST: &str = "a list";

fn word_for(type_name: &str) -> Option<&'static str> {
    let first = type_name.split(' ').next()?;
    Some(match first {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 to 18446744073709551615",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "unit" if type_name == "unit" => "null",
        "struct" => "an object of keys and values",
        "tuple" => A_LIST,
        "enum" | "newtype" | "unit" => "one of the names that this key takes",
        _ if type_name == "a map" => "an object of keys and values",
        _ if type_name == "a sequence" || type_name.starts_with("a tuple") => A_LIST,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[test]
    fn of_an_unknown_key_the_one_that_was_meant_is_told() {
        let text = "redcues: unknown field `redcues`, expected one of `name`, `reduces` at line 2 column 1";
        let expected = "redcues: unknown field `redcues` (did you mean `reduces`?), expected one of `name`, `reduces` at \
                        line 2 column 1";
        assert_eq!(schema_words(text), expected);
        let text = "unknown variant `txt`, expected `text` or `lines`";
        assert!(schema_words(text).contains("(did you mean `text`?)"));
        for far in [
            "unknown field `colour`, expected one of `name`, `reduces`",
            "unknown field `a`, there are no fields",
        ] {
            assert_eq!(schema_words(far), far);
        }
        assert_eq!(nearest("inptu", ["output", "input"]), Some("input"));
        assert_eq!(nearest("x", []), None);
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only errors are looked at")]
    struct Inner {
        n: u32,
        ratio: f64,
        pair: (i8, i8),
        kind: Kind,
    }

    #[derive(Debug, Deserialize)]
    enum Kind {
        A,
    }

    #[test]
    fn no_type_of_ours_is_named() {
        let table = [
            ("[7]", "an object"),
            ("{\"x\": 7}", "an object"),
            ("{\"x\": {\"n\": \"expected u32\"}}", "a whole number"),
            ("{\"x\": {\"n\": -1}}", "a whole number"),
            ("{\"x\": {\"ratio\": []}}", "a number"),
            ("{\"x\": {\"pair\": 1}}", "a list"),
            ("{\"x\": {\"pair\": \"/in\"}}", "a list: write [/in]"),
            ("{\"x\": {\"kind\": \"B\"}}", "expected `A`"),
            ("{\"x\": {\"kind\": \"A\"}}", "missing field `n`"),
            ("{", "EOF"),
        ];
        for (text, expected) in table {
            let error = serde_json::from_str::<BTreeMap<String, Inner>>(text).unwrap_err();
            let said = schema_words(&error.to_string());
            let names_a_type = ["Inner", "Kind", "expected u32 at", "i8", "f64", "tuple"];
            assert!(!names_a_type.iter().any(|name| said.contains(name)), "{said}");
            assert!(said.contains("line 1"), "{said}");
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
