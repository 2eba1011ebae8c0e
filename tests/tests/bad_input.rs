//! Bad input: a sentence that names the thing and the remedy, the right exit code, nothing left behind.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tests::cluster::PATIENCE;
use tests::command::run;
use tests::{Dev, DevOptions, wait};

fn job(extra: &str, program: &str) -> String {
    format!("name: bad\ninput: [/in]\noutput: /out\nprogram: {program}\n{extra}")
}

const WORDCOUNT: &str = "{builtin: {name: wordcount}}";

fn one_file(dev: &Dev) {
    dev.put_text("a b a\n", "/in/in.txt");
}

/// What a refused command must not change.
fn store_of(dev: &Dev) -> String {
    dev.run(&["fs", "ls", "/"]).success().text()
}

#[test]
fn what_the_cluster_refuses_ends_with_1_and_leaves_nothing() {
    let dev = Dev::start(&DevOptions::trackers(1));
    let file = dev.job_file("job.yaml", &job("", WORDCOUNT));
    let missing = dev.run(&["job", "submit", &file]).refused(1, &["/in"]);
    assert_eq!(missing.text(), "", "no id");
    assert!(!store_of(&dev).contains("/out"), "the output is not reserved in the store");

    one_file(&dev);
    let _ = dev.run(&["fs", "mkdir", "/out"]).success();
    let _ = dev.run(&["job", "submit", &file]).refused(1, &["/out", "exist"]);
    let _ = dev.run(&["fs", "rm", "/out"]).success();
    assert!(dev.run(&["job", "list"]).success().text().is_empty());

    let before = store_of(&dev);
    for (args, said) in [
        (&["fs", "cat", "/nowhere"][..], "/nowhere"),
        (&["fs", "ls", "/nowhere"], "/nowhere"),
        (&["fs", "rm", "/nowhere"], "/nowhere"),
        (&["fs", "rm", "/in"], "add -r"),
        (&["fs", "mkdir", "/a/b"], "add -p"),
        (&["fs", "mv", "/nowhere", "/b"], "/nowhere"),
        (&["fs", "mv", "/in", "/a/b"], "howdah fs mkdir -p /a"),
        (&["fs", "put", &file, "/in/in.txt"], "/in/in.txt"),
        (&["fs", "put", &file, "/big/"], "howdah fs mkdir -p /big"),
        (&["fs", "mv", "/in/in.txt", "/big/"], "howdah fs mkdir -p /big"),
        (&["fs", "cat", "/in"], "/in"),
        (&["job", "status", "job_20200101_0001"], "job_20200101_0001"),
        (&["job", "kill", "job_20200101_0001"], "job_20200101_0001"),
    ] {
        let _ = dev.run(args).refused(1, &[said]);
    }
    assert_eq!(store_of(&dev), before);
    let got = dev.scratch().join("got");
    let _ = dev.run(&["fs", "get", "/nowhere", got.to_str().unwrap()]).refused(1, &["/nowhere"]);
    assert!(!got.exists());
}

#[test]
fn what_is_wrong_before_any_cluster_is_asked_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.yaml");
    let unreadable = folder.path().join("missing-program");
    let name = file.to_str().unwrap();
    fs::write(folder.path().join("plain"), "#!/bin/sh\n").unwrap();
    let native = "{native: {executable: missing-program}}";
    for (text, said) in [
        (job("", "{builtin: {name: wordcuont}}"), &["wordcuont", "wordcount"][..]),
        (job("reduces: 0\n", WORDCOUNT), &["at least one reduce"]),
        (job("", WORDCOUNT).replace("[/in]", "/in"), &["input", "write [/in]"]),
        (job("reduces: many\n", WORDCOUNT), &["line 5"]),
        (job("", "[\n"), &["line"]),
        (job("colour: red\n", WORDCOUNT), &["colour", "line 5"]),
        (job("", "{}"), &["builtin", "native"]),
        (job("", native), &[unreadable.to_str().unwrap()]),
        (job("", "{native: {executable: plain}}"), &["plain", "chmod +x"]),
        (job("", "{native: {executable: job.yaml}}"), &["job.yaml", "no program"]),
        (job("max_attempts: 0\n", WORDCOUNT), &["max_attempts", "1 to 100"]),
        (job("", WORDCOUNT).replace("/out", "/in/out"), &["/in/out", "overlaps"]),
        (job("", WORDCOUNT).replace("/in", "/out/in"), &["/out/in", "overlaps"]),
        (job("", WORDCOUNT).replace("name: bad", "name: [bad]"), &["name", "line 1"]),
        (job("", "{builtin: {name: grep, args: {pattern: '('}}}"), &["pattern"]),
        ("{\"name\": \"n\",\n \"input\": 7}".to_owned(), &["line 2"]),
    ] {
        fs::write(&file, text).unwrap();
        let _ = run(["job", "submit", name]).refused(2, said).refused(2, &[name]);
        let _ = run(["local", name]).refused(2, said);
    }
    let out = folder.path().join("out");
    let text =
        format!("name: n\ninput: ['{name}']\noutput: '{}'\nprogram: {WORDCOUNT}\n", out.display());
    fs::write(&file, &text).unwrap();
    fs::create_dir(&out).unwrap();
    let out = out.to_str().unwrap();
    let _ = run(["local", name]).refused(2, &[out, "exists"]);
    let _ = run(["demo", "--output", out]).refused(2, &[out, "exists"]);
    let below_nothing = format!("{out}/no/such");
    let _ = run(["demo", "--output", &below_nothing]).refused(2, &[&below_nothing]);
    let _ = run(["dev", "--dir", folder.path().to_str().unwrap()]).refused(2, &["not empty"]);
    let nothing = format!("{out}/no-journal");
    for action in ["verify", "dump"] {
        let _ = run(["journal", action, &nothing]).refused(2, &["no such folder", &nothing]);
    }
    fs::write(&file, text.replace("input: ['", "input: ['/no")).unwrap();
    let _ = run(["local", name]).refused(2, &["/no", "input"]);
    let _ = run(["job", "submit", "/no/such/job.yaml"]).refused(2, &["/no/such/job.yaml"]);
    let _ = run(["fs", "put", "/no/such/file", "/in"]).refused(2, &["/no/such/file"]);
    let _ = run(["fs", "ls", "relative"]).refused(2, &["relative", "'/'"]);
    let _ = run(["job", "status", "17"]).refused(2, &["job_20261122_0001"]);
    let _ = run(["demo", "--program", "wordcuont"]).refused(2, &["wordcuont"]);
    let _ = run(["demo", "--input", "/no/such/input"]).refused(2, &["/no/such/input"]);
    let _ = run(["gen", "tera", "--size", "150", "/tmp/x"]).refused(2, &["100", "200"]);
    let _ = run(["frobnicate"]).refused(2, &["frobnicate"]);
    for idle in
        [&["demo"][..], &["dev", "--dir", "/tmp/x"], &["gen", "text", "--size", "1", "/tmp/x"]]
    {
        let _ = run(idle.iter().chain(&["--config", name])).refused(2, &["--config"]);
    }
    let _ = run(["demo", "--program", "grep"]).refused(2, &["pattern", "--arg NAME=VALUE"]);
    let _ = run(["jobtracker"]).refused(2, &["--config"]);
}

#[test]
fn a_configuration_error_is_said_with_line_column_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("howdah.yaml");
    let name = file.to_str().unwrap();
    fs::write(&file, "jobtracker:\n  slots: 4\n").unwrap();
    for args in [["config", "check", name], ["jobtracker", "--config", name]] {
        let _ = run(args).refused(2, &[&format!("{name}:2:3"), "jobtracker.slots"]);
    }
    fs::write(&file, "tasktracker: {slots: 4}\n").unwrap();
    let _ = run(["config", "check", name]).success();
    // Daemons prove who they are by the secret.
    let _ = run(["jobtracker", "--config", name]).refused(2, &["secret_file", "howdah secret new"]);
}

#[test]
fn a_daemon_that_is_not_there_ends_with_3_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bound = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [jobtracker, chunkmaster] = bound.map(|port| port.local_addr().unwrap().to_string());
    let config = folder.path().join("howdah.yaml");
    let masters = format!(
        "jobtracker: {{address: '{jobtracker}'}}\nchunkmaster: {{address: '{chunkmaster}'}}\n\
         client: {{wait_for_masters: 100ms}}\n"
    );
    fs::write(&config, masters).unwrap();
    let file = folder.path().join("job.yaml");
    fs::write(&file, job("", WORDCOUNT)).unwrap();
    let (config, file) = (config.to_str().unwrap(), file.to_str().unwrap());
    for (args, nobody) in [
        (["job", "submit", file], &jobtracker),
        (["job", "status", "job_20200101_0001"], &jobtracker),
        (["fs", "ls", "/"], &chunkmaster),
    ] {
        let _ = run(args.into_iter().chain(["--config", config]))
            .refused(3, &[nobody, "no connection", "asking again for 100ms", "--config"]);
    }
}

/// A web server that has nothing to do with Howdah: it answers everything with a page.
fn foreign_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
    let address = listener.local_addr().expect("a bound socket has an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client that connects");
            let mut request = [0; 4096];
            // One read is enough of a small request; a client that hangs up has its answer.
            let _ = stream.read(&mut request);
            let page = "<html><body>It works!</body></html>";
            let head = "HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\nconnection: close";
            let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{page}", page.len());
        }
    });
    address
}

#[test]
fn an_address_where_somebody_else_answers_is_named_with_its_key() {
    let dev = Dev::start(&DevOptions::trackers(1));
    let config = dev.config();
    let (chunkmaster, jobtracker) = (&config.chunkmaster.address, &config.jobtracker.address);
    let foreign = foreign_server();
    let file = dev.scratch().join("wrong.yaml");
    for (at_chunkmaster, at_jobtracker) in [(jobtracker, chunkmaster), (&foreign, &foreign)] {
        let mut wrong = config.clone();
        wrong.chunkmaster.address.clone_from(at_chunkmaster);
        wrong.jobtracker.address =
            format!("localhost{}", &at_jobtracker[at_jobtracker.find(':').unwrap()..]);
        fs::write(&file, wrong.to_yaml()).unwrap();
        let file = file.to_str().unwrap();
        let listed = run(["fs", "ls", "/", "--config", file]);
        let parts = [at_chunkmaster, "is not a chunk master", "chunkmaster.address"];
        let listed = listed.refused(3, &parts);
        let jobs = run(["job", "list", "--config", file]);
        let jobs = jobs.refused(3, &["is not a JobTracker", "jobtracker.address"]);
        for said in [listed.stderr, jobs.stderr] {
            assert!(!said.contains('<') && !said.contains("howdah dev"), "{said}");
        }
    }
}

#[test]
fn a_command_without_the_clusters_secret_is_told_where_to_name_it() {
    let dev = Dev::start(&DevOptions::trackers(1).set("cluster.anonymous_loopback=false"));
    let _ = dev.run(&["fs", "ls", "/"]).success();
    let mut config = dev.config();
    config.cluster.secret_file = None;
    let file = dev.scratch().join("other.yaml");
    let secret = dev.scratch().join("other-secret");
    let commands = [["fs", "ls", "/", "--config"], ["job", "list", "--format=text", "--config"]];
    fs::write(&file, config.to_yaml()).unwrap();
    for command in commands {
        let refused = run(command.iter().copied().chain([file.to_str().unwrap()]));
        let refused = refused.refused(1, &["cluster.secret_file"]);
        assert!(!refused.stderr.contains("Bearer"), "{}", refused.stderr);
    }
    fs::write(&secret, [7; 32]).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    config.cluster.secret_file = Some(secret.clone());
    fs::write(&file, config.to_yaml()).unwrap();
    for command in commands {
        let refused = run(command.iter().copied().chain([file.to_str().unwrap()]));
        let _ = refused.refused(1, &[secret.to_str().unwrap(), "not that of this cluster"]);
    }
}

#[test]
fn a_submit_whose_chunk_master_is_dead_ends_with_3() {
    let mut dev = Dev::start(&DevOptions::trackers(1).set("client.retry_for=1s"));
    one_file(&dev);
    dev.kill("chunkmaster");
    let file = dev.job_file("job.yaml", &job("", WORDCOUNT));
    let _ = dev.run(&["job", "submit", &file]).refused(3, &["chunk"]);
}

#[test]
fn commands_that_read_no_configuration_do_not_offer_the_flag() {
    for args in [
        &["demo"][..],
        &["dev"],
        &["gen"],
        &["journal"],
        &["journal", "verify"],
        &["metrics"],
        &["openapi", "jobtracker"],
    ] {
        let help = run(args.iter().chain(&["--help"])).success().text();
        assert!(!help.contains("--config"), "{help}");
    }
    assert!(run(["fs", "ls", "--help"]).success().text().contains("--config"));
}

#[test]
fn a_chunk_store_without_a_live_server_says_so() {
    let set = "chunkmaster.dead_after=2s";
    let mut dev =
        Dev::start(&DevOptions::trackers(1).set("chunkmaster.heartbeat_interval=200ms").set(set));
    dev.kill("chunkserver-1");
    let file = dev.scratch().join("in.txt");
    fs::write(&file, "a\n").unwrap();
    let put = || {
        let put = dev.run(&["fs", "put", file.to_str().unwrap(), "/late.txt"]);
        assert_eq!(put.code, Some(1), "{}", put.stderr);
        Some(put).filter(|put| put.stderr.contains("live"))
    };
    wait::until("the master knows that no server lives", PATIENCE, put);
    assert!(!store_of(&dev).contains("late.txt"));
}

#[test]
fn a_failed_get_leaves_no_half_file() {
    let mut dev = Dev::start(&DevOptions::trackers(1));
    one_file(&dev);
    dev.kill("chunkserver-1");
    let target = dev.scratch().join("target");
    fs::create_dir(&target).unwrap();
    for path in ["/in/in.txt", "/in"] {
        let got = dev.run(&["fs", "get", path, target.to_str().unwrap()]);
        let _ = got.refused(1, &["/in/in.txt"]);
    }
    let left = |folder: &Path| fs::read_dir(folder).unwrap().count();
    assert_eq!(left(&target), 0);
}

#[test]
fn a_job_that_fails_says_why_and_publishes_nothing() {
    let dev = Dev::start(&DevOptions::trackers(1));
    one_file(&dev);
    // An executable that is none: every attempt fails.
    let program = dev.scratch().join("program");
    fs::write(&program, "#!/bin/sh\necho it is broken >&2\nexit 7\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let text = job("max_attempts: 2\n", "{native: {executable: program}}");
    let file = dev.job_file("job.yaml", &text);
    let failed = dev.run(&["job", "submit", &file, "--wait"]).refused(1, &["FAILED"]);
    let id = failed.text();
    assert_eq!(dev.job(&id)["state"], "FAILED");
    assert!(!dev.job(&id)["failure"].is_null());
    assert!(!store_of(&dev).contains("/out"));
    let logs = dev.run(&["job", "logs", &id]).success().text();
    assert!(logs.contains("it is broken"), "{logs}");
    // A program that knows nothing of howdah ends as if all were well.
    fs::write(dev.scratch().join("program"), "#!/bin/sh\nexit 0\n").unwrap();
    let stranger = dev.run(&["job", "submit", &file, "--wait"]);
    let stranger = stranger.refused(1, &["FAILED", "it is no Howdah program"]).text();
    let attempts = &dev.job(&stranger)["maps"]["attempts"];
    assert_eq!(attempts, 1, "it would fail alike everywhere");
    // So does one that complains of an option that it does not know.
    fs::write(dev.scratch().join("program"), "#!/bin/sh\necho unknown option $1 >&2\nexit 2\n")
        .unwrap();
    let complains = dev.run(&["job", "submit", &file, "--wait"]);
    let _ = complains.refused(1, &["FAILED", "it is no Howdah program", "`streaming`"]);
    let status = dev.run(&["job", "status", &stranger]).success().text();
    assert!(status.contains("it is no Howdah program"), "{status}");
    fs::write(dev.scratch().join("program"), "#!/bin/sh\nexit 7\n").unwrap();
    let _ = dev.run(&["job", "submit", &file, "--wait"]).refused(1, &["status 7"]);
    // The second time the program is in the store already.
    let _ = dev.run(&["job", "submit", &file, "--wait"]).refused(1, &["FAILED"]);
}
