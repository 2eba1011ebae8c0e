//! Debian's Prometheus and promtool, which `./check` puts below the target folder, with the configuration that is
//! shipped.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::binary::target;
use crate::cluster::{PATIENCE, end_of, end_with_this_process};
use crate::command::{Finished, finish};
use crate::dashboards::folder;
use crate::{Dev, http, wait};

/// One of the package's programs; `None`, said aloud, where it is not installed.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let program = target().join("tools/prometheus/usr/bin").join(name);
    if !program.exists() {
        println!("skipped: no {}; ./check installs it", program.display());
        return None;
    }
    Some(program)
}

/// Copies the shipped folder for Prometheus.
///
/// # Panics
/// When it can't be copied.
pub fn copy_configuration(to: &Path) {
    for part in ["", "rules", "tests"] {
        fs::create_dir_all(to.join(part)).expect("a folder can be made");
        let entries = fs::read_dir(folder().join("prometheus").join(part)).expect("it stands");
        for entry in entries.map(|entry| entry.expect("it can be read")) {
            if entry.path().is_file() {
                let copy = to.join(part).join(entry.file_name());
                fs::copy(entry.path(), copy).expect("a file can be copied");
            }
        }
    }
}

/// Runs promtool in a folder, to its end.
pub fn promtool(program: &Path, folder: &Path, arguments: &[&str]) -> Finished {
    finish(Command::new(program).args(arguments).current_dir(folder))
}

/// A running Prometheus. It ends with this.
pub struct Prometheus {
    process: Child,
    address: String,
    log: PathBuf,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        if std::thread::panicking() {
            eprintln!("==== prometheus ====\n{}", end_of(&self.log).unwrap_or_default());
        }
    }
}

impl Prometheus {
    /// One that scrapes a cluster every second as the shipped configuration says; `None`, said aloud, where it is not
    /// installed.
    ///
    /// # Panics
    /// When it does not serve.
    #[must_use]
    pub fn start(dev: &Dev) -> Option<Self> {
        let program = program("prometheus")?;
        let home = dev.scratch().join("prometheus");
        copy_configuration(&home);
        let file = home.join("prometheus.yml");
        let shipped = fs::read_to_string(&file).expect("the configuration is there");
        let config = dev.config();
        let replacements = [
            ("master-1.example.org:7880", config.jobtracker.address.as_str()),
            ("master-1.example.org:7870", config.chunkmaster.address.as_str()),
            ("scrape_interval: 15s", "scrape_interval: 1s"),
            ("evaluation_interval: 15s", "evaluation_interval: 1s"),
            ("refresh_interval: 30s", "refresh_interval: 1s"),
        ];
        let configured = replacements.into_iter().fold(shipped, |text, (shipped, here)| {
            assert!(text.contains(shipped), "the shipped configuration has {shipped}");
            text.replace(shipped, here)
        });
        fs::write(&file, configured).expect("the configuration can be written");
        let arguments = ["token", "--read-only", "--path", "/.prometheus"];
        let token = dev.run(&arguments).success().text();
        fs::write(home.join("howdah.token"), token).expect("a token can be written");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port").to_string();
        let log = home.join("prometheus.log");
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", home.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log can be made"));
        end_with_this_process(&mut command);
        let process = command.spawn().expect("Prometheus starts");
        let prometheus = Self { process, address, log };
        wait::until("Prometheus is ready", PATIENCE, || {
            let ready = http::get(&prometheus.address, "/-/ready").ok()?;
            (ready.status == 200).then_some(())
        });
        Some(prometheus)
    }

    /// The values that an expression has now, of all its series.
    ///
    /// # Panics
    /// When Prometheus refuses it.
    #[must_use]
    pub fn query(&self, expression: &str) -> Vec<f64> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let answer = http::get(&self.address, &path).expect("an answer");
        assert_eq!(answer.status, 200, "{expression}: {}", answer.text);
        let result = answer.body["data"]["result"].as_array().expect("a vector").clone();
        let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
        result.iter().filter_map(value).collect()
    }
}

/// As a part of a URL.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}
