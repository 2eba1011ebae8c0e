//! The combiner on encoded records, for merges: which of them run is not known to the compiler.

use mapreduce_protocol::Failure;

use super::failure;
use crate::api::{Combined, Combiner, Datum, UserError};

/// Folds two encoded values of one encoded key.
pub(crate) trait Fold {
    /// Leaves the one value in `out`, whose old content is dropped.
    fn fold(
        &mut self,
        key: &[u8],
        left: &[u8],
        right: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Failure>;
}

/// An author's [`Combiner`] as a [`Fold`].
pub(crate) struct CombinerFold<C> {
    pub(crate) combiner: C,
}

impl<C> CombinerFold<C> {
    pub(crate) fn new(combiner: C) -> Self {
        Self { combiner }
    }
}

impl<C: Combiner> Fold for CombinerFold<C> {
    fn fold(
        &mut self,
        key: &[u8],
        left: &[u8],
        right: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let key = C::Key::decode(key).map_err(|error| failure::undecodable(error, "key"))?;
        let decode =
            |bytes| C::Value::decode(bytes).map_err(|error| failure::undecodable(error, "value"));
        combine(&mut self.combiner, key, decode(left)?, decode(right)?, out)
    }
}

/// Calls the author's combiner once; its value is left in `out`.
#[inline]
pub(crate) fn combine<C: Combiner>(
    combiner: &mut C,
    key: <C::Key as Datum>::Ref<'_>,
    left: <C::Value as Datum>::Ref<'_>,
    right: <C::Value as Datum>::Ref<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let mut combined = Combined::new(out);
    combiner
        .combine(key, left, right, &mut combined)
        .map_err(|error| failure::user_code(&error, "combiner"))?;
    if combined.is_written() {
        Ok(())
    } else {
        let error = UserError::from("it set no value");
        Err(failure::user_code(&error, "combiner"))
    }
}
