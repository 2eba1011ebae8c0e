//! `howdah certs new|show`: the certificates of a cluster that speaks TLS.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, Subcommand};
use ids::UnixMillis;
use net::tls::{Certificate, certificates_in};
use serde_json::{Value, json};

use super::{Format, Global, shown};
use crate::exit::{OrEarly, early};
use crate::tls::certs::{self, Made, Order};

/// Arguments of `certs`.
#[derive(Debug, Args)]
pub(crate) struct CertsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an authority of this cluster's own, unless the folder has one, and certificates that it signs, one for each host
    New {
        /// The folder of all: ca.pem, its key ca-key.pem, which goes to no host, and for each host a folder with all that it
        /// needs
        #[arg(long, value_name = "DIR", default_value = "certs")]
        dir: PathBuf,
        /// A host: all names and addresses that others call its daemons by, with commas between; the first names its folder.
        /// May be repeated. Without it, the hosts and masters of the configuration
        #[arg(long = "name", value_name = "HOST,IP…")]
        names: Vec<String>,
        /// Days that the hosts' certificates count; the authority's counts ten years
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        /// Make new certificates and keys in the place of those that are there; the authority stays
        #[arg(long)]
        replace: bool,
    },
    /// Show certificates: whose, for which names, until when, and their fingerprints
    Show {
        /// Files, or folders of `certs new`; those of the configuration if left out
        paths: Vec<PathBuf>,
    },
}

/// Runs `certs`.
pub(crate) fn run(args: CertsArgs, global: &Global) -> anyhow::Result<()> {
    match args.action {
        Action::New { dir, names, days, replace } => {
            let hosts = hosts(&names, global)?;
            let made = certs::make(&Order { dir, hosts, days, replace }).or_early()?;
            match global.format {
                Format::Table => crate::say::tell!("{}", text_of(&made).trim_end()),
                Format::Json | Format::Yaml => global.format.print(&json_of(&made))?,
            }
        }
        Action::Show { paths } => show(paths, global)?,
    }
    Ok(())
}

/// Those that are named, or those of the configuration.
fn hosts(names: &[String], global: &Global) -> anyhow::Result<Vec<Vec<String>>> {
    if !names.is_empty() {
        let hosts: Result<_, _> = names.iter().map(|name| certs::names_of(name)).collect();
        return hosts.or_early();
    }
    let file = global.config_file().map_err(|_| {
        early(anyhow!(
            "whose certificates? give --name HOST,IP… for each host, or --config FILE, whose hosts and masters get one each"
        ))
    })?;
    Ok(certs::hosts_of(&super::config_file::load(&file)?))
}

fn text_of(made: &Made) -> String {
    let Made { authority, authority_file, authority_key, is_new, hosts } = made;
    let (cert, key) = (authority_file.display(), authority_key.display());
    let mut text = match is_new {
        true => format!(
            "made the authority {authority}: {cert}, and {key}, which signs further hosts: keep that off the hosts\n"
        ),
        false => format!("signed by the authority {authority} of {cert}\n"),
    };
    for (folder, certificate) in hosts {
        let (folder, names) = (folder.display(), certificate.names.join(", "));
        let ends = shown::time(certificate.not_after);
        text.push_str(&format!("made {folder}/{{ca,cert,key}}.pem for {names}, until {ends}\n"));
    }
    text.push_str(
        "copy the three files of each folder to that host as /etc/howdah/tls/, key.pem for the daemons' user alone, and \
         have in the configuration of all:\n\
         tls: {ca: /etc/howdah/tls/ca.pem, cert: /etc/howdah/tls/cert.pem, key: /etc/howdah/tls/key.pem}\n",
    );
    text
}

fn json_of(made: &Made) -> Value {
    let hosts: Vec<Value> = made
        .hosts
        .iter()
        .map(|(folder, certificate)| {
            json!({"folder": folder, "certificate": facts(&folder.join("cert.pem"), certificate)})
        })
        .collect();
    json!({
        "authority": facts(&made.authority_file, &made.authority),
        "authority_key": made.authority_key,
        "new_authority": made.is_new,
        "hosts": hosts,
    })
}

/// Days that are left are those of this host's clock.
fn facts(file: &Path, certificate: &Certificate) -> Value {
    json!({
        "file": file,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": certificate.names,
        "authority": certificate.is_authority,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "seconds_left": certificate.seconds_left(clock::wall()),
        "sha256": certificate.fingerprint,
    })
}

fn show(paths: Vec<PathBuf>, global: &Global) -> anyhow::Result<()> {
    let files = match paths.is_empty() {
        true => configured(global)?,
        false => paths.into_iter().flat_map(files_of).collect(),
    };
    let mut all = Vec::new();
    for file in files {
        let certificates = certificates_in(&file).or_early()?;
        all.extend(certificates.into_iter().map(|certificate| (file.clone(), certificate)));
    }
    match global.format {
        Format::Table => {
            let now = clock::wall();
            let blocks: Vec<String> =
                all.iter().map(|(file, certificate)| block(file, certificate, now)).collect();
            crate::say::tell!("{}", blocks.join("\n"));
        }
        Format::Json | Format::Yaml => {
            let all: Vec<Value> = all.iter().map(|(file, it)| facts(file, it)).collect();
            global.format.print(&all)?;
        }
    }
    Ok(())
}

fn configured(global: &Global) -> anyhow::Result<Vec<PathBuf>> {
    let config = global.client_config()?;
    let files: Vec<PathBuf> = [config.tls.ca, config.tls.cert].into_iter().flatten().collect();
    if files.is_empty() {
        return Err(early(anyhow!(
            "the configuration names no certificates (tls.ca, tls.cert): name files, or a folder of `howdah certs new`, or \
             another configuration with --config"
        )));
    }
    Ok(files)
}

/// A file; of a folder, the authority and the certificates in it and in its folders.
fn files_of(path: PathBuf) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(&path) else { return vec![path] };
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|it| it.path()).filter(|it| it.is_dir()).collect();
    folders.sort();
    let files = [path.join("ca.pem"), path.join("cert.pem")].into_iter();
    let files = files.chain(folders.iter().map(|folder| folder.join("cert.pem")));
    let files: Vec<PathBuf> = files.filter(|file| file.exists()).collect();
    // That there is nothing is told of the folder.
    if files.is_empty() { vec![path] } else { files }
}

fn block(file: &Path, certificate: &Certificate, now: UnixMillis) -> String {
    let Certificate { subject, issuer, names, .. } = certificate;
    let names = match certificate.is_authority {
        true => "an authority, which vouches for hosts".to_owned(),
        false => names.join(", "),
    };
    let left = certificate.fault_of_time(now);
    let left = left.unwrap_or_else(|| format!("{} days left", certificate.days_left(now)));
    format!(
        "{}\n  subject    {subject}\n  for        {names}\n  signed by  {issuer}\n  until      {}, {left}\n  sha256     {}\n",
        file.display(),
        shown::time(certificate.not_after),
        certificate.fingerprint
    )
}
