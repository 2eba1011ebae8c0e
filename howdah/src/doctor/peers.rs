//! What the hosts see of one another: each daemon with data is asked to knock at all others, and to fetch some bytes from
//! the next one.

use daemon::{Probe, ProbeReply, ProbeRequest};
use net::{CallError, Client};

use super::Finding;
use super::cluster::{judge_clock, judge_secret, judge_version};
use super::daemons::Daemon;

const BETWEEN: &str = "between";
const RATE: &str = "rate";
/// Fetched for a rate.
const RATE_BYTES: u64 = 4 << 20;
/// A way whose rate is below this share of the usual one is slow.
const SLOW: f64 = 0.25;
/// Above it, bytes a second, no job waits for the network much: whatever the others have.
const FAST: f64 = (100 << 20) as f64;

/// All of them; one that does not answer has a finding of its own.
pub(super) async fn all(client: &Client, daemons: &[Daemon]) -> Vec<Finding> {
    let mut findings = vec![];
    let asked: Vec<&Daemon> = daemons.iter().filter(|daemon| daemon.host.is_some()).collect();
    let mut answering = vec![];
    for &from in &asked {
        let addresses: Vec<String> =
            daemons.iter().filter(|to| *to != from).map(|to| to.address.clone()).collect();
        match knock(client, from, addresses).await {
            // Not running, or not reached from here: said elsewhere.
            Err(error) if error.problem().is_none() => {}
            Err(error) => findings.push(judge_secret::<()>(from, &Err(error))),
            Ok(Knocked { version, ahead_ms, probes }) => {
                answering.push(from);
                findings.push(judge_secret(from, &Ok(())));
                findings.push(judge_version(from, Some(&version)));
                findings.push(judge_clock(from, ahead_ms));
                findings.push(judge_between(from, daemons, &probes));
            }
        }
    }
    findings.extend(rates(client, &answering).await);
    findings
}

/// What a daemon answered.
struct Knocked {
    version: String,
    ahead_ms: i64,
    probes: Vec<Probe>,
}

async fn knock(
    client: &Client,
    from: &Daemon,
    addresses: Vec<String>,
) -> Result<Knocked, CallError> {
    let mut all = Knocked { version: String::new(), ahead_ms: 0, probes: vec![] };
    for part in addresses.chunks(daemon::PROBE_ADDRESSES_MAX) {
        let request = ProbeRequest { addresses: part.to_vec(), bytes: 0 };
        let reply: ProbeReply = client.post(&from.address, "/v1/probe", &request).await?;
        // It reads its clock last.
        let ahead = i128::from(reply.wall_ms) - i128::from(clock::wall().0);
        all.ahead_ms = i64::try_from(ahead).unwrap_or(i64::MAX);
        all.version = reply.version;
        all.probes.extend(reply.probes);
    }
    Ok(all)
}

/// Whom a host does not reach.
fn judge_between(from: &Daemon, daemons: &[Daemon], probes: &[Probe]) -> Finding {
    let named = |address: &str| {
        let daemon = daemons.iter().find(|daemon| daemon.address == address);
        daemon.map_or_else(|| address.to_owned(), ToString::to_string)
    };
    let is_down = |error: &str| error.contains("refused");
    let unreached = probes.iter().filter_map(|probe| Some((probe, probe.error.as_ref()?)));
    let (down, unreached): (Vec<_>, Vec<_>) = unreached.partition(|(_, error)| is_down(error));
    let listed = |which: &[(&Probe, &String)]| {
        let each =
            which.iter().map(|(probe, error)| format!("{} ({error})", named(&probe.address)));
        each.collect::<Vec<_>>().join("; ")
    };
    if !unreached.is_empty() {
        let remedy = "let the hosts' TCP connections to these ports through their firewalls, and have each host know the \
                      others' names (DNS, /etc/hosts)";
        return Finding::failed(
            BETWEEN,
            from,
            format!("does not reach {}", listed(&unreached)),
            remedy,
        );
    }
    if !down.is_empty() {
        let remedy = "start these daemons, or correct their addresses in the configuration";
        return Finding::warning(
            BETWEEN,
            from,
            format!("finds nobody at {}", listed(&down)),
            remedy,
        );
    }
    Finding::ok(BETWEEN, from, format!("reaches all {} others", probes.len()))
}

/// Each fetches from the next one on another host, one after another: else they would share the ways.
async fn rates(client: &Client, answering: &[&Daemon]) -> Vec<Finding> {
    let mut measured = vec![];
    for (nth, &to) in answering.iter().enumerate() {
        let others = answering.iter().cycle().skip(nth + 1).take(answering.len());
        let Some(&from) = others.into_iter().find(|it| it.host != to.host) else { continue };
        // The first time a connection is made, and rates are low: the better of two counts.
        let addresses = vec![from.address.clone(); 2];
        let request = ProbeRequest { addresses, bytes: RATE_BYTES };
        let reply = client.post::<_, ProbeReply>(&to.address, "/v1/probe", &request).await;
        let probes = reply.map(|reply| reply.probes).unwrap_or_default();
        let came = probes.iter().filter(|probe| probe.error.is_none());
        if let Some(micros) = came.map(|probe| probe.micros).min() {
            let rate = RATE_BYTES as f64 / (micros.max(1) as f64 / 1e6);
            measured.push((format!("{from} to {to}"), rate));
        }
    }
    judge_rates(&measured)
}

/// The slow ones, or one word for all.
fn judge_rates(measured: &[(String, f64)]) -> Vec<Finding> {
    let mut rates: Vec<f64> = measured.iter().map(|(_, rate)| *rate).collect();
    rates.sort_by(f64::total_cmp);
    let Some(usual) = rates.get(rates.len() / 2).copied() else { return vec![] };
    let shown = |rate: f64| format!("{}/s", indicatif::BinaryBytes(rate as u64));
    let slow = measured.iter().filter(|(_, rate)| *rate < usual * SLOW && *rate < FAST);
    let mut findings: Vec<Finding> = slow
        .map(|(way, rate)| {
            let said = format!("{}, where {} is usual here", shown(*rate), shown(usual));
            let remedy = "see at which speed that host's port of the switch works (`ethtool`), and what else uses it";
            Finding::warning(RATE, way, said, remedy)
        })
        .collect();
    if findings.is_empty() {
        let said = format!("{} to {}", shown(rates[0]), shown(rates[rates.len() - 1]));
        findings.push(Finding::ok(RATE, format!("{} ways between hosts", measured.len()), said));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn daemon(host: &str) -> Daemon {
        let address = format!("{host}:7881");
        Daemon {
            kind: "tasktracker",
            host: Some(host.to_owned()),
            listen: address.clone(),
            address,
        }
    }

    #[test]
    fn whom_a_host_does_not_reach_is_named_with_what_to_do() {
        let all = [daemon("a"), daemon("b"), daemon("c")];
        let probe = |nth: usize, error: Option<&str>| Probe {
            address: all[nth].address.clone(),
            error: error.map(str::to_owned),
            micros: 1,
        };
        let table = [
            (vec![probe(1, None), probe(2, None)], Verdict::Ok, "all 2", ""),
            (
                vec![probe(1, Some("Connection refused"))],
                Verdict::Warning,
                "tasktracker of b",
                "start",
            ),
            (
                vec![probe(1, Some("Connection refused")), probe(2, Some("no answer in time"))],
                Verdict::Failed,
                "tasktracker of c",
                "firewalls",
            ),
        ];
        for (probes, verdict, said, remedy) in table {
            let finding = judge_between(&all[0], &all, &probes);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.said.contains(said), "{finding:?}");
            assert!(finding.remedy.clone().unwrap_or_default().contains(remedy), "{finding:?}");
        }
    }

    #[test]
    fn a_way_that_is_slow_beside_the_others_is_said_unless_it_is_fast_enough() {
        let mib = |rate: u64| (rate << 20) as f64;
        let ways = |rates: &[u64]| {
            let named = rates.iter().map(|rate| (format!("to {rate}"), mib(*rate)));
            judge_rates(&named.collect::<Vec<_>>())
        };
        let slow = ways(&[110, 10, 112]);
        assert_eq!(slow.len(), 1);
        assert!(slow[0].verdict == Verdict::Warning && slow[0].about == "to 10", "{slow:?}");
        assert!(slow[0].remedy.as_ref().unwrap().contains("ethtool"));
        for fine in [&[110, 100, 112][..], &[5000, 200, 4000], &[1]] {
            let findings = ways(fine);
            assert!(findings.len() == 1 && findings[0].verdict == Verdict::Ok, "{findings:?}");
        }
        assert!(ways(&[]).is_empty());
    }
}
