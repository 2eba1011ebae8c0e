//! `${name}` in the texts of a workflow: variables, and what jobs before have left. `$${` is `${` itself.

use serde_json::Value;

/// A text in pieces: literal, or the name between the braces.
enum Piece<'t> {
    Literal(&'t str),
    Name(&'t str),
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            found.extend([Piece::Literal(before), Piece::Literal("${")]);
            rest = &from[2..];
            continue;
        }
        let Some((name, after)) = from[2..].split_once('}') else {
            return Err(format!(
                "'{text}' has a ${{ without a }}: for the two characters write $${{"
            ));
        };
        found.extend([Piece::Literal(before), Piece::Name(name)]);
        rest = after;
    }
    found.push(Piece::Literal(rest));
    Ok(found)
}

/// All names that stand in the texts of `value`, with repetitions.
pub(super) fn names(value: &Value, into: &mut Vec<String>) -> Result<(), String> {
    match value {
        Value::String(text) => {
            for piece in pieces(text)? {
                if let Piece::Name(name) = piece {
                    into.push(name.to_owned());
                }
            }
            Ok(())
        }
        Value::Array(values) => values.iter().try_for_each(|value| names(value, into)),
        Value::Object(fields) => fields.values().try_for_each(|value| names(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The same with what `look_up` says in place of each name. A text that is one name becomes what that is: a number stays
/// one.
pub(super) fn filled(
    value: &Value,
    look_up: &dyn Fn(&str) -> Result<Value, String>,
) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => filled_text(text, look_up)?,
        Value::Array(values) => Value::Array(
            values.iter().map(|value| filled(value, look_up)).collect::<Result<_, _>>()?,
        ),
        Value::Object(fields) => {
            let filled_in =
                |(key, value): (&String, &Value)| Ok((key.clone(), filled(value, look_up)?));
            Value::Object(fields.iter().map(filled_in).collect::<Result<_, String>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

fn filled_text(
    text: &str,
    look_up: &dyn Fn(&str) -> Result<Value, String>,
) -> Result<Value, String> {
    let pieces = pieces(text)?;
    if let [Piece::Literal(""), Piece::Name(name), Piece::Literal("")] = pieces[..] {
        return look_up(name);
    }
    let mut filled = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => filled.push_str(literal),
            Piece::Name(name) => match look_up(name)? {
                Value::String(text) => filled.push_str(&text),
                other => filled.push_str(&other.to_string()),
            },
        }
    }
    Ok(Value::String(filled))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_replaced_wherever_they_stand() {
        let look_up = |name: &str| match name {
            "n" => Ok(json!(4)),
            "dir" => Ok(json!("/in")),
            other => Err(format!("no {other}")),
        };
        let filled = |value| filled(&value, &look_up);
        let value = json!({"reduces": "${n}", "input": ["${dir}/a-${n}"], "program": {"mapper": "echo $${HOME} $1 $$"}});
        let expected = json!({"reduces": 4, "input": ["/in/a-4"], "program": {"mapper": "echo ${HOME} $1 $$"}});
        assert_eq!(filled(value.clone()), Ok(expected));
        let mut found = Vec::new();
        names(&value, &mut found).unwrap();
        found.sort_unstable();
        assert_eq!(found, ["dir", "n", "n"]);
        assert_eq!(filled(json!("${x}")), Err("no x".to_owned()));
        assert!(filled(json!("a ${x")).unwrap_err().contains("write $${"));
    }
}
