//! What the author's code fails with.

use std::fmt;

/// An error of the author's code: any error type, or a text, through `?` or `.into()`. The attempt then
/// fails with [`mapreduce_protocol::FailureKind::UserCode`].
pub struct UserError(Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for UserError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for UserError {
    /// The error and its sources, outermost first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
