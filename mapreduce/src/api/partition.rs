//! Which reduce a key goes to.

use xxhash_rust::xxh3::xxh3_64;

use super::Key;

/// Chooses a key's partition (Hadoop: `Partitioner`). Equal keys must get equal answers, in every
/// process.
pub trait Partitioner<K: Key> {
    /// A number below `n_partitions`. `encoded` is the key's encoding; where the job groups by its first fields alone
    /// ([`crate::JobOf::group_by`]), of these only, and the other fields must not matter.
    fn partition(&self, key: K::Ref<'_>, encoded: &[u8], n_partitions: u32) -> u32;
}

/// The default: XXH3-64 of the encoded key, modulo the number of partitions. The hash has a published
/// specification, so that executables of different ages and languages agree.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashPartitioner;

impl<K: Key> Partitioner<K> for HashPartitioner {
    #[inline]
    fn partition(&self, _: K::Ref<'_>, encoded: &[u8], n_partitions: u32) -> u32 {
        let remainder = xxh3_64(encoded) % u64::from(n_partitions.max(1));
        u32::try_from(remainder).expect("a remainder is below its 32-bit divisor")
    }
}
