//! `howdah doctor`: what is wrong with this host and its cluster, and what to do.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Format, Global, runtime};
use crate::doctor::{self, Finding, Subject, Verdict};
use crate::say::{plain, quiet_if_closed};
use crate::session::Session;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Which entry of `hosts` this host is, if it is not called so and has no address of it
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Look at this host alone, before its cluster runs
    #[arg(long)]
    local: bool,
    /// Show only what is not well
    #[arg(short, long)]
    quiet: bool,
}

/// Runs `doctor`: exit code 1 if something failed.
pub(crate) fn run(args: &DoctorArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let mut findings = match global.config_file() {
        Ok(file) => examine(args, &file)?,
        Err(error) => vec![unreadable(Path::new("-"), &error)],
    };
    let count = |verdict| findings.iter().filter(|it| it.verdict == verdict).count();
    let (ok, warnings, failed) =
        (count(Verdict::Ok), count(Verdict::Warning), count(Verdict::Failed));
    if args.quiet {
        findings.retain(|finding| finding.verdict != Verdict::Ok);
    }
    match global.format {
        Format::Json | Format::Yaml => global.format.print(
            &json!({"checks": findings, "ok": ok, "warnings": warnings, "failed": failed}),
        )?,
        Format::Table => {
            let mut text: String = findings.iter().map(lines).collect();
            text += &format!("{ok} ok, {warnings} warnings, {failed} failed\n");
            quiet_if_closed(std::io::stdout().lock().write_all(text.as_bytes()))?;
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine(args: &DoctorArgs, file: &Path) -> anyhow::Result<Vec<Finding>> {
    let config = match super::config_file::load(file) {
        Ok(config) => config,
        Err(error) => return Ok(vec![unreadable(file, &error)]),
    };
    let system = rustix::system::uname();
    let hostname = system.nodename().to_string_lossy();
    let subject = Subject {
        file,
        config: &config,
        host: args.host.as_deref(),
        hostname: &hostname,
        local: args.local,
    };
    let session = Session::open(config.clone()).map(Session::prompt);
    runtime::on_this_thread(async { Ok(doctor::examine(&subject, session).await) })
}

/// Without it there is nothing else to look at.
fn unreadable(file: &Path, error: &anyhow::Error) -> Finding {
    Finding {
        check: "configuration",
        about: PathBuf::from(file).display().to_string(),
        verdict: Verdict::Failed,
        said: crate::exit::sentence(error),
        remedy: Some(
            "correct it, or copy the file of another host; config/howdah.yaml has every key"
                .to_owned(),
        ),
    }
}

fn lines(finding: &Finding) -> String {
    let Finding { check, about, verdict, said, remedy } = finding;
    let word = match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Failed => "FAILED",
    };
    let mut lines = format!("{word:<7}  {check:<13}  {}: {}\n", plain(about), plain(said));
    if let Some(remedy) = remedy {
        lines += &format!("{:<7}  {:<13}  -> {}\n", "", "", plain(remedy));
    }
    lines
}
