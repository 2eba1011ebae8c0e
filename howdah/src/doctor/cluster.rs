//! What the masters say: whether they know the secret, which release they are, how their clocks stand, and which hosts have
//! registered.

use std::collections::BTreeMap;
use std::time::Duration;

use chunkstore_protocol::Liveness;
use config::Config;
use mapreduce_protocol::{HostState, HostStatus};
use net::reqwest::Method;
use net::{CallError, Client};

use super::Finding;
use super::daemons::Daemon;
use crate::session::Session;

const SECRET: &str = "secret";
const CLOCK: &str = "clock";
const VERSION: &str = "version";
const REGISTERED: &str = "registered";
const HOST: &str = "host";
/// Clocks that are so far apart are set by nobody.
const SKEW_USUAL: Duration = Duration::from_secs(2);
/// What tokens and leases may bear.
const SKEW_MAX: Duration = Duration::from_secs(30);

/// All of them.
pub(super) async fn all(session: &Session, config: &Config, daemons: &[Daemon]) -> Vec<Finding> {
    let client = session.client();
    let mut findings = vec![];
    let mut let_in = true;
    for master in daemons.iter().filter(|daemon| daemon.host.is_none()) {
        let Some(seen) = look(client, &master.address).await else { continue };
        findings.push(judge_version(master, seen.version.as_deref()));
        findings.extend(seen.ahead_ms.map(|ahead| judge_clock(master, ahead)));
        let finding = judge_secret(master, &seen.let_in);
        let_in &= seen.let_in.is_ok();
        findings.push(finding);
    }
    if !let_in {
        return findings;
    }
    if let Ok(list) = session.jobs().hosts().await {
        let known = list.hosts.iter().map(|it| (it.host.as_str(), state_of(it))).collect();
        findings.extend(registered(config, "tasktracker", &known));
        findings.extend(list.hosts.iter().flat_map(complaints));
    }
    if let Ok(store) = session.store().await
        && let Ok(report) = store.report().await
    {
        let known = report.servers.iter().map(|server| {
            let gone = server.liveness != Liveness::Live;
            (server.host.as_str(), gone.then(|| "DEAD".to_owned()))
        });
        findings.extend(registered(config, "chunkserver", &known.collect()));
    }
    findings
}

/// What a master was seen to be.
struct Seen {
    version: Option<String>,
    /// How far its clock is ahead of this host's, milliseconds, to a second.
    ahead_ms: Option<i64>,
    /// Whether a call that is signed is taken.
    let_in: Result<(), CallError>,
}

/// `None` where nobody answers: that has a finding of its own.
async fn look(client: &Client, address: &str) -> Option<Seen> {
    let metrics =
        client.request(Method::GET, address, "/metrics").timeout(client.request_timeout());
    let answer = client.send(address, metrics).await.ok()?;
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let ahead_ms = date.and_then(|date| ahead(date, clock::wall().0));
    let version = version_in(&answer.text().await.ok()?);
    let signed =
        client.request(Method::GET, address, "/v1/cluster").timeout(client.request_timeout());
    let let_in = client.send(address, signed).await.map(drop);
    Some(Seen { version, ahead_ms, let_in })
}

/// The release in a page of metrics.
fn version_in(metrics: &str) -> Option<String> {
    let line = metrics.lines().find(|line| line.starts_with("howdah_build_info{"))?;
    Some(line.split_once("version=\"")?.1.split_once('"')?.0.to_owned())
}

/// How far a `Date` header is ahead of `now_ms`. It has no parts of a second: of half a second it is thought.
fn ahead(date: &str, now_ms: u64) -> Option<i64> {
    let time = jiff::fmt::rfc2822::parse(date).ok()?;
    let there = time.timestamp().as_millisecond() + 500;
    Some(there - i64::try_from(now_ms).ok()?)
}

/// Also of a host whose clock was told with more than seconds.
pub(super) fn judge_clock(about: &Daemon, ahead_ms: i64) -> Finding {
    let apart = Duration::from_millis(ahead_ms.unsigned_abs());
    let said = format!(
        "{:.1} s {} this host's clock",
        apart.as_secs_f64(),
        if ahead_ms < 0 { "behind" } else { "ahead of" }
    );
    let remedy = "have both hosts set their clocks by the network (`timedatectl set-ntp true`, or chrony): tokens end, and \
                  users' valid_from counts, by each host's own";
    match apart {
        apart if apart > SKEW_MAX => Finding::failed(CLOCK, about, said, remedy),
        apart if apart > SKEW_USUAL => Finding::warning(CLOCK, about, said, remedy),
        _ => Finding::ok(CLOCK, about, said),
    }
}

/// Of a daemon that has told which release it is, or whose page of metrics was no such page.
pub(super) fn judge_version(about: &Daemon, version: Option<&str>) -> Finding {
    let own = daemon::VERSION;
    match version {
        Some(version) if version == own => Finding::ok(VERSION, about, version),
        Some(version) => Finding::failed(
            VERSION,
            about,
            format!("{version}, and this host has {own}"),
            "install the same release on all hosts, and restart the daemons of the old one",
        ),
        None => Finding::warning(
            VERSION,
            about,
            "tells no release",
            "see who answers there, and install the same release on all hosts",
        ),
    }
}

/// Whether a signed call was taken.
pub(super) fn judge_secret<T>(about: &Daemon, answer: &Result<T, CallError>) -> Finding {
    match answer {
        Ok(_) => Finding::ok(SECRET, about, "has the same secret"),
        // It knows who asks, who may not ask that.
        Err(error) if error.problem().is_some_and(|problem| problem.status == 403) => {
            Finding::ok(SECRET, about, "has the same secret")
        }
        Err(error) if error.problem().is_some_and(|problem| problem.status == 401) => {
            Finding::failed(
                SECRET,
                about,
                format!("takes no call that is signed here: {error}"),
                "copy the secret's file of one host to all (`sha256sum` tells whether they are alike), and restart the \
                 daemons that had another; a token of your own has to be good for this cluster, and not over",
            )
        }
        Err(error) => Finding::failed(
            SECRET,
            about,
            format!("does not say whether it has the same secret: {error}"),
            "ask with the cluster's secret (cluster.secret_file), or a token of an admin",
        ),
    }
}

/// Why it does not count as there.
fn state_of(status: &HostStatus) -> Option<String> {
    (status.state == HostState::Lost).then(|| status.state.as_str().to_owned())
}

/// One finding for each host of the configuration; `known`: what its master says is wrong with it, if something is.
fn registered(
    config: &Config,
    kind: &'static str,
    known: &BTreeMap<&str, Option<String>>,
) -> Vec<Finding> {
    let judged = config.hosts.iter().map(|host| {
        let about = format!("{kind} of {}", host.name);
        match known.get(host.name.as_str()) {
            Some(None) => Finding::ok(REGISTERED, about, "its master counts on it"),
            Some(Some(state)) => Finding::warning(
                REGISTERED,
                about,
                format!("{state}: its master hears nothing of it"),
                format!("start it there (`systemctl start howdah-{kind}`), or see in its log what keeps it away"),
            ),
            None => Finding::warning(
                REGISTERED,
                about,
                "its master has never heard of it",
                format!(
                    "start it there (`systemctl start howdah-{kind}`), see in its log what keeps it away, or take the \
                     host out of 'hosts'"
                ),
            ),
        }
    });
    judged.collect()
}

/// What a host itself complains of.
fn complaints(status: &HostStatus) -> Vec<Finding> {
    let host = &status.host;
    let ill = status.ailments.iter().map(|ailment| {
        Finding::warning(
            HOST,
            host,
            format!("is ill: {ailment}"),
            "mend that: it gets no tasks until then",
        )
    });
    let without = status.disks_without.iter().map(|ailment| {
        let remedy = "mend or replace that disk, then restart the TaskTracker";
        Finding::warning(HOST, host, format!("does without a disk: {ailment}"), remedy)
    });
    let exposed = status.not_isolated.iter().map(|why| {
        let said = format!("its tasks can read the cluster's secret: {why}");
        let remedy =
            "run only people's programs there whom you trust, or do as docs/operating.md says";
        Finding::warning(HOST, host, said, remedy)
    });
    let unreached = status.unreached.iter().map(|why| {
        let address = status.address.as_deref().unwrap_or_default();
        let remedy = daemon::reach_remedy("tasktracker", host, address);
        Finding::warning(HOST, host, format!("is not reached by the JobTracker {why}"), remedy)
    });
    ill.chain(without).chain(exposed).chain(unreached).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn master() -> Daemon {
        let address = "m:7880".to_owned();
        Daemon { kind: "jobtracker", host: None, listen: address.clone(), address }
    }

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_away() {
        let table = [
            (0, Verdict::Ok, "ahead of"),
            (-1999, Verdict::Ok, "2.0 s behind"),
            (2001, Verdict::Warning, "2.0 s ahead of"),
            (-30_001, Verdict::Failed, "30.0 s behind"),
            (i64::MIN, Verdict::Failed, "behind"),
        ];
        for (ahead_ms, verdict, said) in table {
            let finding = judge_clock(&master(), ahead_ms);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.said.contains(said), "{finding:?}");
            assert_eq!(
                finding.remedy.is_some_and(|it| it.contains("set-ntp")),
                verdict != Verdict::Ok
            );
        }
        assert_eq!(ahead("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777_000), Some(500));
        assert_eq!(ahead("yesterday", 0), None);
    }

    #[test]
    fn the_release_stands_in_the_metrics() {
        let page = "# TYPE howdah_build_info gauge\nhowdah_build_info{version=\"0.0.9\"} 1\n";
        assert_eq!(version_in(page).as_deref(), Some("0.0.9"));
        assert_eq!(version_in("go_info{version=\"1\"} 1\n"), None);
        let other = judge_version(&master(), Some("0.0.9"));
        assert!(other.verdict == Verdict::Failed && other.said.contains(daemon::VERSION));
        assert!(other.remedy.unwrap().contains("same release"));
        assert_eq!(judge_version(&master(), Some(daemon::VERSION)).verdict, Verdict::Ok);
        assert_eq!(judge_version(&master(), None).verdict, Verdict::Warning);
    }

    #[test]
    fn a_call_that_is_not_known_means_another_secret_and_one_that_is_not_allowed_the_same() {
        let refused = |status| {
            let (address, problem) =
                ("m:1".to_owned(), net::Problem::new(status, "forbidden", "no"));
            Err::<(), _>(CallError::Problem { address, problem })
        };
        let table = [
            (Ok(()), Verdict::Ok, ""),
            (refused(401), Verdict::Failed, "sha256sum"),
            (refused(403), Verdict::Ok, ""),
        ];
        for (answer, verdict, remedy) in table {
            let finding = judge_secret(&master(), &answer);
            assert_eq!(finding.verdict, verdict);
            assert!(finding.remedy.unwrap_or_default().contains(remedy), "{answer:?}");
        }
    }

    #[test]
    fn a_host_that_is_lost_or_was_never_there_is_said() {
        let host = |name: &str| {
            format!(
                "- {{name: {name}, chunkserver: {{address: '{name}:1'}}, tasktracker: {{address: '{name}:2'}}}}\n"
            )
        };
        let hosts: String = ["a", "b", "c"].into_iter().map(host).collect();
        let text = format!("cluster: {{secret_file: /s}}\nhosts:\n{hosts}");
        let config = config::parse(&text, "c", &[]).unwrap();
        let known = [("a", None), ("b", Some("LOST".to_owned()))].into();
        let findings = registered(&config, "tasktracker", &known);
        let verdicts: Vec<_> = findings.iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Warning, Verdict::Warning]);
        assert!(findings[1].said.starts_with("LOST"));
        assert!(findings[2].remedy.as_ref().unwrap().contains("take the host out"));
    }
}
