//! Logs: `tracing` to stderr, as text for people or JSON lines for machines.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// The format of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging can't be installed.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// Neither text nor json.
    #[error("log format {given:?} is not known: use text or json")]
    Format {
        /// The format in the configuration.
        given: String,
    },
    /// Not a filter that `tracing` accepts.
    #[error(
        "log filter {given:?} is not understood: {source}. Use a level (info, debug), or levels by module \
         (info,chunkstore=debug)"
    )]
    Filter {
        /// The filter in the configuration.
        given: String,
        /// Why it is not accepted.
        source: tracing_subscriber::filter::ParseError,
    },
    /// This process has logging already.
    #[error("logging is installed already: a process installs it once, first thing in main")]
    Installed,
}

impl FromStr for LogFormat {
    type Err = LoggingError;

    fn from_str(text: &str) -> Result<Self, LoggingError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LoggingError::Format { given: text.to_owned() }),
        }
    }
}

/// Installs the process's logging; once, first thing in main.
///
/// # Errors
/// The filter is bad, or this is the second call.
pub fn install_logging(format: LogFormat, filter: &str) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|source| LoggingError::Filter { given: filter.to_owned(), source })?;
    // A line that can't be written (a full disk under the log) is lost. Reporting that on the same
    // standard error would panic, and a daemon must not die because of its log.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let installed = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_| LoggingError::Installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_or_format_is_named_with_the_accepted_form() {
        let error = install_logging(LogFormat::Text, "chunkstore=loud").unwrap_err().to_string();
        assert!(error.contains("chunkstore=loud") && error.contains("info"), "{error}");
        let error = "xml".parse::<LogFormat>().unwrap_err().to_string();
        assert!(error.contains("xml") && error.contains("text or json"), "{error}");
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
    }
}
