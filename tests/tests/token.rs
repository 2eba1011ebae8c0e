//! `howdah token`: what a cluster with a secret lets its holder do over REST, and what not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tests::cluster::PATIENCE;
use tests::command::{finish, run};
use tests::{Dev, DevOptions, http, wait};

fn status(address: &str, method: &str, path: &str, token: &str, body: &str) -> u16 {
    let authorization = format!("Authorization: Bearer {token}");
    http::request(address, method, path, &[&authorization], body).expect("an answer").status
}

#[test]
fn a_token_is_good_for_what_it_was_made_for_until_it_expires() {
    let dev = Dev::start(&DevOptions::trackers(1).set("cluster.anonymous_loopback=false"));
    dev.put_text("a b a\n", "/in/in.txt");
    dev.put_text("c\n", "/other/in.txt");
    let (jobtracker, chunkmaster) = (dev.jobtracker(), dev.address_of("chunkmaster"));
    assert_eq!(http::get(&jobtracker, "/v1/jobs").unwrap().status, 401, "no token");
    let token = |args: &[&str]| {
        let made = dev.run(&[&["token"], args].concat()).success();
        let text = made.text();
        assert!(!text.contains(char::is_whitespace), "the token alone: {text}");
        text
    };
    let job = |input: &str, output: &str| {
        format!(
            "{{\"name\": \"n\", \"input\": [\"{input}\"], \"output\": \"{output}\", \
             \"program\": {{\"builtin\": {{\"name\": \"wordcount\"}}}}}}"
        )
    };
    let submit = |token: &str, input: &str, output: &str| {
        status(&jobtracker, "POST", "/v1/jobs", token, &job(input, output))
    };
    let stat = |token: &str, path: &str| {
        let body = format!("{{\"path\": \"{path}\"}}");
        status(&chunkmaster, "POST", "/v1/files/stat", token, &body)
    };

    let all = token(&["--user", "ci"]);
    assert_eq!(submit(&all, "/in", "/out"), 201);
    let kill = "/v1/jobs/job_20200101_0001/kill";
    assert_eq!(status(&jobtracker, "POST", kill, &all, "{}"), 404);
    let list = dev.run(&["job", "list", "--format", "json"]).success().text();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let id = list["jobs"][0]["id"].as_str().unwrap();

    let reads = token(&["--read-only"]);
    assert_eq!(stat(&reads, "/in/in.txt"), 200);
    assert_eq!(submit(&reads, "/in", "/out-2"), 403);
    let kill = format!("/v1/jobs/{id}/kill");
    assert_eq!(status(&jobtracker, "POST", &kill, &reads, "{}"), 403);

    let some = token(&["--path", "/in", "--path", "/mine/"]);
    assert_eq!((stat(&some, "/in/in.txt"), stat(&some, "/other/in.txt")), (200, 403));
    assert_eq!(submit(&some, "/in", "/mine/out"), 201);
    assert_eq!(submit(&some, "/in", "/out-3"), 403);
    assert_eq!(submit(&some, "/other", "/mine/out-3"), 403);
    assert_eq!(status(&jobtracker, "POST", &kill, &some, "{}"), 403, "not its job");

    the_commands_work_within_its_paths(&dev, &some);

    let _ = dev.run(&["job", "kill", id]);
    let kept = format!("/v1/history/{id}");
    let written = || (status(&jobtracker, "GET", &kept, &all, "") == 200).then_some(());
    wait::until("its history is written", PATIENCE, written);
    assert_eq!(status(&jobtracker, "GET", &kept, &some, ""), 403, "what it was told to do");
    let log = format!("{kept}/attempts/{}_m_000000_0/log", id.replace("job", "attempt"));
    assert_eq!(status(&jobtracker, "GET", &log, &some, ""), 403, "what it wrote");
    assert_eq!(status(&jobtracker, "GET", &format!("{kept}/attempts"), &some, ""), 200);
    let output = token(&["--read-only", "--path", "/out"]);
    assert_eq!(status(&jobtracker, "GET", &kept, &output, ""), 200);

    let brief = token(&["--for", "1ms"]);
    wait::until("the token expires", PATIENCE, || (stat(&brief, "/in") == 401).then_some(()));
    let json = dev.run(&["token", "--format", "json"]).success().text();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["token"].is_string() && json["expires"].is_u64(), "{json}");
}

/// With one that is good for `/in` and `/mine`.
fn the_commands_work_within_its_paths(dev: &Dev, token: &str) {
    let file = dev.scratch().join("token");
    fs::write(&file, token).expect("it can be written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let by = |args: &[&str]| finish(dev.client(args).env("HOWDAH_TOKEN_FILE", &file));
    assert_eq!(by(&["fs", "cat", "/in/in.txt"]).success().text(), "a b a");
    assert!(by(&["fs", "ls", "/in"]).success().text().contains("/in/in.txt"));
    let local = dev.scratch().join("local");
    fs::write(&local, "x\n").expect("it can be written");
    let local = local.to_str().expect("a path");
    let _ = by(&["fs", "put", local, "/mine/folder/a"]).success();
    assert_eq!(by(&["fs", "cat", "/mine/folder/a"]).success().text(), "x");
    let _ = by(&["fs", "ls", "/"]).refused(1, &["may not read /"]);
    let _ = by(&["fs", "cat", "/other/in.txt"]).refused(1, &["may not read /other/in.txt"]);
    let _ = by(&["fs", "put", local, "/other/a"]).refused(1, &["/other/a"]);
}

#[test]
fn a_token_that_would_be_of_no_use_is_refused() {
    let _ = run(["token"]).refused(2, &["--config"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("howdah.yaml");
    std::fs::write(&file, "cluster: {anonymous_loopback: true}\n").unwrap();
    let name = file.to_str().unwrap();
    let _ = run(["token", "--config", name]).refused(2, &[name, "cluster.secret_file"]);
    std::fs::write(&file, "cluster: {secret_file: /no/such/secret}\n").unwrap();
    let _ = run(["token", "--config", name]).refused(2, &["/no/such/secret"]);
    for (args, said) in [
        (["--expires", "soon"], "with a unit"),
        (["--expires", "0s"], "no time"),
        (["--path", "in"], "absolute"),
        (["--subject", ""], "1 to 200"),
    ] {
        let _ = run(["token", "--config", name].iter().chain(&args)).refused(2, &[said]);
    }
}
