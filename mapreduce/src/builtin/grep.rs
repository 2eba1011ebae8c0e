//! The lines that match a regular expression.

use regex::bytes::Regex;

use crate::{Bytes, Job};

/// Matching lines whole, in the order of the input; map-only.
pub(super) fn job(pattern: Regex) -> Job {
    Job::map::<Bytes, ()>(move |line, out| {
        if pattern.is_match(line.value) {
            out.emit(line.value, ());
        }
        Ok(())
    })
    .into()
}
