//! What goes to standard error: events, progress, complaints. A line that can't be written (a closed
//! terminal, a full disk behind a redirection) is lost, and nothing else: `eprintln!` would panic, and a
//! panic takes the supervisor and its whole cluster along.

/// `eprintln!` that never panics.
macro_rules! say {
    ($($arg:tt)*) => {{
        use ::std::io::Write as _;
        let _unwritable = ::std::writeln!(::std::io::stderr(), $($arg)*);
    }};
}
pub(crate) use say;
