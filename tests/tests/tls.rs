//! A cluster that speaks TLS: jobs run on it as on any other, who is not trusted learns nothing and is told why, and
//! certificates are changed while it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use ids::UnixMillis;
use net::{Capability, Keyring, Role, Secret};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::cluster::PATIENCE;
use tests::command::{Finished, finish, run};
use tests::metrics::metric;
use tests::oracle::{count_words_of, lines_of_counts, lines_of_parts};
use tests::{Dev, DevOptions, books, http, wait};

/// A daemon of each kind.
const DAEMONS: [&str; 4] = ["chunkmaster", "jobtracker", "chunkserver-1", "tasktracker-1"];

/// Certificates as a user makes them, for daemons on loopback.
struct Certs(TempDir);

impl Certs {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().expect("a temporary folder"));
        let _ = this.make(&[]).success();
        this
    }

    fn make(&self, more: &[&str]) -> Finished {
        let dir = self.0.path().to_str().expect("temporary paths are text");
        run(["certs", "new", "--dir", dir, "--name", "loopback,127.0.0.1"].iter().chain(more))
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("loopback")
    }

    fn ca(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// The certificate that hosts have, with its fingerprint.
    fn fingerprint(&self) -> String {
        let file = self.folder().join("cert.pem");
        let shown = run(["certs", "show", text(&file), "--format", "json"]).success().text();
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        shown[0]["sha256"].as_str().expect("a fingerprint").to_owned()
    }

    /// Puts a certificate that ended two days ago into the place of the hosts'.
    fn let_it_end(&self) {
        let read = |name: &str| fs::read_to_string(self.0.path().join(name)).expect("it is there");
        let authority = KeyPair::from_pem(&read("ca-key.pem")).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), authority).expect("an authority");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let days_ago = |n: u64| {
            let seconds = clock::wall().0 / 1000 - n * 24 * 3600 - 60;
            (UNIX_EPOCH + Duration::from_secs(seconds)).into()
        };
        (params.not_before, params.not_after) = (days_ago(30), days_ago(2));
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &issuer).expect("a certificate").pem();
        replace(&self.folder().join("key.pem"), &key.serialize_pem());
        replace(&self.folder().join("cert.pem"), &cert);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

/// As an editor saves a file for its owner alone.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).expect("it can be written");
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).expect("it is ours");
    fs::rename(beside, path).expect("it can be renamed");
}

fn curl(arguments: &[&str]) -> Finished {
    finish(
        Command::new("curl").args(["--silent", "--show-error", "--max-time", "60"]).args(arguments),
    )
}

/// The problem that a daemon answers with.
fn problem(answer: &Finished) -> (u64, String, String) {
    let body: Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    (body["status"].as_u64().unwrap_or_default(), text("type"), text("detail"))
}

#[test]
fn words_are_counted_by_tls_as_without_and_nobody_listens_in_plain_text() {
    let certs = Certs::new();
    let dev = Dev::start(
        &DevOptions::trackers(3).set("chunkmaster.chunk_bytes=1MiB").tls(&certs.folder()),
    );
    let input = dev.scratch().join("texts");
    fs::create_dir(&input).expect("a folder can be made");
    for seed in [1, 2] {
        books::generate(&input.join(format!("text-{seed}")), "2MiB", seed);
    }
    dev.put(&input, "/in");
    let expected = lines_of_counts(&count_words_of(&input));
    let job = "name: words\ninput: [/in]\noutput: /out\nreduces: 3\nprogram: {builtin: {name: wordcount}}\n";
    let _ = dev.run(&["job", "submit", &dev.job_file("words.yaml", job), "--wait"]).success();
    let got = dev.scratch().join("got");
    dev.get("/out", &got);
    assert!(lines_of_parts(&got) == expected, "the counts differ");

    let ca = certs.ca();
    for daemon in DAEMONS {
        let address = dev.address_of(daemon);
        let ready = curl(&["--cacert", text(&ca), &format!("https://{address}/readyz")]);
        assert_eq!(ready.code, Some(0), "{daemon}: {}", ready.stderr);
        let blind = curl(&[&format!("https://{address}/readyz")]);
        assert_eq!(blind.code, Some(60), "{daemon}: curl trusts nobody: {}", blind.stderr);
        let (status, kind, detail) = problem(&curl(&[&format!("http://{address}/readyz")]));
        assert_eq!((status, kind.as_str()), (400, "tls-required"), "{daemon}");
        assert!(detail.contains("https://"), "{detail}");
        let left = |file: &str| {
            metric(
                &dev,
                daemon,
                &format!("howdah_tls_certificate_remaining_seconds{{file=\"{file}\"}}"),
            )
        };
        let (own, authority) = (left("cert").expect("a number"), left("ca").expect("a number"));
        let day = 24.0 * 3600.0;
        assert!((364.0..=365.0).contains(&(own / day)), "{daemon}: {own}");
        assert!((3649.0..=3650.0).contains(&(authority / day)), "{daemon}: {authority}");
        assert_eq!(metric(&dev, daemon, "howdah_tls_files_wrong "), Some(0.0), "{daemon}");
    }
    for master in ["jobtracker", "chunkmaster"] {
        let targets = dev.page_of(&dev.address_of(master), "/v1/prometheus/targets");
        let targets = targets.expect("an answer").body;
        let groups = targets.as_array().expect("a list");
        assert!(groups.len() >= 4, "{targets}");
        assert!(groups.iter().all(|it| it["labels"]["__scheme__"] == "https"), "{targets}");
    }
    assert!(dev.events().contains("JobTracker    https://"), "{}", dev.events());
}

#[test]
fn a_daemons_token_counts_only_with_a_certificate_of_the_clusters_authority() {
    let certs = Certs::new();
    let dev = Dev::start(&DevOptions::trackers(1).tls(&certs.folder()));
    let secret = dev.config().cluster.secret_file.expect("dev has a secret");
    let keyring = Keyring::new(&Secret::read_file(&secret).expect("it is ours"));
    let strangers = Certs::new();
    for (role, daemon, method, path) in [
        (Role::Tracker, "jobtracker", "POST", "/v1/trackers/register"),
        (Role::Server, "chunkmaster", "POST", "/v1/servers/register"),
        (Role::Master, "tasktracker-1", "GET", "/v1/attempts/x/log"),
        (Role::Master, "chunkmaster", "POST", "/v1/files/stat"),
    ] {
        let token = keyring.mint(&Capability::unlimited("host-1", role, UnixMillis(u64::MAX)));
        let url = format!("https://{}{path}", dev.address_of(daemon));
        let token = format!("Authorization: Bearer {token}");
        let ca = certs.ca();
        let json = "Content-Type: application/json";
        let common = [
            "--cacert",
            text(&ca),
            "-X",
            method,
            "-H",
            &token,
            "-H",
            json,
            "-d",
            "{}",
            url.as_str(),
        ];
        let (status, kind, detail) = problem(&curl(&common));
        assert_eq!((status, kind.as_str()), (403, "certificate-required"), "{path}: {detail}");
        assert!(detail.contains("tls.cert") && detail.contains("host-1"), "{detail}");
        let with = |folder: &Path| {
            let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
            curl(&[&["--cert", text(&cert), "--key", text(&key)][..], &common].concat())
        };
        let (_, kind, _) = problem(&with(&certs.folder()));
        assert_ne!(kind, "certificate-required", "{path}");
        let stranger = with(&strangers.folder());
        assert_ne!(
            stranger.code,
            Some(0),
            "another authority's certificate is none: {}",
            stranger.text()
        );
    }
}

#[test]
fn who_is_not_trusted_is_told_so_by_the_command_line() {
    let certs = Certs::new();
    let mut dev = Dev::start(&DevOptions::trackers(1).tls(&certs.folder()));
    let strangers = Certs::new();
    let with_tls = |tls: &Value| {
        let file = dev.scratch().join("client.yaml");
        let masters = json!({
            "cluster": {"secret_file": dev.config().cluster.secret_file},
            "tls": tls,
            "chunkmaster": {"address": dev.address_of("chunkmaster")},
            "jobtracker": {"address": dev.jobtracker()},
        });
        fs::write(&file, masters.to_string()).expect("it can be written");
        move |args: &[&str]| run(args.iter().copied().chain(["--config", text(&file)]))
    };
    // A client needs the authority alone.
    let client = with_tls(&json!({"ca": certs.ca()}));
    let _ = client(&["fs", "ls", "/"]).success();
    let _ = client(&["job", "list"]).success();
    let plain = with_tls(&json!({}));
    let _ = plain(&["fs", "ls", "/"]).refused(1, &["this port speaks TLS", "section tls"]);
    let _ = plain(&["job", "list"]).refused(1, &["this port speaks TLS"]);
    let stranger = with_tls(&json!({"ca": strangers.ca()}));
    for command in [["fs", "ls", "/"].as_slice(), &["job", "list"]] {
        let words = ["CN=loopback", "signed by CN=Howdah cluster authority", "ca.pem"];
        let told = stranger(command).refused(3, &words);
        assert!(!told.stderr.contains("howdah dev"), "somebody is there: {}", told.stderr);
    }

    // Files that a daemon can't use refuse its start.
    certs.let_it_end();
    dev.kill("tasktracker-1");
    let start = || finish(&mut dev.client(&["tasktracker", "--host", "host-1"]));
    let cert = certs.folder().join("cert.pem");
    let ended = ["ended 2 days ago", text(&cert), "tls.cert", "howdah certs new --replace"];
    let _ = start().refused(2, &ended);
    replace(&certs.folder().join("key.pem"), "no key\n");
    let _ = certs.make(&[]).refused(2, &["cert.pem exists", "--replace"]);
    let _ = certs.make(&["--replace"]).success();
    fs::set_permissions(certs.folder().join("key.pem"), fs::Permissions::from_mode(0o644))
        .expect("ours");
    let _ = start().refused(2, &["key.pem", "chmod 600"]);
    replace(&certs.folder().join("ca.pem"), &fs::read_to_string(strangers.ca()).expect("there"));
    fs::set_permissions(certs.folder().join("key.pem"), fs::Permissions::from_mode(0o600))
        .expect("ours");
    let _ = start().refused(2, &["tls.cert", "tls.ca", "CN=loopback"]);
    let _ = certs.make(&["--replace"]).success();
    dev.restart("tasktracker-1");
    dev.await_trackers(1);
}

/// The fingerprint of the certificate that a daemon shows, as `curl` sees it.
fn shown_by(dev: &Dev, daemon: &str, certs: &Certs) -> Option<String> {
    let url = format!("https://{}/healthz", dev.address_of(daemon));
    let ca = certs.ca();
    let answer = curl(&["--cacert", text(&ca), "-w", "%{certs}", "-o", "/dev/null", &url]);
    let file = certs.0.path().join("shown.pem");
    let (_, pem) = answer.text().split_once("-----BEGIN").map(|(_, pem)| ((), pem.to_owned()))?;
    fs::write(&file, format!("-----BEGIN{pem}\n")).ok()?;
    let shown = run(["certs", "show", text(&file), "--format", "json"]).success().text();
    let shown: Value = serde_json::from_str(&shown).ok()?;
    shown[0]["sha256"].as_str().map(str::to_owned)
}

#[test]
fn certificates_are_renewed_while_a_job_runs_and_broken_files_change_nothing() {
    let certs = Certs::new();
    let dev = Dev::start(&DevOptions::trackers(2).set("tasktracker.slots=2").tls(&certs.folder()));
    let first = certs.fingerprint();
    for daemon in DAEMONS {
        assert_eq!(shown_by(&dev, daemon, &certs).as_deref(), Some(first.as_str()), "{daemon}");
    }
    let input = dev.scratch().join("text");
    books::generate(&input, "1MiB", 3);
    dev.put(&input, "/in/text");
    let go = dev.scratch().join("go");
    fs::write(dev.scratch().join("wait.sh"), "while [ ! -e \"$GO\" ]; do sleep 0.1; done\ncat\n")
        .unwrap();
    let job = format!(
        "name: waits\ninput: [/in]\noutput: /out\nreduces: 2\nprogram:\n  streaming:\n    mapper: sh wait.sh\n    \
         reducer: cat\n    files: [wait.sh]\n    env: {{GO: {}}}\n",
        go.display()
    );
    let id = dev.run(&["job", "submit", &dev.job_file("waits.yaml", &job)]).success().text();
    dev.await_job(&id, "runs a map", |job| job["maps"]["running"].as_u64() > Some(0));

    let _ = certs.make(&["--replace"]).success();
    let second = certs.fingerprint();
    assert_ne!(first, second);
    for daemon in DAEMONS {
        wait::until(&format!("{daemon} shows the new certificate"), PATIENCE, || {
            (shown_by(&dev, daemon, &certs)? == second).then_some(())
        });
    }
    fs::write(&go, "").unwrap();
    dev.await_job(&id, "succeeds", |job| job["state"] == "SUCCEEDED");
    let counted = dev.job(&id);
    assert_eq!(counted["maps"]["succeeded"], counted["maps"]["total"], "{counted:#}");

    // Half a copy, and one that has ended: the daemons go on with what they have.
    replace(&certs.folder().join("cert.pem"), "-----BEGIN CERTIFICATE-----\nMIIB");
    for daemon in DAEMONS {
        wait::until(&format!("{daemon} refuses the broken file"), PATIENCE, || {
            (metric(&dev, daemon, "howdah_tls_files_wrong ") == Some(1.0)).then_some(())
        });
        assert_eq!(shown_by(&dev, daemon, &certs).as_deref(), Some(second.as_str()), "{daemon}");
    }
    certs.let_it_end();
    for daemon in DAEMONS {
        wait::until(&format!("{daemon} refuses the old one"), PATIENCE, || {
            let refused = "howdah_tls_reloads_total{outcome=\"refused\"}";
            (metric(&dev, daemon, refused)? >= 2.0).then_some(())
        });
        let log = fs::read_to_string(dev.dir().join(format!("logs/{daemon}.log"))).expect("a log");
        assert!(
            log.contains("ended 2 days ago") && log.contains("what was read before stays"),
            "{log}"
        );
    }
    dev.put_text("still here\n", "/in/later");
    let _ = certs.make(&["--replace"]).success();
    for daemon in DAEMONS {
        wait::until(&format!("{daemon} is well again"), PATIENCE, || {
            (metric(&dev, daemon, "howdah_tls_files_wrong ") == Some(0.0)).then_some(())
        });
    }
    let answer = http::trusting_get(Some(&certs.ca()), &dev.jobtracker(), "/v1/cluster");
    assert_eq!(answer.expect("an answer").body["trackers"], 2);
}
