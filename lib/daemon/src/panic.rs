//! What happens when a daemon panics: its state is in doubt, so it reports where and ends. The
//! journal restores the state.

use std::backtrace::Backtrace;
use std::io::Write;
use std::panic::PanicHookInfo;

/// Makes a panic of any thread print version, thread, place and backtrace to stderr, and abort the
/// process.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let report = report(info, &Backtrace::force_capture());
        // Stderr may be gone, which must not prevent the abort.
        let _stderr_is_gone = std::io::stderr().write_all(report.as_bytes());
        std::process::abort();
    }));
}

fn report(info: &PanicHookInfo<'_>, backtrace: &Backtrace) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    format!(
        "howdah {} aborts: thread {name} panicked: {info}\n\
         This is a flaw of the program, not of its use; please report it with these lines.\n\
         {backtrace}\n",
        crate::VERSION
    )
}
