//! Patterns of paths as shells know them: `*`, `?`, `[a-z]`, `{a,b}`, and `**` for folders at any depth; a
//! backslash before a character takes its meaning away. Reads only the text: `expand` asks the chunk store.

use std::str::FromStr;

use chunkstore_protocol::{PathError, StorePath};
use regex::Regex;

use super::shown;

/// Alternatives that the braces of one pattern may make.
const ALTERNATIVES_MAX: usize = 1000;

/// A path, or a pattern of paths, as somebody typed it.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    /// The path that the text is as it stands; there may be a file of that name.
    literal: Option<StorePath>,
    /// What else it means, if it holds anything special.
    alternatives: Vec<Vec<Part>>,
    /// `**` at the end means files alone.
    files_only: bool,
}

/// What one part of a path has to be.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// This name.
    Name(String),
    /// A name that this matches.
    Glob(Regex),
    /// Any number of folders.
    Folders,
}

/// Why a text is neither a path nor a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    /// It breaks a rule of paths.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Its braces make too much.
    #[error("the braces in {0:?} make more than {ALTERNATIVES_MAX} patterns: split it")]
    TooMany(String),
}

impl Pattern {
    /// The text as it was typed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The path that it is, taken by the letter; `None` if it can only be a pattern.
    pub(super) fn literal(&self) -> Option<&StorePath> {
        self.literal.as_ref()
    }

    /// The text as a path, whatever it means as a pattern.
    ///
    /// # Errors
    /// When it breaks a rule of paths.
    pub(super) fn by_the_letter(&self) -> Result<StorePath, PathError> {
        shown::store_path(&self.text)
    }

    /// The same for who reads what is there: with `**` at the end all files below are meant, each once, and not the
    /// folders on the way, in which they would be found again.
    pub(super) fn of_files(&self) -> Self {
        Self { files_only: true, ..self.clone() }
    }

    /// Whether only files are meant of what these parts, one of its alternatives, match.
    pub(super) fn means_files(&self, parts: &[Part]) -> bool {
        self.files_only && matches!(parts.last(), Some(Part::Folders))
    }

    /// The patterns that it stands for; none of a plain path.
    pub(super) fn alternatives(&self) -> &[Vec<Part>] {
        &self.alternatives
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let literal = shown::store_path(text);
        if !text.contains(['*', '?', '[', '{', '\\']) {
            let literal = Some(literal?);
            let (text, alternatives) = (text.to_owned(), Vec::new());
            return Ok(Self { text, literal, alternatives, files_only: false });
        }
        let alternatives = expand_braces(text)?;
        let alternatives = alternatives.iter().map(|text| parts_of(text));
        let alternatives = alternatives.collect::<Result<_, PathError>>()?;
        let (text, literal) = (text.to_owned(), literal.ok());
        Ok(Self { text, literal, alternatives, files_only: false })
    }
}

/// Whether something at `path`, or below it, could match a pattern, whenever it is there. Both are whole paths, or relative to
/// the same folder.
pub(in crate::cli) fn could_match(pattern: &str, path: &str) -> bool {
    let names: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let reaches_it = |one: &String| {
        let parts: Vec<Part> = one.trim_end_matches('/').split('/').map(part_of).collect();
        reaches(&parts, &names)
    };
    // Who has too many braces is told when it is submitted.
    expand_braces(pattern).is_ok_and(|all| all.iter().any(reaches_it))
}

/// Whether what these parts match can lie at or below the place with these names.
fn reaches(parts: &[Part], names: &[&str]) -> bool {
    let ([part, behind @ ..], [name, below @ ..]) = (parts, names) else {
        return names.is_empty();
    };
    match part {
        Part::Name(own) => own == name && reaches(behind, below),
        Part::Glob(regex) => regex.is_match(name) && reaches(behind, below),
        Part::Folders => reaches(behind, names) || reaches(parts, below),
    }
}

fn parts_of(text: &str) -> Result<Vec<Part>, PathError> {
    let text = if text.len() > 1 { text.trim_end_matches('/') } else { text };
    let parts: Vec<Part> = match text.strip_prefix('/') {
        Some("") => Vec::new(),
        Some(below_root) => below_root.split('/').map(part_of).collect(),
        None => return text.parse::<StorePath>().map(|_| Vec::new()),
    };
    // The rules of paths hold for what is fixed in a pattern.
    let fixed = parts.iter().map(|part| match part {
        Part::Name(name) => name,
        Part::Glob(_) | Part::Folders => "*",
    });
    format!("/{}", fixed.collect::<Vec<_>>().join("/")).parse::<StorePath>()?;
    Ok(parts)
}

fn part_of(text: &str) -> Part {
    if text == "**" {
        return Part::Folders;
    }
    let (mut name, mut expression, mut is_glob) = (String::new(), String::new(), false);
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        let special = match char {
            '*' => Some(".*".to_owned()),
            '?' => Some(".".to_owned()),
            '[' => class_of(rest.as_str()).map(|(class, length)| {
                rest = rest.as_str()[length..].chars();
                class
            }),
            _ => None,
        };
        is_glob |= special.is_some();
        let plain = match char {
            '\\' => rest.next().unwrap_or(char),
            char => char,
        };
        expression
            .push_str(&special.unwrap_or_else(|| regex::escape(plain.encode_utf8(&mut [0; 4]))));
        name.push(plain);
    }
    match Regex::new(&format!("^(?s:{expression})$")) {
        Ok(regex) if is_glob => Part::Glob(regex),
        _ => Part::Name(name),
    }
}

/// The class whose text begins behind a `[`, as a regular expression, and how many bytes of text it took. None
/// where it is no class: then the bracket is a character like others.
fn class_of(text: &str) -> Option<(String, usize)> {
    let (negated, inner) = match text.strip_prefix(['!', '^']) {
        Some(inner) => ("^", inner),
        None => ("", text),
    };
    let mut items: Vec<(char, bool)> = Vec::new();
    let mut chars = inner.char_indices();
    let end = loop {
        let (at, char) = chars.next()?;
        match char {
            // As in shells, one that stands first is a member.
            ']' if !items.is_empty() => break at + 1,
            '\\' => items.push((chars.next()?.1, false)),
            char => items.push((char, char == '-')),
        }
    };
    let mut class = format!("[{negated}");
    let mut items = items.as_slice();
    while let [(first, _), rest @ ..] = items {
        let (last, rest) = match rest {
            [(_, true), (last, _), rest @ ..] => (last, rest),
            rest => (first, rest),
        };
        if last < first {
            return None;
        }
        let (first, last) = (u32::from(*first), u32::from(*last));
        class.push_str(&format!("\\x{{{first:x}}}-\\x{{{last:x}}}"));
        items = rest;
    }
    class.push(']');
    Some((class, text.len() - inner.len() + end))
}

/// What the braces stand for, in the order they are written. Without a comma, or an end, they are characters
/// like others.
fn expand_braces(text: &str) -> Result<Vec<String>, PatternError> {
    let mut pending = vec![text.to_owned()];
    let mut done = Vec::new();
    while let Some(next) = pending.pop() {
        match first_braces(&next) {
            None => done.push(next),
            Some((before, choices, after)) => {
                let made = choices.iter().rev().map(|choice| format!("{before}{choice}{after}"));
                pending.extend(made);
            }
        }
        if pending.len() + done.len() > ALTERNATIVES_MAX {
            return Err(PatternError::TooMany(text.to_owned()));
        }
    }
    Ok(done)
}

/// The first braces with a comma: what stands before them, the choices, and what stands behind.
fn first_braces(text: &str) -> Option<(&str, Vec<&str>, &str)> {
    let mut chars = text.char_indices();
    while let Some((open, char)) = chars.next() {
        match char {
            '\\' => drop(chars.next()),
            '{' => {
                if let Some((choices, length)) = choices_of(&text[open + 1..]) {
                    return Some((&text[..open], choices, &text[open + 1 + length..]));
                }
            }
            _ => {}
        }
    }
    None
}

/// The choices whose text begins behind a `{`, and how many bytes they and the `}` took.
fn choices_of(text: &str) -> Option<(Vec<&str>, usize)> {
    let (mut choices, mut begin, mut depth) = (Vec::new(), 0, 0);
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => drop(chars.next()),
            '{' => depth += 1,
            ',' if depth == 0 => {
                choices.push(&text[begin..at]);
                begin = at + 1;
            }
            '}' if depth == 0 => {
                choices.push(&text[begin..at]);
                return (choices.len() > 1).then_some((choices, at + 1));
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        match part_of(pattern) {
            Part::Name(own) => own == name,
            Part::Glob(regex) => regex.is_match(name),
            Part::Folders => true,
        }
    }

    #[test]
    fn names_are_matched_as_shells_do() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("*", &["", "a", ".a", "ü\n"], &[]),
            ("part-*", &["part-", "part-r-0"], &["par", "xpart-1"]),
            ("*.gz", &[".gz", "a.b.gz"], &["agz", "a.gz2"]),
            ("?", &["a", "ü", "\n"], &["", "ab"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x", "[a-c]x"]),
            ("[!a-c]", &["d", "ü"], &["a", ""]),
            ("[^a]", &["b"], &["a"]),
            ("[]-]", &["]", "-"], &["a"]),
            ("[a\\]]", &["a", "]"], &["\\"]),
            ("[ä-ü]", &["ö"], &["o"]),
            // Not classes: characters.
            ("a[b", &["a[b"], &["ab"]),
            ("[z-a]", &["[z-a]"], &["z"]),
            ("{a}", &["{a}"], &["a"]),
            // Taken by the letter.
            ("\\*", &["*"], &["a", "\\*"]),
            ("a\\", &["a\\"], &["a"]),
            (".+", &[".+"], &["ab"]),
            ("a**b", &["ab", "axyb"], &["a"]),
        ];
        for (pattern, yes, no) in table {
            for name in *yes {
                assert!(matches(pattern, name), "{pattern} {name:?}");
            }
            for name in *no {
                assert!(!matches(pattern, name), "{pattern} {name:?}");
            }
        }
    }

    #[test]
    fn braces_stand_for_each_of_what_is_in_them() {
        let expanded = |text: &str| expand_braces(text).unwrap().join(" ");
        for (text, expected) in [
            ("/a", "/a"),
            ("/{a,b}", "/a /b"),
            ("/{a/b,c}/d", "/a/b/d /c/d"),
            ("/{a,b{1,2}}x", "/ax /b1x /b2x"),
            ("/{a,b}{c,d}", "/ac /ad /bc /bd"),
            ("/a{,.gz}", "/a /a.gz"),
            ("/{a}{b,c}", "/{a}b /{a}c"),
            ("/{a,b", "/{a,b"),
            ("/\\{a,b}", "/\\{a,b}"),
            ("/{a\\,b,c}", "/a\\,b /c"),
        ] {
            assert_eq!(expanded(text), expected, "{text}");
        }
        let many = format!("/{}", "{a,b}".repeat(10));
        assert_eq!(expand_braces(&many), Err(PatternError::TooMany(many.clone())));
    }

    #[test]
    fn a_pattern_reaches_what_it_could_match_and_what_could_be_below() {
        for (pattern, path, expected) in [
            ("/daily/*", "/daily/2026-01-02", true),
            ("/daily/2026-*/part-*", "/daily/2026-01-02", true),
            ("/daily/*", "/daily", true),
            ("/daily/*", "/daily/2026/01", false),
            ("/daily/*.txt", "/daily/report", false),
            ("/daily/*", "/dailies/1", false),
            ("/w/{a,b}", "/w/b", true),
            ("/w/{a,b/part-*}", "/w/b/", true),
            ("/w/{a,b}", "/w/c", false),
            ("/in/**", "/in/a/b", true),
            ("/in/**/x", "/in/a/b", true),
            ("/in/**/x", "/out", false),
            ("/[ab]/?", "/b", true),
            ("/\\*/a", "/x", false),
            ("/\\*/a", "/*", true),
            ("daily/*", "daily/1", true),
            ("daily/*/", "daily/1/", true),
            ("*", "daily", true),
        ] {
            assert_eq!(could_match(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_path_is_no_pattern_either() {
        let long = format!("/*/{}", "x".repeat(256));
        for wrong in ["", "*", "a/*", "/a//*", "/../*", "/*/.", "/{a,..}", "/{a,}/b/", &long] {
            let parsed = wrong.parse::<Pattern>();
            assert!(matches!(parsed, Err(PatternError::Path(_))), "{wrong}: {parsed:?}");
        }
        for fine in ["/", "/*/", "/**", "/a[/b", "/\\a", "/{a,b}/"] {
            assert!(fine.parse::<Pattern>().is_ok(), "{fine}");
        }
        let plain: Pattern = "/a b/".parse().unwrap();
        assert_eq!((plain.literal().unwrap().as_str(), plain.alternatives().len()), ("/a b", 0));
    }
}
