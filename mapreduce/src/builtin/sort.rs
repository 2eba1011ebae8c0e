//! All lines in the order of their bytes.

use crate::api::{Identity, RangePartitioner};
use crate::{Bytes, Job};

/// The whole line is the key; equal lines all stay. With ranges, a part has one of them.
pub(super) fn job(ranges: Option<RangePartitioner>) -> Job {
    let job = Job::map::<Bytes, ()>(|line, out| {
        out.emit(line.value, ());
        Ok(())
    })
    .reducer(Identity::default);
    match ranges {
        Some(ranges) => job.partitioner(ranges).into(),
        None => job.into(),
    }
}
