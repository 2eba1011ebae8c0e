//! Several inputs with a mapper each (Hadoop: `MultipleInputs`): which one reads a file, its path says.

use std::cmp::Reverse;
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
    /// The first one, or one more, beside `others`.
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
        let chosen = chosen(path, self.inputs.iter().map(|(input, _)| input.as_str()));
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

/// The input that `path` is, or lies in: of several the one that stands deepest in the path, and of equals the first.
fn chosen<'a>(path: &str, inputs: impl Iterator<Item = &'a str>) -> Option<usize> {
    let fitting = inputs.enumerate().filter_map(|(n, input)| Some((end_in(path, input)?, n)));
    fitting.max_by_key(|(end, n)| (*end, Reverse(*n))).map(|(_, n)| n)
}

/// Where `input` ends in a path that is it or lies in it: an absolute path or URL from the start, any other one by its
/// folders' and file's names, the last time they stand there.
fn end_in(path: &str, input: &str) -> Option<usize> {
    let input = input.trim_end_matches('/');
    let is_whole = |end: usize| path[end..].is_empty() || path[end..].starts_with('/');
    if input.starts_with('/') || input.contains("://") {
        return (path.starts_with(input) && is_whole(input.len())).then_some(input.len());
    }
    let names = path.rmatch_indices('/').map(|(at, _)| at + 1).chain([0]);
    let mut found = names.filter(|at| path[*at..].starts_with(input)).map(|at| at + input.len());
    found.find(|end| is_whole(*end))
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
            ("/logs/logs/logs2", "logs/logs", true),
            ("/a/logs/logs/logs/logs2", "logs/logs", true),
            ("logs/x", "logs", true),
        ] {
            assert_eq!(end_in(path, input).is_some(), expected, "{input} of {path}");
        }
    }

    #[test]
    fn the_deepest_input_reads_a_file_and_of_equals_the_first() {
        for (path, inputs, expected) in [
            ("/home/users/me/orders/part-0", ["users", "orders"], Some(1)),
            ("/home/orders/me/users/part-0", ["users", "orders"], Some(0)),
            ("/in/users/2026/part-0", ["/in/users", "/in/users/2026"], Some(1)),
            ("/in/users/part-0", ["users", "/in/users"], Some(0)),
            ("/in/users/part-0", ["/in/users", "users"], Some(0)),
            ("/in/visits/part-0", ["/in/users", "users"], None),
            ("/logs/logs/logs2", ["logs/logs", "logs"], Some(0)),
            ("/in/visits/part-0", ["/", "users"], Some(0)),
            ("s3://bucket/visits/part-0", ["users", "/"], Some(1)),
            ("/in/users/part-0", ["/", "users"], Some(1)),
        ] {
            assert_eq!(chosen(path, inputs.into_iter()), expected, "{inputs:?} of {path}");
        }
    }
}
