//! Counters of one attempt: the author's and the runtime's own (Hadoop: `Counters`, `TaskCounter`).

use std::collections::BTreeMap;

/// A counter with a name of its own: an enum that derives it, whose name is the group and whose variants are the
/// counters.
///
/// ```
/// use mapreduce::{Bytes, Counter, Job};
///
/// #[derive(Counter)]
/// enum Lines {
///     Empty,
///     Long,
/// }
///
/// let job = Job::map::<Bytes, ()>(|line, out| {
///     match line.value.len() {
///         0 => out.add(Lines::Empty, 1), // `Lines.Empty` in `howdah job counters`
///         1000.. => out.add(Lines::Long, 1),
///         _ => out.emit(line.value, ()),
///     }
///     Ok(())
/// });
/// let _: Job = job.into();
/// ```
pub trait Counter {
    /// The group.
    fn group(&self) -> &'static str;

    /// The counter's name in it.
    fn name(&self) -> &'static str;
}

/// Group of the runtime's own counters.
pub(crate) const OWN_GROUP: &str = "task";

/// Distinct counters of one attempt; more are dropped and counted (Hadoop: `mapreduce.job.counters.max`).
const COUNTERS_MAX: usize = 1000;

/// Own counter: how many calls named a counter beyond [`COUNTERS_MAX`].
const DROPPED: &str = "COUNTERS_DROPPED";

/// Sums by group and name.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    // A job has a handful of them: a scan is faster than hashing two strings.
    sums: Vec<(Box<str>, Box<str>, u64)>,
}

impl Counters {
    /// Adds `n`.
    pub(crate) fn add(&mut self, group: &str, name: &str, n: u64) {
        let known = self.sums.iter().position(|(g, m, _)| **g == *group && **m == *name);
        match known {
            Some(at) => self.sums[at].2 = self.sums[at].2.saturating_add(n),
            None if self.sums.len() < COUNTERS_MAX || group == OWN_GROUP => {
                self.sums.push((group.into(), name.into(), n));
            }
            None => self.add(OWN_GROUP, DROPPED, 1),
        }
    }

    /// Adds `n` to one of the runtime's own, named as Hadoop's `TaskCounter`.
    pub(crate) fn add_own(&mut self, name: &str, n: u64) {
        self.add(OWN_GROUP, name, n);
    }

    /// Adds all of `others`, each under the name that `rename` gives it, or not at all.
    pub(crate) fn absorb(&mut self, others: Self, rename: impl Fn(&str) -> Option<&str>) {
        for (group, name, sum) in others.sums {
            if let Some(name) = rename(&name) {
                self.add(&group, name, sum);
            }
        }
    }

    /// The wire form, `GROUP.NAME` → sum. What is the same there is added up: `a.b` of `g` is `b` of `g.a`.
    pub(crate) fn into_sums(self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (group, name, n) in self.sums {
            let sum: &mut u64 = sums.entry(format!("{group}.{name}")).or_default();
            *sum = sum.saturating_add(n);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_meet_on_the_wire_are_added_up() {
        let mut counters = Counters::default();
        counters.add("g", "a.b", 1);
        counters.add("g.a", "b", 2);
        counters.add("g.a", "b", u64::MAX - 2);
        assert_eq!(counters.into_sums(), [("g.a.b".to_owned(), u64::MAX)].into());
    }

    #[test]
    fn counters_add_up_and_are_bounded() {
        let mut counters = Counters::default();
        for n in 0..COUNTERS_MAX + 5 {
            counters.add("g", &format!("c{n}"), 1);
        }
        counters.add("g", "c0", 2);
        let sums = counters.into_sums();
        assert_eq!(sums["g.c0"], 3);
        assert_eq!(sums["task.COUNTERS_DROPPED"], 5);
        assert_eq!(sums.len(), COUNTERS_MAX + 1);
    }
}
