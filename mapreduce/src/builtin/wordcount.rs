//! How often each word occurs.

use super::arguments::text_of;
use crate::{Bytes, Job, words};

/// Words are runs of bytes other than ASCII white space.
pub(super) fn job() -> Job {
    Job::map::<Bytes, u64>(|line, out| {
        for word in words(text_of(line)) {
            out.emit(word, 1);
        }
        Ok(())
    })
    .combine(|earlier, later, one| one.set(earlier + later))
    .reduce::<Bytes, u64>(|word, counts, out| {
        out.emit(word, counts.sum());
        Ok(())
    })
    .into()
}
