//! Section `pools`: who shares the slots with whom.

use serde::{Deserialize, Serialize};

use crate::JobSharing;

/// Shares of one pool are at most so many times another one's.
const WEIGHT_MAX: u32 = 1_000_000;

/// One entry of `pools`. Only the name is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// What jobs call it with `pool`; `default` is that of jobs that say nothing.
    pub name: String,
    /// Its share of the slots beside other pools; 1 if absent.
    #[serde(default)]
    pub weight: Option<u32>,
    /// Slots that it gets before others get more than theirs, as far as it wants them; 0 if absent.
    #[serde(default)]
    pub min_slots: Option<u32>,
    /// Slots that it may hold at once; any number if absent.
    #[serde(default)]
    pub slots_max: Option<u32>,
    /// Jobs of it that run at once, the others wait; any number if absent.
    #[serde(default)]
    pub running_jobs_max: Option<u32>,
    /// Unfinished jobs of it, those that wait too; more are refused. Any number if absent.
    #[serde(default)]
    pub jobs_max: Option<u32>,
    /// How its jobs share its slots; as `jobtracker.sharing` if absent.
    #[serde(default)]
    pub sharing: Option<JobSharing>,
}

impl Pool {
    /// An entry that says nothing but the name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            weight: None,
            min_slots: None,
            slots_max: None,
            running_jobs_max: None,
            jobs_max: None,
            sharing: None,
        }
    }
}

/// A key of an entry, what it accepts, and the check.
pub(crate) struct PoolRule {
    pub(crate) key: &'static str,
    pub(crate) accepted: &'static str,
    pub(crate) holds: fn(&Pool) -> bool,
}

pub(crate) const POOL_RULES: &[PoolRule] = &[
    PoolRule {
        key: "name",
        accepted: "1 to 64 letters, digits, '-', '_' and '.'",
        holds: |pool| is_pool_name(&pool.name),
    },
    PoolRule {
        key: "weight",
        accepted: "null, or a whole number from 1 to 1000000",
        holds: |pool| pool.weight.is_none_or(|weight| (1..=WEIGHT_MAX).contains(&weight)),
    },
    PoolRule { key: "min_slots", accepted: "null, or a whole number", holds: |_| true },
    PoolRule {
        key: "slots_max",
        accepted: "null, or a whole number from 1, not below min_slots",
        holds: |pool| {
            let least = pool.min_slots.unwrap_or(0).max(1);
            pool.slots_max.is_none_or(|max| max >= least)
        },
    },
    PoolRule {
        key: "running_jobs_max",
        accepted: "null, or a whole number from 1",
        holds: |pool| pool.running_jobs_max != Some(0),
    },
    PoolRule {
        key: "jobs_max",
        accepted: "null, or a whole number from 1",
        holds: |pool| pool.jobs_max != Some(0),
    },
    PoolRule { key: "sharing", accepted: "null, fair or fifo", holds: |_| true },
];

/// Whether a pool may be called so.
#[must_use]
pub fn is_pool_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

/// What the key of an entry accepts.
pub(crate) fn accepted_form(key: &str) -> &'static str {
    let pool_key = key.split_once("].").map_or("", |(_, pool_key)| pool_key);
    let rule = POOL_RULES.iter().find(|rule| rule.key == pool_key);
    rule.map_or("the keys of a pool: {name: etl}", |rule| rule.accepted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn error(pools: &str) -> String {
        parse(&format!("pools: [{pools}]"), "c.yaml", &[]).unwrap_err().to_string()
    }

    #[test]
    fn a_name_is_enough_and_each_key_is_checked() {
        let config = parse("pools: [{name: etl}, {name: default, jobs_max: 9}]", "c", &[]).unwrap();
        assert_eq!(config.pools[0], Pool::named("etl"));
        for (key, bad) in [
            ("name", "{name: ''}"),
            ("name", "{name: 'a b'}"),
            ("weight", "{name: a, weight: 0}"),
            ("slots_max", "{name: a, slots_max: 0}"),
            ("slots_max", "{name: a, slots_max: 3, min_slots: 4}"),
            ("running_jobs_max", "{name: a, running_jobs_max: 0}"),
            ("jobs_max", "{name: a, jobs_max: 0}"),
        ] {
            let error = error(bad);
            assert!(error.contains(&format!("pools[0].{key}")), "{bad}: {error}");
        }
        let error = error("{name: a}, {name: a}");
        assert!(error.contains("pools[1].name") && error.contains("pools[0].name"), "{error}");
    }
}
