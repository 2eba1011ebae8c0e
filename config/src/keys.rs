//! The page of all keys, `docs/configuration.md`: what the sample file says of each, its default, and what it accepts.

use serde_yaml::Value;

use crate::load::{scalar_text, schema};
use crate::{accepted_form, locate};

/// The file that users copy: it has every key, with its default and a comment.
const SAMPLE: &str = include_str!("../howdah.yaml");
/// The sections that are lists.
const LISTS: [(&str, &str); 4] =
    [("users", "user"), ("pools", "pool"), ("stores", "store"), ("hosts", "host")];

/// A line of the sample with what stands above it.
struct Line<'a> {
    key: &'a str,
    value: &'a str,
    is_section: bool,
    words: String,
}

/// The lines that have keys.
fn lines() -> impl Iterator<Item = Line<'static>> {
    let mut words = Vec::new();
    SAMPLE.lines().filter_map(move |line| {
        let text = line.trim_start();
        if let Some(comment) = text.strip_prefix('#') {
            words.push(comment.trim());
            return None;
        }
        let said = std::mem::take(&mut words).join(" ");
        let (key, value) = text.split_once(':')?;
        let is_section = !line.starts_with(' ');
        Some(Line { key, value: value.trim(), is_section, words: said })
    })
}

/// The page, in Markdown.
#[must_use]
pub fn keys_page() -> String {
    let mut page = "# Configuration keys\n\n\
        One YAML file for all hosts and clients, `--config` or `HOWDAH_CONFIG`: copy [config/howdah.yaml](../config/howdah.yaml), of\n\
        which this page is made (`howdah config keys`), and leave out what stays as it is. An unknown key is an error, with line and\n\
        column. Sizes are like `64MiB`, times like `5s` or `1h 30m`. `howdah config explain` says where each value comes from.\n"
        .to_owned();
    let mut section = "";
    for line in lines() {
        let Line { key, value, is_section, words } = line;
        if is_section {
            section = key;
            page += &format!("\n## {section}\n\n{}\n\n", wrapped(&words));
            let list = LISTS.iter().find(|(name, _)| *name == section);
            match list {
                Some((_, one)) => page += &of_entries(section, one),
                None => page += "| key | default | accepted | |\n| --- | --- | --- | --- |\n",
            }
            continue;
        }
        let form = accepted_form(&locate::join(section, key));
        page += &format!("| `{key}` | `{value}` | {} | {} |\n", cell(form), cell(&words));
    }
    page
}

/// The keys that an entry of a list has.
fn of_entries(section: &str, one: &str) -> String {
    let mut table = format!("| key of a {one} | if left out | accepted |\n| --- | --- | --- |\n");
    let schema = schema();
    let entry = schema.get(section).and_then(|list| list.get(0));
    let mut tell = |key: &str, value: &Value| {
        let form = accepted_form(&format!("{section}[0].{key}"));
        // What stands for itself in the schema's one entry is no default.
        let is_needed = ["name", "url"].contains(&key);
        let value = if value.is_sequence() || is_needed {
            "–".to_owned()
        } else {
            format!("`{}`", scalar_text(value))
        };
        table += &format!("| `{key}` | {value} | {} |\n", cell(form));
    };
    for (key, value) in entry.and_then(Value::as_mapping).into_iter().flatten() {
        let key = key.as_str().unwrap_or_default();
        match value.as_mapping() {
            Some(own) => own.iter().for_each(|(name, value)| {
                tell(&locate::join(key, name.as_str().unwrap_or_default()), value);
            }),
            None => tell(key, value),
        }
    }
    table
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<")
}

/// Lines of 120 characters at most.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one");
        if last.chars().count() + word.chars().count() >= 120 {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_sample_has_a_line_with_its_words() {
        let page = keys_page();
        for line in lines() {
            assert!(!line.words.is_empty(), "{} has a comment", line.key);
            let found = match line.is_section {
                true => page.contains(&format!("\n## {}\n", line.key)),
                false => page.contains(&format!("| `{}` | `{}` | ", line.key, line.value)),
            };
            assert!(found, "{}", line.key);
        }
        for key in ["chunkserver.data_dirs", "weight", "secret_env", "valid_from"] {
            assert!(page.contains(&format!("| `{key}` |")), "{key}");
        }
        assert!(page.lines().all(|line| line.starts_with('|') || line.chars().count() <= 125));
    }
}
