//! `howdah dev`: what its folder keeps, and how its daemons begin and end.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::Stdio;

use tests::cluster::PATIENCE;
use tests::command::{finish, run};
use tests::{Dev, DevOptions, howdah, http, wait};

const DAEMONS: [&str; 6] = [
    "chunkmaster",
    "jobtracker",
    "chunkserver-1",
    "chunkserver-2",
    "tasktracker-1",
    "tasktracker-2",
];

#[test]
fn a_second_start_finds_the_data_and_the_ports_of_the_first() {
    let options = DevOptions::trackers(2);
    let mut dev = Dev::start(&options);
    let config = dev.config();
    assert_eq!(config.chunkmaster.replication, 2, "min(3, trackers)");
    assert_eq!(config.hosts[1].name, "host-2");
    dev.put_text("kept\n", "/kept.txt");
    assert_eq!(dev.stop(), Some(0));
    assert_eq!(fs::read_dir(dev.dir().join("pids")).unwrap().count(), 0, "{}", dev.events());

    dev.start_again(&DevOptions::default());
    assert_eq!(dev.config(), config);
    let cat = || Some(dev.run(&["fs", "cat", "/kept.txt"])).filter(|cat| cat.code == Some(0));
    assert_eq!(wait::until("the chunk is reported", PATIENCE, cat).text(), "kept");
    for daemon in DAEMONS {
        assert!(dev.dir().join("data").join(daemon).exists(), "{daemon}");
        assert!(dev.dir().join("logs").join(format!("{daemon}.log")).exists(), "{daemon}");
        assert!(dev.pid(daemon) > 0);
    }
}

#[test]
fn replicas_follow_the_number_of_chunkservers_unless_they_were_set() {
    let mut dev = Dev::start(&DevOptions::trackers(3));
    let ports = dev.config();
    for (trackers, replication) in [(1, 1), (2, 2)] {
        dev.stop();
        dev.start_again(&DevOptions::trackers(trackers));
        let config = dev.config();
        assert_eq!(config.chunkmaster.replication, replication);
        assert_eq!(config.chunkmaster.address, ports.chunkmaster.address);
        assert_eq!(config.jobtracker.address, ports.jobtracker.address);
        assert_eq!(config.hosts[0], ports.hosts[0]);
    }
    dev.put_text("a\n", "/with-2");
    dev.stop();
    let mut single = howdah();
    single.args(["dev", "--trackers", "1", "--dir"]).arg(dev.dir());
    let _ = finish(&mut single).refused(2, &["chunkserver-2/chunks", "--trackers 2"]);
    dev.start_again(&DevOptions::default());
    let cat = || Some(dev.run(&["fs", "cat", "/with-2"])).filter(|cat| cat.code == Some(0));
    assert_eq!(wait::until("the chunk is reported", PATIENCE, cat).text(), "a");
}

#[test]
fn more_replicas_than_chunkservers_are_refused() {
    let mut dev = Dev::start(&DevOptions::trackers(2).set("chunkmaster.replication=3"));
    dev.stop();
    let mut single = howdah();
    single.args(["dev", "--trackers", "1", "--dir"]).arg(dev.dir());
    let _ =
        finish(&mut single).refused(2, &["replication is 3", "--set chunkmaster.replication=1"]);
    dev.start_again(&DevOptions::trackers(1).set("chunkmaster.replication=1"));
}

#[test]
fn a_lost_journal_is_not_taken_for_a_new_cluster() {
    let mut dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("kept\n", "/kept.txt");
    let id = {
        let file = dev.job_file(
            "job.yaml",
            "{name: n, input: [/kept.txt], output: /out, program: {builtin: {name: wordcount}}}",
        );
        dev.run(&["job", "submit", &file, "--wait"]).success().text()
    };
    dev.stop();
    for (master, remedy) in [("jobtracker", "complete"), ("chunkmaster", "--dir")] {
        let folder = dev.dir().join("data").join(master);
        let away = dev.scratch().join(master);
        fs::rename(&folder, &away).unwrap();
        let refused = finish(howdah().arg("dev").arg("--dir").arg(dev.dir()));
        let _ = refused.refused(2, &[folder.to_str().unwrap(), "copy", remedy]);
        assert!(!folder.exists(), "nothing is made in its place");
        fs::rename(&away, &folder).unwrap();
    }
    dev.start_again(&DevOptions::default());
    assert_eq!(dev.job(&id)["state"], "SUCCEEDED");
    dev.stop();
    fs::remove_dir_all(dev.dir().join("data/jobtracker")).unwrap();
    fs::remove_file(dev.dir().join("complete")).unwrap();
    dev.start_again(&DevOptions::default());
    assert_eq!(dev.run(&["job", "list"]).success().text(), "", "no jobs are known");
    assert_eq!(dev.run(&["fs", "cat", "/kept.txt"]).success().text(), "kept");
}

#[test]
fn a_first_start_that_is_cut_off_anywhere_can_be_begun_again() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("cluster");
    // Each thing that appears while a cluster starts, and the whole once more.
    for seen in ["cluster.yaml", "data/chunkmaster", "data/jobtracker", "data/tasktracker-1"] {
        let mut dev = howdah();
        dev.args(["dev", "--trackers", "1", "--dir"]).arg(&dir);
        let mut child = dev.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait::until(seen, PATIENCE, || dir.join(seen).exists().then_some(()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut dev = howdah();
    dev.args(["dev", "--dir"]).arg(&dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = dev.spawn().unwrap();
    let mut line = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"ready\n");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap(),
        rustix::process::Signal::INT,
    )
    .unwrap();
    let ended: tests::Finished = child.wait_with_output().unwrap().into();
    let ended = ended.success();
    for said in
        ["chunk master  http://127.0.0.1:", "JobTracker    http://127.0.0.1:", "cluster.yaml"]
    {
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    assert_eq!(ended.stdout, b"", "ready is all that it prints");
}

/// The blocks of a page that are commands.
fn commands_of(page: &str) -> Vec<String> {
    let page = fs::read_to_string(tests::binary::root().join(page)).expect("a page");
    page.split("\n```\n").skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn what_the_pages_tell_to_type_for_curl_is_answered_as_they_say() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("to be or not to be\n", "/in");
    let bin = dev.scratch().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(tests::binary::howdah_binary(), bin.join("howdah")).unwrap();
    let type_in = |script: &str| {
        let line = format!("set -euo pipefail\nPATH={}:$PATH\n{script}", bin.display());
        let mut bash = std::process::Command::new("bash");
        finish(bash.args(["-c", &line]).env("HOWDAH_CONFIG", dev.config_file())).success().text()
    };
    let readme = commands_of("README.md");
    let curl = readme.iter().find(|block| block.contains("curl")).expect("README.md shows curl");
    assert!(type_in(curl).contains(r#""jobs":[]"#));
    let rest = commands_of("docs/rest.md");
    let (first, then) = rest[1].split_once("\n\n").expect("a job is submitted, then looked at");
    let submitted = type_in(&format!("{}\n{first}", rest[0]));
    assert!(submitted.contains("HTTP/1.1 201 Created"), "{submitted}");
    let id = dev.run(&["job", "list"]).success().text();
    let id = id.split_whitespace().find(|word| word.starts_with("job_")).expect("the job's id");
    let shown = format!("{}\n{}", rest[0], then.replace("job_20261122_0001", id));
    assert!(type_in(&shown).contains("word count"));
    let said = dev.events();
    let (_, said) = said.split_once("for curl      ").expect("what curl needs is said");
    let told = type_in(&format!("{}\necho $jobtracker $chunkmaster", rest[0]));
    let same = type_in(&format!("{}\necho $jobtracker $chunkmaster", said.lines().next().unwrap()));
    assert_eq!(told, same);
}

#[test]
fn a_second_dev_on_a_folder_in_use_is_refused_and_the_first_goes_on() {
    let dev = Dev::start(&DevOptions::trackers(1));
    let dir = dev.dir();
    let second = finish(howdah().arg("dev").arg("--dir").arg(&dir));
    let _ = second.refused(2, &[dir.to_str().unwrap(), "in use"]);
    let _ = dev.run(&["fs", "ls", "/"]).success();
}

#[test]
fn a_taken_port_is_named_and_nothing_is_started() {
    let options = DevOptions::trackers(1);
    let mut dev = Dev::start(&options);
    let address = dev.jobtracker();
    dev.stop();
    let taken = TcpListener::bind(&address).unwrap();
    let refused = finish(howdah().arg("dev").arg("--dir").arg(dev.dir()));
    let _ = refused.refused(2, &[&address, "jobtracker"]);
    drop(taken);
    dev.start_again(&options);
}

#[test]
fn a_daemon_that_dies_is_reported_and_one_started_by_hand_takes_its_place() {
    let mut dev = Dev::start(&DevOptions::trackers(2));
    for daemon in DAEMONS {
        let before = dev.pid(daemon);
        dev.kill(daemon);
        let reported = || dev.events().contains(&format!("{daemon} died")).then_some(());
        wait::until(&format!("the death of {daemon} is reported"), PATIENCE, reported);
        dev.restart(daemon);
        assert_ne!(dev.pid(daemon), before);
    }
    dev.put_text("a b a\n", "/in/in.txt");
    let job = dev.job_file(
        "job.yaml",
        "name: n\ninput: [/in]\noutput: /out\nprogram: {builtin: {name: wordcount}}\n",
    );
    let _ = dev.run(&["job", "submit", &job, "--wait"]).success();
    // They end with `dev`, whoever has started them, and hold no port of its next start.
    let addresses: Vec<String> = DAEMONS.iter().map(|daemon| dev.address_of(daemon)).collect();
    assert_eq!(dev.stop(), Some(0));
    for address in addresses {
        assert!(TcpListener::bind(&address).is_ok(), "{address}");
    }
}

#[test]
fn a_daemon_that_is_started_at_once_after_kill_9_waits_for_its_predecessor() {
    let mut dev = Dev::start(&DevOptions::trackers(2));
    for daemon in DAEMONS {
        let pid = rustix::process::Pid::from_raw(dev.pid(daemon)).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        dev.restart(daemon);
    }
}

#[test]
fn a_second_daemon_on_the_same_folder_is_refused() {
    let dev = Dev::start(&DevOptions::trackers(1));
    for daemon in ["chunkmaster", "jobtracker", "chunkserver", "tasktracker"] {
        // The same folder, but another port: it must not get as far as the port.
        let mut config = dev.config();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        match daemon {
            "chunkmaster" => config.chunkmaster.address = port,
            "jobtracker" => config.jobtracker.address = port,
            "chunkserver" => config.hosts[0].chunkserver.address = Some(port),
            _ => config.hosts[0].tasktracker.address = Some(port),
        }
        let file = dev.scratch().join("second.yaml");
        let second = |config: &config::Config| {
            fs::write(&file, config.to_yaml()).unwrap();
            finish(howdah().arg(daemon).arg("--config").arg(&file))
        };
        let name = if daemon.starts_with("chunkm") || daemon.starts_with("job") {
            daemon.to_owned()
        } else {
            format!("{daemon}-1")
        };
        let running = dev.pid(&name);
        let _ = second(&config).refused(2, &["runs already", &running.to_string()]);
        assert_eq!(dev.pid(&name), running, "its pid file stays");
        config.cluster.pid_dir = Some(dev.scratch().join("other/pids"));
        let folder = dev.dir().join("data");
        let _ = second(&config).refused(2, &[folder.to_str().unwrap()]);
        assert_eq!(dev.pid(&name), running, "its pid file stays");
    }
}

#[test]
fn daemons_may_open_as_many_files_as_the_system_allows() {
    let dev = Dev::start(&DevOptions::trackers(1));
    for daemon in ["chunkmaster", "jobtracker", "chunkserver-1", "tasktracker-1"] {
        let limits = fs::read_to_string(format!("/proc/{}/limits", dev.pid(daemon))).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let mut numbers = line.split_whitespace().skip(3);
        assert_eq!(numbers.next(), numbers.next(), "{daemon}: soft and hard limit");
    }
}

#[test]
fn every_daemon_serves_health_and_metrics() {
    let dev = Dev::start(&DevOptions::trackers(2));
    for daemon in DAEMONS {
        let address = dev.address_of(daemon);
        for path in ["/healthz", "/readyz"] {
            assert_eq!(http::get(&address, path).unwrap().status, 200, "{daemon} {path}");
        }
        let metrics = http::get(&address, "/metrics").unwrap();
        assert!(metrics.text.contains("process_resident_memory_bytes"), "{daemon}");
        let unknown = http::get(&address, "/v1/nothing").unwrap();
        assert_eq!(unknown.status, 404, "{daemon}: {}", unknown.text);
    }
}

#[test]
fn a_journal_is_dumped_and_verified_and_a_flipped_bit_is_found() {
    let mut dev = Dev::start(&DevOptions::trackers(1));
    let _ = dev.run(&["fs", "mkdir", "/somewhere"]).success();
    dev.stop();
    let journal = dev.dir().join("data/chunkmaster");
    let journal = journal.to_str().unwrap();
    let dumped = run(["journal", "dump", journal]).success().text();
    let is_record = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line["record"].is_object())
    };
    assert!(dumped.lines().count() >= 3 && dumped.lines().all(is_record), "{dumped}");
    assert!(dumped.contains("somewhere"), "{dumped}");
    let _ = run(["journal", "verify", journal]).success();
    let copy = dev.dir().join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(journal).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let copy = copy.to_str().unwrap();
    let _ = run(["journal", "verify", journal, copy]).success();

    let mut segments = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    let is_segment = |path: &std::path::PathBuf| path.to_string_lossy().contains("/journal-");
    let segment = segments.find(is_segment).expect("a journal has a segment");
    let mut bytes = fs::read(&segment).unwrap();
    let written = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[written / 2] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let name = segment.file_name().unwrap().to_str().unwrap();
    let _ = run(["journal", "verify", journal]).refused(1, &[name]);
    let _ = run(["journal", "verify", journal, copy]).refused(1, &[name]);
    let _ =
        run(["journal", "repair", copy, "--from", journal]).refused(1, &[name, "repaired from"]);
    let repaired = run(["journal", "repair", journal, "--from", copy]).success().text();
    assert!(repaired.contains("damaged-"), "{repaired}");
    assert_eq!(run(["journal", "dump", journal]).success().text(), dumped);
}

#[test]
fn a_log_that_cannot_be_written_ends_neither_a_daemon_nor_a_command() {
    let mut dev = Dev::start(&DevOptions::trackers(1));
    dev.kill("jobtracker");
    let log = dev.dir().join("logs/jobtracker.log");
    fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    dev.restart("jobtracker");
    dev.put_text("a b a\n", "/in");
    let job = dev.job_file(
        "job.yaml",
        "{name: n, input: [/in], output: /out, program: {builtin: {name: wordcount}}}",
    );
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let submit = dev.client(&["job", "submit", &job, "--wait"]).stderr(full()).status().unwrap();
    assert_eq!(submit.code(), Some(0));
    let missing = dev.client(&["fs", "ls", "/missing"]).stderr(full()).status().unwrap();
    assert_eq!(missing.code(), Some(1), "a no stays a no, and no abort");
}
