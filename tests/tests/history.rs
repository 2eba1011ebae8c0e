//! What is kept of jobs that are over: it outlives the hosts that ran them, and the JobTracker that knew them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::{Dev, DevOptions, http, wait};

/// A cluster that soon forgets ended jobs and lost hosts.
fn start(trackers: u32) -> Dev {
    let options = DevOptions::trackers(trackers)
        .set("jobtracker.finished_jobs_max=1")
        .set("jobtracker.dead_after=2s")
        .set("jobtracker.heartbeat_interval=300ms")
        .set("jobtracker.locality_wait=0s");
    let dev = Dev::start(&options);
    dev.put_text("a b a\n", "/in/text");
    dev
}

/// Submits a shell script as a native program.
fn submit(dev: &Dev, name: &str, script: &str) -> String {
    let program = dev.scratch().join(format!("{name}.sh"));
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a program can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("and be run");
    let text = format!(
        "name: {name}\ninput: [/in]\noutput: /out/{name}\nmax_attempts: 2\nprogram:\n  native: \
         {{executable: {}}}\n",
        program.display()
    );
    let file = dev.job_file(&format!("{name}.yaml"), &text);
    dev.run(&["job", "submit", &file]).success().text()
}

fn count_words(dev: &Dev, name: &str) -> String {
    let text = format!(
        "name: {name}\ninput: [/in]\noutput: /out/{name}\nprogram: {{builtin: {{name: wordcount}}}}\n"
    );
    let file = dev.job_file(&format!("{name}.yaml"), &text);
    dev.run(&["job", "submit", &file, "--wait"]).success().text()
}

/// Waits until the job's history is written; the job in it.
fn await_history(dev: &Dev, job: &str) -> Value {
    wait::until("its history is written", PATIENCE, || {
        let answer = http::get(&dev.jobtracker(), &format!("/v1/history/{job}")).ok()?;
        (answer.status == 200).then_some(answer.body)
    })
}

/// `howdah ARGS --format json`.
fn json(dev: &Dev, args: &[&str]) -> Value {
    let text = dev.run(&[args, &["--format", "json"]].concat()).success().text();
    serde_json::from_str(&text).expect("a document")
}

#[test]
fn a_failed_attempts_log_outlives_its_host_and_the_jobtracker_that_knew_it() {
    let mut dev = start(2);
    let job = submit(&dev, "broken", "echo $HOWDAH_ATTEMPT_ID says why >&2; exit 3");
    dev.await_job(&job, "fails", |job| job["state"] == "FAILED");
    // It is being written in this moment.
    let history = http::get(&dev.jobtracker(), &format!("/v1/history/{job}")).expect("an answer");
    let history = history.body;
    assert_eq!(history["status"]["state"], "FAILED");
    assert_eq!(
        (&history["spec"]["name"], &history["settings"]["max_attempts"]),
        (&"broken".into(), &2.into())
    );
    for tracker in ["tasktracker-1", "tasktracker-2"] {
        dev.kill(tracker);
        fs::remove_dir_all(dev.data_dir(tracker)).expect("its folder can be removed");
    }
    dev.kill("jobtracker");
    dev.restart("jobtracker");

    let kept = json(&dev, &["job", "history", &job]);
    let attempts = kept["attempts"].as_array().expect("a list");
    assert_eq!(attempts.len(), 2, "{kept}");
    for attempt in attempts {
        let id = attempt["attempt"].as_str().expect("an id");
        assert_eq!(
            (&attempt["state"], &attempt["failure"]["kind"]),
            (&"FAILED".into(), &"crashed".into())
        );
        assert!(attempt["began_at"].as_u64() > Some(0) && attempt["ended_at"].as_u64() > Some(0));
        let log = dev.run(&["job", "logs", &job, id]).success().text();
        assert_eq!(log, format!("{id} says why"));
    }

    // Hosts that came back know nothing of it, and the JobTracker forgets it for a newer one.
    for tracker in ["tasktracker-1", "tasktracker-2"] {
        dev.restart(tracker);
    }
    let newer = count_words(&dev, "newer");
    let _ = await_history(&dev, &newer);
    let forgotten = || {
        let list = http::get(&dev.jobtracker(), "/v1/jobs").ok()?.body;
        (list["jobs"].as_array()?.len() == 1).then_some(list)
    };
    let list = wait::until("the job is forgotten", PATIENCE, forgotten);
    assert_eq!(list["jobs"][0]["id"], newer.as_str());
    assert_eq!(json(&dev, &["job", "status", &job])["state"], "FAILED");
    let all = json(&dev, &["job", "list", "--all"]);
    let ids: Vec<_> = all["jobs"].as_array().expect("a list").iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [newer.as_str(), job.as_str()]);
    let logs = dev.run(&["job", "logs", &job]).success().text();
    assert_eq!(logs.matches("says why").count(), 2, "{logs}");
    let text = dev.run(&["job", "history", &newer]).success().text();
    assert!(text.contains("SUCCEEDED") && text.contains("_r_000000_0"), "{text}");
    let simulated = json(&dev, &["simulate", "--history", &newer, "--trackers", "3"]);
    let (again, took) = (&simulated["report"]["jobs"][0], simulated["report"]["time_s"].as_f64());
    assert_eq!((&again["state"], &again["reduces"]), (&"SUCCEEDED".into(), &1.into()), "{again}");
    assert!(took > Some(0.1), "its tasks take what they took: {took:?}");
    let _ =
        dev.run(&["simulate", "--history", &job]).refused(1, &["only a job that has succeeded"]);
    let _ = dev.run(&["job", "kill", &job]).refused(1, &[&job]);
    let unknown = job.replace("_0001", "_0009");
    let _ = dev.run(&["job", "history", &unknown]).refused(1, &[&unknown, "history_keep"]);
    let _ = dev.run(&["job", "status", &unknown]).refused(1, &[&unknown]);
}

#[test]
fn a_history_that_could_not_be_written_is_written_by_the_next_jobtracker() {
    let mut dev = start(1);
    let job = submit(&dev, "endless", "echo begun; exec sleep 86400");
    dev.await_job(&job, "runs", |job| job["maps"]["running"] == 1);
    let attempt = format!("{}_m_000000_0", job.replace("job", "attempt"));
    let logged = || {
        let log = dev.run(&["job", "logs", &job, &attempt]);
        (log.code == Some(0) && log.text() == "begun").then_some(())
    };
    wait::until("the attempt has begun", PATIENCE, logged);
    dev.freeze("chunkmaster");
    let path = format!("/v1/jobs/{job}/attempts/{attempt}/fail");
    let failed = http::request(&dev.jobtracker(), "POST", &path, &[], "").expect("an answer");
    assert_eq!(failed.status, 200, "{}", failed.text);
    let path = format!("/v1/jobs/{job}/kill");
    let killed = http::request(&dev.jobtracker(), "POST", &path, &[], "").expect("an answer");
    assert_eq!(killed.body["state"], "KILLED", "{}", killed.text);
    dev.kill("jobtracker");
    dev.thaw("chunkmaster");
    dev.restart("jobtracker");
    let history = await_history(&dev, &job);
    assert_eq!(history["status"]["maps"]["failed_attempts"], 1);
    dev.kill("tasktracker-1");
    let log = dev.run(&["job", "logs", &job, &attempt]).success().text();
    assert_eq!(log, "begun");
    let unfinished = dev.run(&["fs", "ls", "-R", "/.howdah/history"]).success().text();
    assert!(unfinished.lines().all(|line| !line.contains("/unfinished/")), "{unfinished}");
}

#[test]
fn a_log_is_kept_of_an_attempt_whose_host_is_gone_before_its_job_ends() {
    let mut dev = start(2);
    let job = submit(&dev, "endless", "echo $HOWDAH_ATTEMPT_ID begun; exec sleep 86400");
    let running = |former: &str| {
        let list = json(&dev, &["attempt", "list", &job]);
        let attempts = list["attempts"].as_array()?;
        let found =
            attempts.iter().find(|it| it["state"] == "RUNNING" && it["attempt"] != former)?;
        let text = |key: &str| Some(found[key].as_str()?.to_owned());
        let (attempt, host) = (text("attempt")?, text("host")?);
        let log = dev.run(&["job", "logs", &job, &attempt]);
        (log.text() == format!("{attempt} begun")).then_some((attempt, host))
    };
    let (first, host) = wait::until("an attempt has begun", PATIENCE, || running(""));
    let _ = dev.run(&["attempt", "fail", &first]).success();
    let path = format!("/v1/history/{job}/attempts/{first}/log");
    let kept = || http::get(&dev.jobtracker(), &path).ok().filter(|answer| answer.status == 200);
    let _ = wait::until("its log is kept", PATIENCE, kept);
    let (second, elsewhere) = wait::until("the next one has begun", PATIENCE, || running(&first));
    assert_ne!(host, elsewhere);
    let tracker = host.replace("host", "tasktracker");
    dev.kill(&tracker);
    fs::remove_dir_all(dev.data_dir(&tracker)).expect("its folder can be removed");
    let _ = dev.run(&["attempt", "fail", &second]).success();
    dev.await_job(&job, "fails", |job| job["state"] == "FAILED");
    let _ = await_history(&dev, &job);
    let early_goes = || {
        let list = dev.run(&["fs", "ls", "-R", "/.howdah/history"]).success().text();
        (!list.lines().any(|line| line.contains("/failed/job_"))).then_some(())
    };
    wait::until("what was kept before goes", PATIENCE, early_goes);
    for attempt in [first, second] {
        let log = dev.run(&["job", "logs", &job, &attempt]).success().text();
        assert_eq!(log, format!("{attempt} begun"));
    }
}
