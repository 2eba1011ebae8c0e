//! What `howdah doctor` looks at: each check asks the world one thing, and a plain function says whether that is well, and
//! what to do if not. Nothing is changed anywhere.

mod certificates;
mod cluster;
mod daemons;
mod disks;
mod here;
mod limits;
mod peers;

use std::path::Path;

use config::Config;
use serde::Serialize;

use crate::session::Session;
pub(crate) use daemons::Daemon;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Well.
    Ok,
    /// It works, and will not always, or not as fast as it could.
    Warning,
    /// It can't work.
    Failed,
}

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Which check.
    pub(crate) check: &'static str,
    /// Of what: a host, a daemon, a folder.
    pub(crate) about: String,
    /// How it came out.
    pub(crate) verdict: Verdict,
    /// What was seen.
    pub(crate) said: String,
    /// What to do, unless all is well.
    pub(crate) remedy: Option<String>,
}

impl Finding {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "names, daemons and paths alike are given as they are"
    )]
    fn ok(check: &'static str, about: impl ToString, said: impl Into<String>) -> Self {
        let (about, said) = (about.to_string(), said.into());
        Self { check, about, verdict: Verdict::Ok, said, remedy: None }
    }

    fn warning(
        check: &'static str,
        about: impl ToString,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { verdict: Verdict::Warning, remedy, ..Self::ok(check, about, said) }
    }

    fn failed(
        check: &'static str,
        about: impl ToString,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { verdict: Verdict::Failed, remedy, ..Self::ok(check, about, said) }
    }
}

/// What is examined.
pub(crate) struct Subject<'a> {
    /// The file of the configuration.
    pub(crate) file: &'a Path,
    /// What it says.
    pub(crate) config: &'a Config,
    /// Which of `hosts` this is, where somebody has said so.
    pub(crate) host: Option<&'a str>,
    /// What this host calls itself.
    pub(crate) hostname: &'a str,
    /// Whether only this host is looked at, and no daemon elsewhere.
    pub(crate) local: bool,
}

/// Makes all checks, those first on which others rest.
pub(crate) async fn examine(
    subject: &Subject<'_>,
    session: anyhow::Result<Session>,
) -> Vec<Finding> {
    let names = here::resolve_all(subject.config).await;
    let all = daemons::all_of(subject.config);
    let (ours, mut findings) = here::find_us(subject, &all, &names);
    findings.extend(here::secret(subject.config.cluster.secret_file.as_deref()));
    findings.extend(certificates::all(subject.config, clock::wall()));
    findings.extend(here::names(subject.config, &names));
    findings.extend(limits::all(subject.config, &ours));
    findings.extend(disks::all(subject.config, &ours));
    let session = match session {
        Ok(session) => session,
        Err(error) => {
            let (said, remedy) = (crate::exit::sentence(&error), "correct that first");
            let said = format!("no daemon can be asked: {said}");
            findings.push(Finding::failed("client", "this host", said, remedy));
            return findings;
        }
    };
    findings.extend(daemons::ports(session.client(), &ours).await);
    if subject.local {
        return findings;
    }
    let others: Vec<Daemon> = all.iter().filter(|it| !ours.contains(it)).cloned().collect();
    findings.extend(daemons::reached(session.client(), &others).await);
    findings.extend(cluster::all(&session, subject.config, &all).await);
    findings.extend(peers::all(session.client(), &all).await);
    findings
}
