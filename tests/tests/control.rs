//! Jobs, attempts and hosts as people steer them, on a real cluster.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::{Dev, DevOptions, http, wait};

/// A cluster whose TaskTrackers have one slot each, with a little input.
fn start(trackers: u32) -> Dev {
    let options = DevOptions::trackers(trackers)
        .set("tasktracker.slots=1")
        .set("jobtracker.locality_wait=0s")
        .set("jobtracker.heartbeat_interval=300ms");
    let dev = Dev::start(&options);
    dev.put_text("a b a\n", "/in/text");
    dev
}

/// Submits a job whose attempts last until somebody ends them, with further lines of its file.
fn submit_endless(dev: &Dev, name: &str, lines: &str) -> String {
    let program = dev.scratch().join("endless.sh");
    fs::write(&program, "#!/bin/sh\nexec sleep 86400\n").expect("a program can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("and be run");
    let text = format!(
        "name: {name}\ninput: [/in]\noutput: /out/{name}\nprogram:\n  native: {{executable: \
         {}}}\n{lines}",
        program.display()
    );
    let file = dev.job_file(&format!("{name}.yaml"), &text);
    dev.run(&["job", "submit", &file]).success().text()
}

/// Sends a request without a body to the JobTracker.
fn post(dev: &Dev, path: &str) -> http::Response {
    http::request(&dev.jobtracker(), "POST", path, &[], "").expect("an answer")
}

/// A job's attempts, as `howdah attempt list` tells them.
fn attempts(dev: &Dev, job: &str) -> Vec<Value> {
    let list = dev.run(&["attempt", "list", job, "--format", "json"]).success().text();
    let list: Value = serde_json::from_str(&list).expect("a document");
    list["attempts"].as_array().expect("a list").clone()
}

/// Waits for the job's running attempt, another one than `former`; its id and its host.
fn await_attempt(dev: &Dev, job: &str, former: &str) -> (String, String) {
    wait::until("an attempt runs", PATIENCE, || {
        let running = attempts(dev, job).into_iter().find(|it| it["state"] == "RUNNING")?;
        let text = |key: &str| running[key].as_str().expect("text").to_owned();
        (text("attempt") != former).then(|| (text("attempt"), text("host")))
    })
}

#[test]
fn a_drain_that_would_never_end_says_so_and_what_to_do() {
    let dev = start(1);
    let job = "name: held\ninput: [/in]\noutput: /out/held\nprogram: {streaming: {mapper: cat, reducer: sleep 86400}}\n";
    let file = dev.job_file("held.yaml", job);
    let job = dev.run(&["job", "submit", &file]).success().text();
    dev.await_job(&job, "runs its reduce", |job| job["reduces"]["running"] == 1);
    let drained = dev.run(&["host", "drain", "host-1", "--now", "--wait"]);
    let drained = drained.refused(1, &["would never end", &job, "1 map outputs", "undrain"]);
    assert!(drained.stderr.contains("every TaskTracker is drained"), "{}", drained.stderr);
    let _ = dev.run(&["job", "kill", &job]).success();
    let _ = dev.run(&["host", "drain", "host-1", "--wait"]).success();
}

#[test]
fn a_job_is_killed_when_its_time_is_over() {
    let dev = start(1);
    let job = submit_endless(&dev, "late", "timeout: 2s\n");
    let waited = dev.run(&["job", "wait", &job]);
    let _ = waited.refused(1, &["KILLED", "'timeout' of 2s"]);
    let file = dev.job_file(
        "late.yaml",
        "name: n\ninput: [/in]\noutput: /o\ntimeout: 2\nprogram: {builtin: {name: grep}}\n",
    );
    let _ = dev.run(&["job", "submit", &file]).refused(2, &["late.yaml", "timeout", "with a unit"]);
}

#[test]
fn attempts_are_killed_and_failed_by_hand() {
    let dev = start(2);
    let job = submit_endless(&dev, "endless", "max_attempts: 2\n");
    let (first, host) = await_attempt(&dev, &job, "");
    let _ = dev.run(&["attempt", "kill", &first]).success();
    let (second, elsewhere) = await_attempt(&dev, &job, &first);
    assert_ne!(host, elsewhere, "it runs again on the other host");
    let _ = dev.run(&["attempt", "kill", &first]).refused(1, &[&first, "KILLED"]);
    let listed = dev.run(&["attempt", "list", &job]).success().text();
    let row = listed.lines().find(|line| line.starts_with(&first)).unwrap_or_default();
    assert!(row.ends_with("killed: a client asked for its end"), "{listed}");

    let _ = dev.run(&["attempt", "fail", &second]).success();
    assert_eq!(dev.job(&job)["state"], "RUNNING", "there is a try left");
    let (third, _) = await_attempt(&dev, &job, &second);
    let path = format!("/v1/jobs/{job}/attempts/{third}");
    let stranger = third.replace("_m_000000_", "_m_000007_");
    let none = post(&dev, &format!("{}/kill", path.replace(&third, &stranger)));
    assert_eq!(none.status, 404, "{}", none.text);
    let failed = post(&dev, &format!("{path}/fail"));
    assert_eq!((failed.status, &failed.body["state"]), (200, &"FAILED".into()), "{}", failed.text);
    assert_eq!(failed.body["failure"]["kind"], "failed_on_request");
    let ended = dev.await_job(&job, "fails", |job| job["state"] == "FAILED");
    assert!(ended["failure"].as_str().expect("a cause").contains("failed 2 times"), "{ended}");
    let counts = &ended["maps"];
    assert_eq!((&counts["killed_attempts"], &counts["failed_attempts"]), (&1.into(), &2.into()));
    for attempt in attempts(&dev, &job) {
        let at = |key: &str| attempt[key].as_u64();
        assert!(at("began_at").is_some() && at("began_at") <= at("ended_at"), "{attempt}");
    }
    let late = post(&dev, &format!("{path}/kill"));
    assert_eq!((late.status, &late.body["type"]), (409, &"attempt-ended".into()), "{}", late.text);
    let _ = dev.run(&["attempt", "kill", "attempt_1"]).refused(2, &["attempt_1"]);
}

#[test]
fn hosts_are_listed_with_what_they_run_and_when_they_are_lost() {
    let mut dev = Dev::start(
        &DevOptions::trackers(2).set("tasktracker.slots=1").set("jobtracker.dead_after=2s"),
    );
    dev.put_text("a b a\n", "/in/text");
    let job = submit_endless(&dev, "endless", "");
    let (_, host) = await_attempt(&dev, &job, "");
    let of = |dev: &Dev, host: &str| {
        let answer = http::get(&dev.jobtracker(), &format!("/v1/hosts/{host}")).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body
    };
    let status = of(&dev, &host);
    assert_eq!((&status["state"], &status["running"]), (&"LIVE".into(), &1.into()), "{status}");
    let text = dev.run(&["host", "list"]).success().text();
    assert_eq!(text.lines().filter(|line| line.contains(" LIVE ")).count(), 2, "{text}");
    let tracker = host.replace("host", "tasktracker");
    dev.kill(&tracker);
    let lost = || (of(&dev, &host)["state"] == "LOST").then_some(());
    wait::until("the host is lost", PATIENCE, lost);
    let none = http::get(&dev.jobtracker(), "/v1/hosts/host-9").expect("an answer");
    assert_eq!((none.status, &none.body["type"]), (404, &"not-found".into()), "{}", none.text);
}

#[test]
fn a_host_is_drained_and_stopped_and_no_work_is_lost() {
    let mut dev = start(2);
    let job = submit_endless(&dev, "endless", "max_attempts: 1\n");
    let (first, host) = await_attempt(&dev, &job, "");
    let tracker = host.replace("host", "tasktracker");
    let _ = dev.run(&["host", "drain", &host]).success();
    let state = |dev: &Dev| {
        let list = dev.run(&["host", "list", "--format", "json"]).success().text();
        let list: Value = serde_json::from_str(&list).expect("a document");
        let hosts = list["hosts"].as_array().expect("a list");
        let found = hosts.iter().find(|it| it["host"] == host.as_str()).expect("it is known");
        found["state"].as_str().expect("text").to_owned()
    };
    assert_eq!(state(&dev), "DRAINING", "an attempt runs there");
    let _ = dev.run(&["host", "drain", &host, "--now", "--wait"]).success();
    assert_eq!(state(&dev), "DRAINED");
    let (second, elsewhere) = await_attempt(&dev, &job, &first);
    assert_ne!(host, elsewhere);

    dev.kill("jobtracker");
    dev.restart("jobtracker");
    dev.kill(&tracker);
    dev.restart(&tracker);
    let _ = dev.run(&["host", "drain", &host, "--wait"]).success();
    let attempt = attempts(&dev, &job).into_iter().find(|it| it["state"] == "RUNNING");
    assert_eq!(attempt.expect("it goes on")["attempt"], second.as_str(), "both times it was alone");
    let _ = dev.run(&["host", "undrain", &host]).success();
    wait::until("it gets work again", PATIENCE, || (state(&dev) == "LIVE").then_some(()));
    let _ = dev.run(&["attempt", "kill", &second]).success();
    let (_, again) = await_attempt(&dev, &job, &second);
    assert_eq!(again, host);
    let _ = dev.run(&["host", "drain", "host-9"]).refused(1, &["host-9", "howdah host list"]);
    assert_eq!(dev.job(&job)["maps"]["failed_attempts"], 0);
}

#[test]
fn a_job_is_paused_over_a_restart_and_goes_on_when_it_is_resumed() {
    let mut dev = start(2);
    let job = submit_endless(&dev, "endless", "");
    let (first, _) = await_attempt(&dev, &job, "");
    let _ = dev.run(&["job", "pause", &job]).success();
    let status = dev.job(&job);
    assert_eq!((&status["paused"], &status["maps"]["running"]), (&true.into(), &1.into()));
    let text = dev.run(&["job", "list"]).success().text();
    assert!(text.contains("PAUSED"), "{text}");
    let _ = dev.run(&["attempt", "kill", &first]).success();
    dev.await_job(&job, "stands still", |job| {
        let why = job["waiting"].as_str().unwrap_or_default();
        job["maps"]["running"] == 0 && why.contains("job resume")
    });
    dev.kill("jobtracker");
    dev.restart("jobtracker");
    dev.await_trackers(2);
    let _ = dev.run(&["job", "submit", &dev.job_file("small.yaml",
        "name: small\ninput: [/in]\noutput: /out/small\nprogram: {builtin: {name: wordcount}}\n"),
        "--wait"]).success();
    let status = dev.job(&job);
    let counts = &status["maps"];
    assert_eq!((&status["paused"], &counts["running"]), (&true.into(), &0.into()), "{status}");
    let _ = dev.run(&["job", "resume", &job]).success();
    let (second, _) = await_attempt(&dev, &job, &first);

    let path = format!("/v1/jobs/{job}/pause?kill=true");
    let paused = post(&dev, &path);
    assert_eq!((paused.status, &paused.body["paused"]), (200, &true.into()), "{}", paused.text);
    dev.await_job(&job, "stands still", |job| job["maps"]["killed_attempts"] == 2);
    assert_eq!(post(&dev, &format!("/v1/jobs/{job}/resume")).status, 200);
    let _ = await_attempt(&dev, &job, &second);
    let _ = dev.run(&["job", "kill", &job]).success();
    let _ = dev.run(&["job", "pause", &job]).refused(1, &[&job, "KILLED"]);
}

#[test]
fn a_job_that_waits_and_one_that_is_over_are_explained() {
    let dev = start(2);
    for nth in 0..4 {
        dev.put_text("a b a\n", &format!("/in/{nth}"));
    }
    let job = submit_endless(&dev, "endless", "");
    dev.await_job(&job, "holds all slots", |job| job["maps"]["running"].as_u64() == Some(2));
    let said = dev.run(&["job", "explain", &job]).success().text();
    for part in ["is RUNNING", "waits for a slot", ": all slots are taken", "one after the other"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let (attempt, host) = await_attempt(&dev, &job, "");
    let (task, _) = attempt.rsplit_once('_').expect("an attempt's id ends with its number");
    let task = task.replace("attempt", "task");
    let said = dev.run(&["job", "explain", &job, &task]).success().text();
    assert!(said.contains(&format!("{attempt} RUNNING on {host}")), "{said}");
    let _ = dev.run(&["job", "kill", &job]).success();

    let file = dev.job_file(
        "count.yaml",
        "name: count\ninput: [/in]\noutput: /out/count\nprogram: {builtin: {name: wordcount}}\n",
    );
    let count = dev.run(&["job", "submit", "--wait", &file]).success().text();
    let answer =
        http::get(&dev.jobtracker(), &format!("/v1/jobs/{count}/explain")).expect("an answer");
    let path = answer.body["path"].as_array().expect("a list").clone();
    let last = path.last().expect("at least the reduce");
    assert!(last["attempt"].as_str().is_some_and(|id| id.contains("_r_")), "{path:?}");
    assert_eq!(path[0]["after"], "submission", "{path:?}");
    let absent =
        http::get(&dev.jobtracker(), "/v1/jobs/job_20200101_0001/explain").expect("an answer");
    assert_eq!(absent.status, 404);
}
