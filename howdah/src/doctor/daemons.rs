//! The daemons that the configuration names: whether those of this host have their ports, and those of others answer.

use std::fmt;
use std::io;
use std::net::TcpListener;

use config::Config;
use net::reqwest::Method;
use net::{CallError, Client};
use tokio::task::JoinSet;

use super::Finding;

const PORT: &str = "port";
const REACHED: &str = "reached";
/// Daemons that are knocked at at once.
const AT_ONCE: usize = 16;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Daemon {
    /// `chunkmaster`, `jobtracker`, `chunkserver` or `tasktracker`.
    pub(super) kind: &'static str,
    /// Its entry of `hosts`; masters have none.
    pub(super) host: Option<String>,
    /// Where others connect.
    pub(super) address: String,
    /// Where it listens.
    pub(super) listen: String,
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{} of {host}", self.kind),
            None => f.write_str(self.kind),
        }
    }
}

impl Daemon {
    /// The part of its address before the port.
    pub(super) fn name(&self) -> &str {
        self.address.rsplit_once(':').map_or(self.address.as_str(), |(name, _)| name)
    }

    /// The key that holds its address.
    pub(super) fn key(&self) -> String {
        match &self.host {
            Some(host) => format!("{}.address of {host} in 'hosts'", self.kind),
            None => format!("{}.address", self.kind),
        }
    }
}

/// All of a cluster, the masters first.
pub(super) fn all_of(config: &Config) -> Vec<Daemon> {
    let master = |kind, address: &str, listen: &str| {
        let (address, listen) = (address.to_owned(), listen.to_owned());
        Daemon { kind, host: None, address, listen }
    };
    let masters = [
        master("chunkmaster", &config.chunkmaster.address, config.chunkmaster_listen()),
        master("jobtracker", &config.jobtracker.address, config.jobtracker_listen()),
    ];
    let hosts = config.all_hosts().flat_map(|host| {
        let name = Some(host.name);
        let (server, tracker) = (host.chunkserver_address, host.tasktracker_address);
        [
            ("chunkserver", server, host.chunkserver_listen),
            ("tasktracker", tracker, host.tasktracker_listen),
        ]
        .map(|(kind, address, listen)| Daemon {
            kind,
            host: name.clone(),
            address,
            listen,
        })
    });
    masters.into_iter().chain(hosts).collect()
}

/// Knocks at all of them, and returns what each says in their order: how far its clock is ahead is not its own word.
async fn knock(client: &Client, daemons: &[Daemon]) -> Vec<Result<(), CallError>> {
    let mut answers: Vec<(usize, Result<(), CallError>)> = Vec::with_capacity(daemons.len());
    let mut under_way = JoinSet::new();
    for (nth, daemon) in daemons.iter().enumerate() {
        if under_way.len() == AT_ONCE {
            answers.extend(under_way.join_next().await.and_then(Result::ok));
        }
        let (client, address) = (client.clone(), daemon.address.clone());
        under_way.spawn(async move {
            let question = client.request(Method::GET, &address, "/healthz");
            let question = question.timeout(client.request_timeout());
            (nth, client.send(&address, question).await.map(drop))
        });
    }
    while let Some(done) = under_way.join_next().await {
        answers.extend(done.ok());
    }
    answers.sort_unstable_by_key(|(nth, _)| *nth);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Whether each daemon of this host runs, or could.
pub(super) async fn ports(client: &Client, ours: &[Daemon]) -> Vec<Finding> {
    let answers = knock(client, ours).await;
    let judged = ours.iter().zip(answers).map(|(daemon, answer)| {
        let bound = match &answer {
            Err(CallError::Connect { .. }) => Some(TcpListener::bind(&daemon.listen).map(drop)),
            _ => None,
        };
        judge_port(daemon, &answer, bound)
    });
    judged.collect()
}

/// `bound`: what came of listening there, where nobody answered.
fn judge_port(
    daemon: &Daemon,
    answer: &Result<(), CallError>,
    bound: Option<io::Result<()>>,
) -> Finding {
    let Daemon { kind, address, listen, .. } = daemon;
    let key = daemon.key();
    match (answer, bound) {
        (Ok(()) | Err(CallError::Problem { .. }), _) => {
            Finding::ok(PORT, daemon, format!("runs, and answers at {address}"))
        }
        (Err(CallError::Connect { .. }), Some(Ok(()))) => {
            Finding::ok(PORT, daemon, format!("does not run; {listen} is free for it"))
        }
        (Err(CallError::Connect { .. }), Some(Err(error)))
            if error.kind() == io::ErrorKind::AddrInUse && address != listen =>
        {
            let said = format!(
                "{listen} is in use, but nobody answers at {address}, where others are to reach it"
            );
            let remedy = format!(
                "let connections to {address} through to {listen}, or correct {key}; if the {kind} does not run, see who \
                 has its port (`ss -ltnp`)"
            );
            Finding::failed(PORT, daemon, said, remedy)
        }
        (Err(CallError::Connect { .. }), Some(Err(error)))
            if error.kind() == io::ErrorKind::AddrInUse =>
        {
            let said = format!("{address} is in use, and nobody answers there");
            let remedy = format!(
                "see who has it (`ss -ltnp`) and stop that, or correct {key}; a {kind} that has just ended gives it \
                 back within a minute"
            );
            Finding::failed(PORT, daemon, said, remedy)
        }
        (Err(CallError::Connect { .. }), Some(Err(error))) => {
            let said = format!("can't listen on {listen}: {error}");
            Finding::failed(PORT, daemon, said, crate::daemons::listen::remedy(&error))
        }
        (Err(CallError::Stranger { .. } | CallError::Decode { .. }), _) => {
            let said = format!("somebody else answers at {address}");
            let remedy =
                format!("see who has it (`ss -ltnp`) and stop that, or give {key} another port");
            Finding::failed(PORT, daemon, said, remedy)
        }
        (Err(error), _) => {
            let said = format!("{address} is taken, but does not answer: {error}");
            let remedy =
                format!("look at the log of the {kind}, or at who has the port (`ss -ltnp`)");
            Finding::failed(PORT, daemon, said, remedy)
        }
    }
}

/// Whether each daemon of other hosts answers here.
pub(super) async fn reached(client: &Client, others: &[Daemon]) -> Vec<Finding> {
    let answers = knock(client, others).await;
    others.iter().zip(answers).map(|(daemon, answer)| judge_reached(daemon, &answer)).collect()
}

fn judge_reached(daemon: &Daemon, answer: &Result<(), CallError>) -> Finding {
    let Daemon { kind, address, host, .. } = daemon;
    let key = daemon.key();
    match answer {
        Ok(()) | Err(CallError::Problem { .. }) => {
            Finding::ok(REACHED, daemon, format!("answers at {address}"))
        }
        Err(CallError::Stranger { said, .. }) => {
            let said = format!("somebody else answers at {address}: {said}");
            Finding::failed(REACHED, daemon, said, format!("correct {key}"))
        }
        Err(error) if error.nobody_listens() => {
            let said = format!("nobody listens: {error}");
            let remedy =
                format!("start it there (`systemctl start howdah-{kind}`), or correct {key}");
            match host {
                // Other hosts do a lost one's work.
                Some(_) => Finding::warning(REACHED, daemon, said, remedy),
                None => Finding::failed(REACHED, daemon, said, remedy),
            }
        }
        Err(error) => {
            let port = address.rsplit_once(':').map_or("", |(_, port)| port);
            let said = error.to_string();
            let remedy = format!(
                "switch that host on, let TCP connections to its port {port} through the firewalls of both hosts, or \
                 correct {key}"
            );
            Finding::failed(REACHED, daemon, said, remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn daemon(host: Option<&str>) -> Daemon {
        let kind = if host.is_some() { "chunkserver" } else { "chunkmaster" };
        let address = "h:7871".to_owned();
        Daemon { kind, host: host.map(str::to_owned), listen: address.clone(), address }
    }

    const REFUSED: io::ErrorKind = io::ErrorKind::ConnectionRefused;

    fn connect(kind: io::ErrorKind) -> Result<(), CallError> {
        let (address, cause) = ("h:7871".to_owned(), kind.to_string());
        Err(CallError::Connect { address, cause, kind: Some(kind) })
    }

    fn stranger() -> Result<(), CallError> {
        let (expected, key) = ("", "");
        let (address, said) = ("h:7871".to_owned(), "it answers 404".to_owned());
        Err(CallError::Stranger { address, expected, key, said })
    }

    fn timed_out() -> Result<(), CallError> {
        Err(CallError::TimedOut { address: "h:7871".to_owned() })
    }

    #[test]
    fn a_port_is_the_daemons_or_free_or_there_is_a_remedy() {
        let failed = |kind: io::ErrorKind| Some(Err(io::Error::from(kind)));
        let table = [
            (Ok(()), None, Verdict::Ok, ""),
            (connect(REFUSED), Some(Ok(())), Verdict::Ok, ""),
            (connect(REFUSED), failed(io::ErrorKind::AddrInUse), Verdict::Failed, "ss -ltnp"),
            (connect(REFUSED), failed(io::ErrorKind::PermissionDenied), Verdict::Failed, "1024"),
            (
                connect(REFUSED),
                failed(io::ErrorKind::AddrNotAvailable),
                Verdict::Failed,
                "this host's own",
            ),
            (stranger(), None, Verdict::Failed, "chunkserver.address of host-1"),
            (timed_out(), None, Verdict::Failed, "the log of the chunkserver"),
        ];
        for (answer, bound, verdict, remedy) in table {
            let case = format!("{answer:?}");
            let finding = judge_port(&daemon(Some("host-1")), &answer, bound);
            assert_eq!(finding.verdict, verdict, "{case}");
            assert!(finding.remedy.unwrap_or_default().contains(remedy), "{case}");
        }
    }

    #[test]
    fn a_daemon_that_listens_elsewhere_than_it_is_reached_is_told_what_does_not_lead_there() {
        let behind = Daemon { listen: "0.0.0.0:7871".to_owned(), ..daemon(Some("host-1")) };
        let taken = || Some(Err(io::ErrorKind::AddrInUse.into()));
        let finding = judge_port(&behind, &connect(REFUSED), taken());
        assert_eq!(finding.verdict, Verdict::Failed);
        assert!(finding.remedy.unwrap_or_default().contains("to h:7871 through to 0.0.0.0:7871"));
        let free = judge_port(&behind, &connect(REFUSED), Some(Ok(())));
        assert!(free.verdict == Verdict::Ok && free.said.contains("0.0.0.0:7871 is free"));
    }

    #[test]
    fn who_is_not_reached_is_a_failure_but_for_a_host_whose_daemon_is_only_down() {
        let table = [
            (None, Ok(()), Verdict::Ok, ""),
            (None, connect(REFUSED), Verdict::Failed, "start howdah-chunkmaster"),
            (Some("host-1"), connect(REFUSED), Verdict::Warning, "howdah-chunkserver"),
            (Some("host-1"), connect(io::ErrorKind::HostUnreachable), Verdict::Failed, "port 7871"),
            (Some("host-1"), timed_out(), Verdict::Failed, "firewalls of both hosts"),
            (None, stranger(), Verdict::Failed, "chunkmaster.address"),
        ];
        for (host, answer, verdict, remedy) in table {
            let finding = judge_reached(&daemon(host), &answer);
            assert_eq!(finding.verdict, verdict, "{answer:?}");
            assert!(finding.remedy.unwrap_or_default().contains(remedy), "{answer:?}");
        }
    }
}
