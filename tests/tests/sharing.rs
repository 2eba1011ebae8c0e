//! Several jobs at once on real hosts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tests::{Dev, DevOptions, books};

const MAPS: u64 = 100;

#[test]
fn a_small_job_ends_long_before_a_large_one_that_came_first() {
    let dev = Dev::start(&DevOptions::trackers(3).set("chunkmaster.chunk_bytes=1MiB"));
    let text = dev.scratch().join("text");
    books::generate(&text, &format!("{MAPS}MiB"), 3);
    dev.put(&text, "/large/text");
    dev.put_text("a b a\n", "/small/text");
    let submit = |name: &str| {
        let text = format!(
            "name: {name}\ninput: [/{name}]\noutput: /out/{name}\nprogram: {{builtin: {{name: wordcount}}}}\n"
        );
        let file = dev.job_file(&format!("{name}.yaml"), &text);
        dev.run(&["job", "submit", &file]).success().text()
    };
    let large = submit("large");
    dev.await_job(&large, "runs", |job| job["maps"]["succeeded"].as_u64() > Some(0));
    let small = submit("small");
    dev.await_job(&small, "succeeds", |job| job["state"] == "SUCCEEDED");
    let done = dev.job(&large)["maps"]["succeeded"].as_u64().expect("a number");
    assert!(done < MAPS / 2, "{done} of {MAPS} maps of the large job were done before");
    assert_eq!(dev.job(&large)["priority"], "normal");
    let _ = dev.run(&["job", "priority", &large, "urgent"]).refused(2, &["urgent", "very-high"]);
    let _ = dev.run(&["job", "priority", &large, "very-high"]).success();
    assert_eq!(dev.job(&large)["priority"], "very-high");
    dev.await_job(&large, "succeeds", |job| job["state"] == "SUCCEEDED");
    let _ = dev.run(&["job", "priority", &large, "low"]).refused(1, &[&large, "SUCCEEDED"]);
}

#[test]
fn a_pool_gets_its_minimum_from_others_that_run_and_takes_only_so_many_jobs() {
    let dev = Dev::start(
        &DevOptions::trackers(2)
            .set("chunkmaster.chunk_bytes=1MiB")
            .set("tasktracker.slots=2")
            .set("jobtracker.preempt_after=1s")
            .set("pools=[{name: promised, min_slots: 2, jobs_max: 1}]"),
    );
    for nth in 0..16 {
        dev.put_text("a\n", &format!("/in/{nth}"));
    }
    let submit = |name: &str, pool: &str, program: &str| {
        let text = format!(
            "name: {name}\ninput: [/in]\noutput: /out/{name}\npool: {pool}\nprogram: {program}\n"
        );
        let file = dev.job_file(&format!("{name}.yaml"), &text);
        dev.run(&["job", "submit", &file])
    };
    let sleeper = dev.scratch().join("sleeper");
    fs::write(&sleeper, "#!/bin/sh\nsleep 1000\n").expect("a program can be written");
    fs::set_permissions(&sleeper, fs::Permissions::from_mode(0o755)).expect("and made executable");
    let sleeper = format!("{{native: {{executable: {}}}}}", sleeper.display());
    let count = "{builtin: {name: wordcount}}";
    let long = submit("long", "default", &sleeper).success().text();
    dev.await_job(&long, "holds all slots", |job| job["maps"]["running"].as_u64() == Some(4));
    let promised = submit("short", "promised", count).success().text();
    let _ = submit("more", "promised", count).refused(1, &["promised", "jobs_max"]);
    let _ = submit("other", "prommised", count).refused(1, &["prommised", "default"]);
    dev.await_job(&promised, "succeeds", |job| job["state"] == "SUCCEEDED");
    let job = dev.job(&long);
    assert!(job["maps"]["killed_attempts"].as_u64() > Some(0), "{job}");
    assert_eq!(job["maps"]["failed_attempts"], 0);
    let list = dev.run(&["pool", "list", "--format", "json"]).success().text();
    let list: serde_json::Value = serde_json::from_str(&list).expect("a JSON document");
    let pools = &list["pools"];
    assert_eq!(
        (&pools[0]["pool"], &pools[0]["min_slots"], &pools[1]["pool"], &pools[1]["jobs"]),
        (&"promised".into(), &2.into(), &"default".into(), &1.into()),
        "{list}"
    );
    let _ = dev.run(&["pool", "pause", "default", "--now"]).success();
    dev.await_job(&long, "has no attempts", |job| job["maps"]["running"].as_u64() == Some(0));
    let waiting = dev.job(&long)["waiting"].to_string();
    assert!(waiting.contains("howdah pool resume default"), "{waiting}");
    assert!(dev.run(&["pool", "list"]).success().text().contains("PAUSED"));
    let _ = dev.run(&["pool", "resume", "default"]).success();
    dev.await_job(&long, "goes on", |job| job["maps"]["running"].as_u64() > Some(0));
    let _ = dev.run(&["pool", "kill", "defaults"]).refused(1, &["defaults", "promised"]);
    let _ = dev.run(&["pool", "kill", "a b"]).refused(2, &["letters"]);
    let _ = dev.run(&["pool", "kill", "default"]).success();
    assert_eq!(dev.job(&long)["state"], "KILLED");
}
