//! What commands print. Standard output carries answers. Standard error carries events, progress,
//! complaints: a line that can't be written (a closed terminal, a full disk behind a redirection) is
//! lost, and nothing else: `eprintln!` would panic, and take the supervisor and its cluster along.

/// `eprintln!` that never panics.
macro_rules! say {
    ($($arg:tt)*) => {{
        use ::std::io::Write as _;
        let _unwritable = ::std::writeln!(::std::io::stderr(), $($arg)*);
    }};
}
pub(crate) use say;

/// `println!` for a command's answer: whoever closes the pipe (`| head`) has read enough, and an answer
/// that can't be written is a failure with a sentence, not a panic.
macro_rules! tell {
    ($($arg:tt)*) => {
        $crate::say::on_told({
            use ::std::io::Write as _;
            ::std::writeln!(::std::io::stdout(), $($arg)*)
        })
    };
}
pub(crate) use tell;

/// Ends the command where its answer could not be written.
pub(crate) fn on_told(written: std::io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            say!("howdah: cannot write to standard output: {error}");
            std::process::exit(1);
        }
    }
}

/// An answer that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub(crate) struct Unwritable(pub(crate) std::io::Error);

/// A reader that has seen enough (`| head`) is no failure.
pub(crate) fn quiet_if_closed(written: std::io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Unwritable(error).into()),
    }
}

/// Text that others chose, as it may stand on a terminal: what moves the cursor, ends the line or turns the
/// direction of writing is shown as an escape.
pub(crate) fn plain(text: &str) -> String {
    let is_escaped = |char: char| {
        char.is_control()
            || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match is_escaped(char) {
            true => plain.extend(char.escape_default()),
            false => plain.push(char),
        }
    }
    plain
}
