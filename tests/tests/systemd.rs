//! The daemons as systemd's services: the units are sound, and a daemon says when it can do its work.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tests::binary::{howdah_binary, root};
use tests::cluster::PATIENCE;
use tests::command::finish;
use tests::{Dev, DevOptions};

/// Where the units say that the binary is.
const INSTALLED: &str = "/usr/bin/howdah";

#[test]
fn systemd_takes_each_unit_without_a_complaint() {
    let units = root().join("config/systemd");
    let folder = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]);
    let mut n_units = 0;
    for entry in fs::read_dir(units).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "service") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("Type=notify") && text.contains(INSTALLED), "{}", path.display());
        let here = folder.path().join(path.file_name().unwrap());
        fs::write(&here, text.replace(INSTALLED, howdah_binary().to_str().unwrap())).unwrap();
        verify.arg(here);
        n_units += 1;
    }
    assert_eq!(n_units, 4, "one for each daemon");
    if Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("systemd-analyze is not there: the units were not verified");
        return;
    }
    let verified = finish(&mut verify);
    assert_eq!((verified.code, &*verified.stderr), (Some(0), ""), "{}", verified.text());
}

#[test]
fn a_daemon_tells_systemd_that_it_is_ready_and_that_it_stops() {
    let mut dev = Dev::start(&DevOptions::trackers(1));
    dev.kill("chunkmaster");
    let socket = dev.scratch().join("notify");
    let listener = UnixDatagram::bind(&socket).unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut start = dev.client(&["chunkmaster"]);
    start.env("NOTIFY_SOCKET", &socket).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = start.spawn().unwrap();
    let heard = || {
        let mut word = [0; 200];
        let n_bytes = listener.recv(&mut word).expect("the daemon says something in time");
        String::from_utf8_lossy(&word[..n_bytes]).into_owned()
    };
    assert!(heard().starts_with("READY=1"));
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(heard().starts_with("STOPPING=1"));
    assert!(child.wait().unwrap().success());
}
