//! Where the replicas of a new chunk go (GFS 2003, section 4.2; Hadoop's default policy). A pure
//! choice among the servers that can take it; which ones can, `servers.rs` decides.

use ids::{HostName, RackName};

/// A live server with room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) host: &'a HostName,
    pub(crate) rack: &'a RackName,
    /// How much it was given so far, weighted by its free space: equal loads are a fair
    /// distribution.
    pub(crate) load: u64,
    /// Orders equal loads differently for each chunk. Otherwise the same servers would share all
    /// their chunks, and what one loses could be copied from a single other one.
    pub(crate) turn: u64,
    /// Whether it failed this writer.
    pub(crate) excluded: bool,
}

/// How well a server suits one replica: the lowest score wins, and the order of the fields is the
/// policy.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct PlacementScore<'a> {
    excluded: bool,
    /// Whether it is the wrong place for this replica: the first belongs on the writer's host, the
    /// second on another rack than the first, the third on the second's rack.
    away: bool,
    load: u64,
    turn: u64,
    host: &'a HostName,
}

/// What is asked of [`choose`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// Replicas asked for.
    pub(crate) replicas: u8,
    /// Replicas that a close needs: an excluded server is taken only to reach this number.
    pub(crate) needed: u8,
    /// The writer's host.
    pub(crate) writer: Option<&'a HostName>,
}

/// The positions of the chosen candidates, in pipeline order; fewer than wished for if there are no
/// more.
pub(crate) fn choose(candidates: &[Candidate<'_>], wish: Wish<'_>) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < usize::from(wish.replicas) {
        let rack_of = |n: usize| chosen.get(n).map(|&at| candidates[at].rack);
        let away = |candidate: &Candidate<'_>| match chosen.len() {
            0 => wish.writer.is_some_and(|writer| writer != candidate.host),
            1 => rack_of(0) == Some(candidate.rack),
            2 => rack_of(1) != Some(candidate.rack),
            _ => false,
        };
        let score = |candidate: &Candidate<'_>| (candidate.excluded, away(candidate));
        let best = candidates
            .iter()
            .enumerate()
            .filter(|(at, _)| !chosen.contains(at))
            .map(|(at, candidate)| {
                let (excluded, away) = score(candidate);
                let Candidate { load, turn, host, .. } = *candidate;
                (PlacementScore { excluded, away, load, turn, host }, at)
            })
            .min();
        match best {
            Some((score, _)) if score.excluded && chosen.len() >= usize::from(wish.needed) => break,
            Some((_, at)) => chosen.push(at),
            None => break,
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given {
        host: HostName,
        rack: RackName,
        load: u64,
        excluded: bool,
    }

    /// Servers as `host/rack load`, an excluded one with `!` before.
    fn given(text: &str) -> Vec<Given> {
        text.split(", ")
            .map(|server| {
                let (place, load) = server.split_once(' ').unwrap();
                let (host, rack) = place.trim_start_matches('!').split_once('/').unwrap();
                Given {
                    host: host.parse().unwrap(),
                    rack: format!("/{rack}").parse().unwrap(),
                    load: load.parse().unwrap(),
                    excluded: server.starts_with('!'),
                }
            })
            .collect()
    }

    fn check(servers: &str, replicas: u8, writer: &str, expected: &str) {
        let servers = given(servers);
        let candidates: Vec<_> = servers
            .iter()
            .map(|Given { host, rack, load, excluded }| Candidate {
                host,
                rack,
                load: *load,
                turn: 0,
                excluded: *excluded,
            })
            .collect();
        let writer = writer.parse().ok();
        let wish = Wish { replicas, needed: replicas.min(2), writer: writer.as_ref() };
        let chosen: Vec<_> =
            choose(&candidates, wish).into_iter().map(|at| candidates[at].host.as_str()).collect();
        assert_eq!(chosen.join(" "), expected, "{replicas} replicas of {writer:?}");
    }

    #[test]
    fn the_first_replica_is_local_the_second_on_another_rack_the_third_beside_the_second() {
        let racks = "a/1 9, b/1 0, c/2 5, d/2 4, e/3 6";
        check(racks, 1, "a", "a");
        check(racks, 2, "a", "a d");
        check(racks, 3, "a", "a d c");
        check(racks, 4, "a", "a d c b");
        check(racks, 9, "a", "a d c b e");
    }

    #[test]
    fn without_the_writers_host_the_least_loaded_server_is_first() {
        check("a/1 9, b/1 2, c/2 5", 2, "", "b c");
        check("a/1 9, b/1 2, c/2 5", 2, "elsewhere", "b c");
        check("a/1 1, b/1 1", 1, "", "a");
    }

    #[test]
    fn with_a_single_rack_the_load_alone_decides_the_others() {
        check("a/1 9, b/1 2, c/1 5", 3, "a", "a b c");
    }

    #[test]
    fn the_third_goes_elsewhere_if_the_seconds_rack_is_full() {
        check("a/1 0, b/1 1, c/2 5", 3, "a", "a c b");
    }

    #[test]
    fn a_server_that_failed_the_writer_is_taken_only_where_the_close_needs_it() {
        check("!a/1 0, b/1 5, c/1 6", 3, "a", "b c");
        check("!a/1 0, b/1 5", 3, "a", "b a");
        check("!a/1 0, !b/1 5", 3, "b", "b a");
        check("!a/1 0, b/1 9", 1, "a", "b");
        check("!a/1 0", 1, "", "a");
    }
}
