//! Times, sizes, paths and tables as commands print them, and paths of the chunk store as people type them.

use std::fmt::Write as _;
use std::time::Duration;

use chunkstore_protocol::{PathError, StorePath};
use ids::UnixMillis;

use crate::copy::Target;

/// Like `2026-11-22T10:00:00Z`.
pub(super) fn time(at: UnixMillis) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| "-".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Like `2.3s` or `1h 5m 2s`.
pub(super) fn duration(duration: Duration) -> String {
    if duration < Duration::from_secs(60) {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// A path of the chunk store; a slash at its end, as shells complete folders, is left off.
pub(super) fn store_path(text: &str) -> Result<StorePath, PathError> {
    match text.trim_end_matches('/') {
        "" if !text.is_empty() => Ok(StorePath::root()),
        path => path.parse(),
    }
}

/// A path of the chunk store that something is to go to.
pub(super) fn target(text: &str) -> Result<Target, PathError> {
    Ok(Target { path: store_path(text)?, is_folder: text.ends_with('/') })
}

/// Bytes, for programs or for people.
pub(super) fn size(bytes: u64, human: bool) -> String {
    if human { indicatif::BinaryBytes(bytes).to_string() } else { bytes.to_string() }
}

/// A path as it may stand on a terminal: a name can hold what moves the cursor, or ends the line.
pub(super) fn path(path: &StorePath) -> String {
    crate::say::plain(path.as_str())
}

/// A path as a shell reads it, in a command to be copied from the terminal.
pub(crate) fn word(path: &StorePath) -> String {
    let text = path.as_str();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
    if crate::say::plain(text) != text {
        // Of bytes, which every shell with this form knows.
        let quoted = text.bytes().map(|byte| match byte {
            b'\'' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        });
        return format!("$'{}'", quoted.collect::<String>());
    }
    match text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Rows in columns that are as wide as need be; those that `right` says are aligned to the right.
pub(super) fn table<const N: usize>(rows: &[[String; N]], right: [bool; N]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let begin = text.len();
        for (column, cell) in row.iter().enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let width = widths[column];
            let _ = match right[column] {
                true => write!(text, "{gap}{cell:>width$}"),
                false => write!(text, "{gap}{cell:<width$}"),
            };
        }
        text.truncate(begin + text[begin..].trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_need_be_and_names_cannot_move_the_cursor() {
        let name = |text: &str| path(&text.parse().unwrap());
        let rows = [
            [size(7, true), name("/a"), String::new()],
            [size(1536, true), name("/ü\n\u{1b}[2J"), "x".to_owned()],
        ];
        let expected = "     7 B  /a\n1.50 KiB  /ü\\n\\u{1b}[2J  x\n";
        assert_eq!(table(&rows, [true, false, false]), expected);
        assert_eq!(table::<2>(&[], [true, false]), "");
    }

    #[test]
    fn a_shell_reads_the_path_that_was_meant() {
        for text in
            ["/in/part-00", "/ä b", "/it's", "/a\nb", "/*[x]?{$HOME}`~", "/\u{1b}[2J'\\", "/-x"]
        {
            let path: StorePath = text.parse().unwrap();
            let word = word(&path);
            assert_eq!(crate::say::plain(&word), word, "it can stand on a terminal");
            let printed = std::process::Command::new("bash")
                .args(["-c", &format!("printf %s {word}")])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(printed.stdout).unwrap(), text, "{word}");
        }
        assert_eq!(word(&"/in/part-00".parse().unwrap()), "/in/part-00");
    }

    #[test]
    fn times_are_short_and_paths_forgiving() {
        assert_eq!(time(UnixMillis(1_795_341_600_000)), "2026-11-22T10:00:00Z");
        for (millis, expected) in [(0, "0.0s"), (2345, "2.3s"), (3_902_999, "1h 5m 2s")] {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
        for (text, expected) in [("/", "/"), ("/in/", "/in"), ("/in", "/in"), ("//", "/")] {
            assert_eq!(store_path(text).unwrap().as_str(), expected);
        }
        for wrong in ["", "in/", "/a//b", "/a/../b/"] {
            assert!(store_path(wrong).is_err(), "{wrong}");
        }
    }
}
