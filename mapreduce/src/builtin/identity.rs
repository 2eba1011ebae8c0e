//! All lines as they are.

use crate::{Bytes, Job};

/// Lines unchanged; map-only, so their order stays. (A last line without its LF gets one.)
pub(super) fn job() -> Job {
    Job::map::<Bytes, ()>(|line, out| {
        out.emit(line.value, ());
        Ok(())
    })
    .into()
}
