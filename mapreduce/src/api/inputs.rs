//! Several inputs with a mapper each (Hadoop: `MultipleInputs`): which one reads a file, its path says.

use std::sync::Arc;

use super::job::Factory;
use super::{Datum, Key, Mapper, Output, Record, UserError};

/// Some author's mapper of these keys and values.
type AnyMapper<K, V> = Box<dyn Mapper<Key = K, Value = V>>;

/// The mappers of several inputs as one; made by [`crate::Job::map_input`] and [`crate::Job::input`].
pub struct InputMappers<K: Key, V: Datum> {
    inputs: Arc<[Input<K, V>]>,
    /// In the order of `inputs`: those that were asked for.
    mappers: Vec<Option<AnyMapper<K, V>>>,
    /// The last record's file, and who reads it.
    current: Option<(String, usize)>,
}

/// Paths and who reads them.
pub(crate) struct Inputs<K, V>(Arc<[Input<K, V>]>);

type Input<K, V> = (String, Factory<AnyMapper<K, V>>);

impl<K: Key, V: Datum> Inputs<K, V> {
    /// The first one, or one more, which is asked after all `others`.
    pub(crate) fn and<M, F>(others: &[Input<K, V>], path: &str, mapper: F) -> Self
    where
        M: Mapper<Key = K, Value = V> + 'static,
        F: Fn() -> M + Send + Sync + 'static,
    {
        let factory: Factory<AnyMapper<K, V>> = Arc::new(move || Box::new(mapper()));
        Self(others.iter().cloned().chain([(path.to_owned(), factory)]).collect())
    }

    /// A mapper for one attempt.
    pub(crate) fn mappers(&self) -> InputMappers<K, V> {
        InputMappers { inputs: Arc::clone(&self.0), mappers: Vec::new(), current: None }
    }
}

impl<K: Key, V: Datum> InputMappers<K, V> {
    /// Of which they are.
    pub(crate) fn inputs(&self) -> &[Input<K, V>] {
        &self.inputs
    }

    /// Which mapper reads `path`; it is made and set up when it is first needed.
    #[cold]
    fn choose(&mut self, path: &str, out: &mut Output<'_, K, V>) -> Result<usize, UserError> {
        let chosen = self.inputs.iter().position(|(input, _)| is_below(path, input));
        let Some(chosen) = chosen else {
            let inputs: Vec<&str> = self.inputs.iter().map(|(input, _)| input.as_str()).collect();
            let inputs = inputs.join(", ");
            return Err(
                format!("no mapper reads {path}: the program has mappers of {inputs}").into()
            );
        };
        self.mappers.resize_with(self.inputs.len(), || None);
        if self.mappers[chosen].is_none() {
            let mut mapper = (self.inputs[chosen].1)();
            mapper.setup(out)?;
            self.mappers[chosen] = Some(mapper);
        }
        self.current = Some((path.to_owned(), chosen));
        Ok(chosen)
    }
}

/// Whether `path` is `input` or lies in it: an absolute path or URL from its start, any other one by its folders' and
/// file's names wherever they stand.
fn is_below(path: &str, input: &str) -> bool {
    let input = input.trim_end_matches('/');
    let ends = |rest: &str| rest.is_empty() || rest.starts_with('/');
    if input.starts_with('/') || input.contains("://") {
        return path.strip_prefix(input).is_some_and(ends);
    }
    let found = path.match_indices(input);
    found.into_iter().any(|(at, _)| {
        let begins = at == 0 || path.as_bytes()[at - 1] == b'/';
        begins && ends(&path[at + input.len()..])
    })
}

impl<K: Key, V: Datum> Mapper for InputMappers<K, V> {
    type Key = K;
    type Value = V;

    #[inline]
    fn map(&mut self, record: Record<'_>, out: &mut Output<'_, K, V>) -> Result<(), UserError> {
        let chosen = match &self.current {
            Some((path, chosen)) if path == record.path => *chosen,
            _ => self.choose(record.path, out)?,
        };
        match &mut self.mappers[chosen] {
            Some(mapper) => mapper.map(record, out),
            None => Ok(()),
        }
    }

    fn finish(&mut self, out: &mut Output<'_, K, V>) -> Result<(), UserError> {
        self.mappers.iter_mut().flatten().try_for_each(|mapper| mapper.finish(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_a_path_or_names_within_one() {
        for (path, input, expected) in [
            ("/in/users/part-0", "/in/users", true),
            ("/in/users/part-0", "/in/users/", true),
            ("/in/users", "/in/users", true),
            ("/in/users2/part-0", "/in/users", false),
            ("/data/in/users/part-0", "/in/users", false),
            ("s3://bucket/users/a", "s3://bucket/users", true),
            ("/data/in/users/part-0", "users", true),
            ("/data/in/users/part-0", "in/users", true),
            ("/data/in/users/part-0", "in/part-0", false),
            ("/data/in/users.txt", "users", false),
            ("/data/superusers/users/x", "users", true),
            ("/data/superusers/x", "users", false),
        ] {
            assert_eq!(is_below(path, input), expected, "{input} of {path}");
        }
    }
}
