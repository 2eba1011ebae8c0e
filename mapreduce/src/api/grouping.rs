//! Grouping by fewer of a key's fields than it is sorted by (Hadoop: grouping comparator).

use std::cmp::Ordering;

use super::{Datum, DecodeError, Fields, Key, fields};

/// The first fields of a key, which it is partitioned and grouped by: the widths of their encodings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupFields(&'static [Option<usize>]);

impl GroupFields {
    /// What all keys of a group, and no others, begin with.
    #[inline]
    pub(crate) fn part_of(self, encoded: &[u8]) -> Result<&[u8], DecodeError> {
        let length = fields::leading(encoded, self.0);
        length
            .map(|n| &encoded[..n])
            .ok_or_else(|| DecodeError::new("key of several fields", encoded))
    }
}

/// An order of keys.
pub(crate) type Compare<K> =
    for<'a, 'b> fn(<K as Datum>::Ref<'a>, <K as Datum>::Ref<'b>) -> Ordering;

/// How a job groups that does not group by the whole key: in encodings, for the runtime, and by their values.
pub(crate) struct Grouping<K: Key> {
    pub(crate) fields: GroupFields,
    pub(crate) compare: Compare<K>,
}

impl<K: Fields> Grouping<K> {
    /// By the first `N` fields; `None` if these are all.
    pub(crate) fn by<const N: usize>() -> Option<Self> {
        const { assert!(0 < N && N <= K::FIELDS, "group_by: N is a number of the key's fields") };
        let compare: Compare<K> = |a, b| K::compare_leading(a, b, N);
        (N < K::FIELDS).then(|| Self { fields: GroupFields(&K::WIDTHS[..N]), compare })
    }
}
