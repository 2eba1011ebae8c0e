//! The main job, end to end, over real processes: its results are those of a plain count.

use std::fs;
use std::process::Command;

use tests::books::{self, TOP_OF_THE_BOOKS, WORDS_OF_THE_BOOKS};
use tests::cluster::PATIENCE;
use tests::command::{finish, howdah, run};
use tests::oracle::{count_words_of, lines_of, lines_of_counts, lines_of_parts};
use tests::{Dev, DevOptions, http, wait};

const WORD_COUNT: &str = "name: word count\ninput: [/in]\noutput: /out\nprogram:\n  \
                          builtin: {name: wordcount}\nreduces: 4\n";

fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

#[test]
fn demo_counts_the_words_of_real_input_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let input = books::folder(scratch.path());
    let output = scratch.path().join("parts");
    let temporary = scratch.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut demo = howdah();
    demo.args(["demo", "--input", path(&input), "--output", path(&output)]);
    let shown = finish(demo.env("TMPDIR", &temporary)).success();

    let counts = count_words_of(&input);
    assert_eq!(lines_of_parts(&output), lines_of_counts(&counts));
    let text = shown.text();
    if books::gutenberg().is_some() {
        assert_eq!(counts.len(), WORDS_OF_THE_BOOKS);
        let top: Vec<String> =
            TOP_OF_THE_BOOKS.iter().map(|(word, n)| format!("{n:>12}  {word}")).collect();
        let printed: Vec<&str> = text.lines().take(top.len()).collect();
        assert_eq!(printed, top);
    }
    assert_eq!(text.lines().take_while(|line| !line.is_empty()).count(), 20);
    for said in ["SUCCEEDED in ", "maps  ", "reduces  ", "bytes  ", "node-local  ", "attempts  "] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "the cluster's folder is gone");
}

#[test]
fn demo_refuses_an_output_that_exists_before_it_starts_anything() {
    let scratch = tempfile::tempdir().unwrap();
    let output = path(scratch.path());
    let _ = run(["demo", "--size", "1KiB", "--output", output]).refused(2, &[output, "exists"]);
}

#[test]
fn a_job_through_dev_put_submit_and_cat_equals_a_plain_count() {
    let dev = Dev::start(&DevOptions::default());
    let input = books::folder(dev.scratch());
    dev.put(&input, "/in");
    let file = dev.job_file("job.yaml", WORD_COUNT);
    let submitted = dev.run(&["job", "submit", &file, "--wait"]).success();
    let id = submitted.text();
    assert!(id.starts_with("job_") && !id.contains('\n'), "the id alone: {id}");
    assert!(submitted.stderr.contains("SUCCEEDED"), "{}", submitted.stderr);

    let parts =
        ["/out/part-r-00000", "/out/part-r-00001", "/out/part-r-00002", "/out/part-r-00003"];
    let mut lines = Vec::new();
    for part in parts {
        let part = lines_of(&dev.run(&["fs", "cat", part]).success().stdout);
        assert!(part.is_sorted(), "a part is sorted by its keys' bytes");
        lines.extend(part);
    }
    lines.sort_unstable();
    assert_eq!(lines, lines_of_counts(&count_words_of(&input)));
    let listed = dev.run(&["fs", "ls", "/out"]).success().text();
    assert_eq!(listed.lines().count(), parts.len() + 1, "{listed}");
    assert!(listed.contains("/out/_SUCCESS"), "{listed}");

    let status = dev.run(&["job", "status", &id]).success().text();
    assert!(status.contains("SUCCEEDED"), "{status}");
    let counters = dev.run(&["job", "counters", &id]).success().text();
    assert!(!counters.is_empty());
    assert!(dev.run(&["job", "list"]).success().text().contains(&id));
}

#[test]
fn a_job_by_rest_alone_and_the_same_key_is_the_same_job() {
    let dev = Dev::start(&DevOptions::default());
    dev.put_text("b a b\nc\n", "/in/in.txt");
    let job = r#"{"name": "by hand", "input": ["/in"], "output": "/out",
                  "program": {"builtin": {"name": "wordcount"}}, "reduces": 1}"#;
    let submit = || {
        let headers = ["Idempotency-Key: one"];
        http::request(&dev.jobtracker(), "POST", "/v1/jobs", &headers, job).unwrap()
    };
    let accepted = submit();
    assert_eq!(accepted.status, 201, "{}", accepted.text);
    let id = accepted.body["id"].as_str().unwrap().to_owned();
    assert_eq!(accepted.header("location"), Some(format!("/v1/jobs/{id}").as_str()));
    let again = submit();
    assert_eq!(again.body["id"], accepted.body["id"], "{}", again.text);

    let done = dev.await_job(&id, "succeeds", |job| job["state"] == "SUCCEEDED");
    assert_eq!(done["name"], "by hand");
    assert_eq!(done["maps"]["total"], 1);
    assert_eq!(done["reduces"]["succeeded"], 1);
    assert!(done["failure"].is_null());
    assert_eq!(dev.run(&["fs", "cat", "/out/part-r-00000"]).success().text(), "a\t1\nb\t2\nc\t1");

    let other = job.replace("by hand", "another");
    let headers = ["Idempotency-Key: one"];
    let refused = http::request(&dev.jobtracker(), "POST", "/v1/jobs", &headers, &other).unwrap();
    assert_eq!(refused.body["type"], "key-reused", "{}", refused.text);
}

#[test]
fn a_job_by_curl_alone() {
    let dev = Dev::start(&DevOptions::default());
    dev.put_text("b a b\nc\n", "/in/in.txt");
    let curl = |args: &[&str], path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60"]);
        finish(curl.args(args).arg(format!("http://{}{path}", dev.jobtracker()))).success().text()
    };
    let job = r#"{"name": "by curl", "input": ["/in"], "output": "/out",
                  "program": {"builtin": {"name": "wordcount"}}, "reduces": 1}"#;
    let json = "content-type: application/json";
    let accepted = curl(&["--include", "--header", json, "--data", job], "/v1/jobs");
    let (head, body) = accepted.split_once("\r\n\r\n").expect("a head and a body");
    let body: serde_json::Value = serde_json::from_str(body).expect("the body is JSON");
    let id = body["id"].as_str().expect("an id");
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    assert!(head.to_lowercase().contains(&format!("location: /v1/jobs/{id}")), "{head}");

    let succeeded = wait::until("the job succeeds", PATIENCE, || {
        let status = curl(&[], &format!("/v1/jobs/{id}"));
        status.contains("\"SUCCEEDED\"").then_some(status)
    });
    let status: serde_json::Value = serde_json::from_str(&succeeded).expect("the status is JSON");
    assert_eq!(status["name"], "by curl");
    assert_eq!(status["reduces"]["succeeded"], 1);
    assert_eq!(dev.run(&["fs", "cat", "/out/part-r-00000"]).success().text(), "a\t1\nb\t2\nc\t1");
}

#[test]
fn grep_sort_and_identity_equal_the_oracle() {
    let dev = Dev::start(&DevOptions::default());
    let input = dev.scratch().join("lines.txt");
    books::generate(&input, "300KiB", 5);
    dev.put(&input, "/in/lines.txt");
    let programs = [
        ("grep", "{name: grep, args: {pattern: 'st$'}}", ""),
        ("sort", "{name: sort}", "reduces: 3\n"),
        ("identity", "{name: identity}", ""),
    ];
    for (name, program, reduces) in programs {
        let job = |input: &str, output: &str| {
            format!(
                "name: {name}\ninput: [{input}]\noutput: {output}\nprogram:\n  \
                 builtin: {program}\n{reduces}"
            )
        };
        let on_cluster = dev.job_file("cluster.yaml", &job("/in", &format!("/out/{name}")));
        let _ = dev.run(&["job", "submit", &on_cluster, "--wait"]).success();
        let got = dev.scratch().join(format!("{name}-cluster"));
        dev.get(&format!("/out/{name}"), &got);

        let expected = dev.scratch().join(format!("{name}-oracle"));
        let local = dev.job_file("local.yaml", &job(path(&input), path(&expected)));
        let _ = run(["local", &local, "--sequential"]).success();
        assert!(!lines_of_parts(&expected).is_empty(), "{name} has output");
        if name == "sort" {
            let part =
                |n| fs::read(got.join(format!("part-r-{n:05}"))).expect("there are three parts");
            let parts: Vec<_> = (0..3).map(part).collect();
            assert!(parts.iter().all(|part| !part.is_empty()), "each part has its share");
            let whole = parts.concat();
            assert!(lines_of(&whole).is_sorted(), "the parts, one after the other, are sorted");
        }
        assert_eq!(lines_of_parts(&got), lines_of_parts(&expected), "{name}");
        assert!(got.join("_SUCCESS").exists());
    }
}

#[test]
fn local_runs_equal_the_oracle_byte_for_byte() {
    let scratch = tempfile::tempdir().unwrap();
    let input = books::folder(scratch.path());
    let mut outputs = Vec::new();
    for (name, extra) in [("tasks", None), ("oracle", Some("--sequential"))] {
        let output = scratch.path().join(name);
        let job = scratch.path().join("job.yaml");
        let text = WORD_COUNT.replace("/in", path(&input)).replace("/out", path(&output));
        fs::write(&job, text).unwrap();
        let _ = run(["local", path(&job)].into_iter().chain(extra)).success();
        let part = |n| fs::read(output.join(format!("part-r-{n:05}"))).unwrap();
        outputs.push((0..4).map(part).collect::<Vec<_>>());
    }
    assert_eq!(outputs[0], outputs[1]);
    let words: usize = outputs[0].iter().map(|part| lines_of(part).len()).sum();
    assert_eq!(words, count_words_of(&input).len());
}
