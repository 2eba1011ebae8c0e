//! A command as the job writes it → the words to execute, or a line for the shell.
//!
//! Hadoop knows words and quotes alone: no variables, no pipes, no backslashes. Where a command has nothing else, it is
//! read in the same way here. A character outside of quotes that only a shell gives a meaning makes it the shell's.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// What only a shell gives a meaning, outside of quotes. (A backslash, a star or a bracket is not among them: in Hadoop
/// they reach the program as they are, and regular expressions are written that way.)
const FOR_THE_SHELL: &[char] = &['|', '&', ';', '<', '>', '(', ')', '$', '`', '\n'];

/// Where tasks of a cluster look for programs (`PATH`), whoever has started the TaskTracker.
pub const TASK_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A program and its arguments.
    Words(Vec<String>),
    /// What `sh -c` gets.
    Shell(String),
}

/// Why a text is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It has no word.
    #[error("the command is empty: write a program and its arguments")]
    Empty,
    /// A quote without its end.
    #[error("a quote ({quote}) is opened and not closed")]
    OpenQuote {
        /// Which one.
        quote: char,
    },
    /// What no argument can hold.
    #[error("the command has a NUL byte")]
    Nul,
}

impl FromStr for Command {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        if text.contains('\0') {
            return Err(CommandError::Nul);
        }
        let text = text.trim();
        let Split { words, open_quote } = Split::of(text);
        let is_for_the_shell = words.iter().any(|word| word.is_for_the_shell);
        if let Some(quote) = open_quote.filter(|_| !is_for_the_shell) {
            return Err(CommandError::OpenQuote { quote });
        }
        match words.first() {
            None => Err(CommandError::Empty),
            Some(first) if is_for_the_shell || is_assignment(&first.text) => {
                Ok(Self::Shell(text.to_owned()))
            }
            Some(first) if first.text.is_empty() => Err(CommandError::Empty),
            Some(_) => Ok(Self::Words(words.into_iter().map(|word| word.text).collect())),
        }
    }
}

impl Command {
    /// A command of Hadoop's command line as a job must write it. Hadoop has no shell: `awk {print$1}` and `cut -d; -f1`
    /// are words there, and get quotes. What makes no sense without a shell (a pipe, a redirection, a list) stays as it is.
    #[must_use]
    pub fn of_hadoop(text: &str) -> String {
        let Split { words, open_quote } = Split::of(text.trim());
        let is_for_the_shell = words.iter().any(|word| word.is_for_the_shell);
        let is_list = words.iter().any(Word::is_operator)
            || words.first().is_some_and(|first| is_assignment(&first.text));
        if !is_for_the_shell || is_list || open_quote.is_some() {
            return text.to_owned();
        }
        Self::Words(words.into_iter().map(|word| word.text).collect()).to_string()
    }
}

/// A command as quotes and spaces divide it.
struct Split {
    words: Vec<Word>,
    /// One that nothing closes.
    open_quote: Option<char>,
}

#[derive(Default)]
struct Word {
    /// Without its quotes.
    text: String,
    /// Whether any of it stood in quotes.
    is_quoted: bool,
    /// Whether something outside of quotes has a meaning for a shell.
    is_for_the_shell: bool,
}

impl Split {
    fn of(text: &str) -> Self {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<Word>, None);
        for character in text.chars() {
            match (quote, character) {
                (Some(open), _) if character == open => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(character);
                    word.get_or_insert_default().is_quoted = true;
                }
                (None, ' ' | '\t') => words.extend(word.take()),
                _ => {
                    let word = word.get_or_insert_default();
                    word.is_for_the_shell |= quote.is_none() && FOR_THE_SHELL.contains(&character);
                    word.text.push(character);
                }
            }
        }
        words.extend(word);
        Self { words, open_quote: quote }
    }
}

impl Word {
    /// Whether it joins commands or redirects one: `|`, `&&`, `;`, `2>&1`, `>file`, or a `;` at its end, but for that of an
    /// option (`-d;`).
    fn is_operator(&self) -> bool {
        let text = self.text.as_str();
        let redirects = text.trim_start_matches(|c: char| c.is_ascii_digit());
        !self.is_quoted
            && (["|", "||", "|&", "&", "&&", ";"].contains(&text)
                || redirects.starts_with(['<', '>'])
                || (text.ends_with(';') && !text.starts_with('-')))
    }
}

/// `LC_ALL=C` before a program.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let mut letters = name.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    })
}

impl fmt::Display for Command {
    /// For messages, quoted so that it can be pasted: reads as the same command, here and in a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) => {
                let quoted: Vec<_> = words.iter().map(|word| quoted(word)).collect();
                f.write_str(&quoted.join(" "))
            }
            Self::Shell(line) => f.write_str(line),
        }
    }
}

/// A word as it must be written.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "._-+@%,:/=^".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => Cow::Borrowed(word),
        // A quote can't stand between quotes of its kind.
        false => Cow::Owned(format!("'{}'", word.replace('\'', "'\"'\"'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_hadoops_is_literal_unless_only_a_shell_can_run_it() {
        for (hadoop, job) in [
            ("awk {print$1}", "awk '{print$1}'"),
            ("grep -E ^(The|But)$", "grep -E '^(The|But)$'"),
            ("cut -d; -f1", "cut '-d;' -f1"),
            ("sed s/the/THE/;s/a/A/", "sed 's/the/THE/;s/a/A/'"),
            ("awk \"$1 > 'x'\" (a)", "awk '$1 > '\"'\"'x'\"'\"'' '(a)'"),
        ] {
            assert_eq!(Command::of_hadoop(hadoop), job);
            let Ok(Command::Words(_)) = job.parse() else { panic!("{job} are words") };
        }
        for same in [
            "cat",
            "awk '{print $1}'  x",
            "sort | uniq -c",
            "sort 2>/dev/null",
            "cat > x",
            "cd x; cat",
            "a && b",
            "LC_ALL=C sort $X",
            "awk '$1",
        ] {
            assert_eq!(Command::of_hadoop(same), same);
        }
    }

    #[test]
    fn words_are_split_as_hadoop_does_and_the_rest_is_the_shells() {
        let words: [(&str, &[&str]); 12] = [
            ("cat", &["cat"]),
            ("  python3   map.py\t-v ", &["python3", "map.py", "-v"]),
            ("awk '{print $1}'", &["awk", "{print $1}"]),
            ("awk \"{print $1 | 2}\"", &["awk", "{print $1 | 2}"]),
            ("a'b c'\"d e\"f", &["ab cd ef"]),
            ("x '' \"\"", &["x", "", ""]),
            ("grep a\\.b*[0-9]", &["grep", "a\\.b*[0-9]"]),
            ("echo \"it's\" 'a \"b\"'", &["echo", "it's", "a \"b\""]),
            ("sed s/\\t/,/", &["sed", "s/\\t/,/"]),
            ("./run --key=value", &["./run", "--key=value"]),
            ("sh -c 'a | b'", &["sh", "-c", "a | b"]),
            ("2x=1 y", &["2x=1", "y"]),
        ];
        for (text, expected) in words {
            let expected = expected.iter().map(|word| (*word).to_owned()).collect();
            let command = Command::Words(expected);
            assert_eq!(text.parse().as_ref(), Ok(&command), "{text}");
            assert_eq!(command.to_string().parse(), Ok(command), "{text}");
        }
        for text in [
            "cat | sort",
            "a > b",
            "a; b",
            "a && b",
            "echo $HOME",
            "echo `date`",
            "LC_ALL=C sort",
            "(cat)",
        ] {
            assert_eq!(text.parse(), Ok(Command::Shell(text.to_owned())), "{text}");
        }
        let pasted = |text: &str| text.parse::<Command>().unwrap().to_string();
        assert_eq!(pasted("awk  \"{n++} END {exit 7}\""), "awk '{n++} END {exit 7}'");
        assert_eq!(pasted("echo it\"'\"s \"\""), "echo 'it'\"'\"'s' ''");
        assert_eq!("  ".parse::<Command>(), Err(CommandError::Empty));
        assert_eq!("'' x".parse::<Command>(), Err(CommandError::Empty));
        assert_eq!("a 'b".parse::<Command>(), Err(CommandError::OpenQuote { quote: '\'' }));
        assert_eq!("a\0b".parse::<Command>(), Err(CommandError::Nul));
    }
}
