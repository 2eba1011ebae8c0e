//! Workflows by the command line: what is written and refused, run, interrupted and gone on with; no job twice.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};

use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::command::run;
use tests::{Dev, DevOptions, http, wait};

/// A loop of five rounds behind a job, and a result; each job of the loop takes a moment, so that it can be disturbed.
const FLOW: &str = "\
name: growing
variables: {text: /in, out: /out, rounds: 5, wait: '0.4'}
jobs:
  first:
    input: ['${text}']
    output: ${work}/n-0
    program: {builtin: {name: identity}}
  other:
    input: ['${text}']
    output: ${out}-other
    program: {builtin: {name: wordcount}}
  grow:
    rounds: ${rounds}
    until: {job: double, counter: grow.LINES, at_least: 64}
    jobs:
      double:
        input: ['${work}/n-${previous}']
        output: ${work}/n-${round}
        program:
          streaming:
            mapper: ./double.sh ${wait}
            files: [double.sh]
        combine_files: true
  result:
    input: ['${double.output}']
    output: ${out}
    program: {builtin: {name: sort}}
";

/// Writes each line twice, and counts them.
const DOUBLE: &str = "#!/bin/sh
sleep \"$1\"
while read -r line; do
    printf '%s\\n%s\\n' \"$line\" \"$line\"
    echo reporter:counter:grow,LINES,2 >&2
done
";

fn write(dev: &Dev) -> String {
    let script = dev.job_file("double.sh", DOUBLE);
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    dev.job_file("flow.yaml", FLOW)
}

/// The jobs that the JobTracker knows, by name, with how many there are of each.
fn jobs(dev: &Dev) -> BTreeMap<String, usize> {
    let list = http::get(&dev.jobtracker(), "/v1/jobs?limit=1000").expect("an answer").body;
    let mut counts = BTreeMap::new();
    for job in list["jobs"].as_array().expect("a list") {
        *counts.entry(job["name"].as_str().expect("a name").to_owned()).or_default() += 1;
    }
    counts
}

fn expected_jobs() -> BTreeMap<String, usize> {
    let rounds = (1..=5).map(|n| format!("growing: double, round {n}"));
    let others = ["first", "other", "result"].map(|name| format!("growing: {name}"));
    rounds.chain(others).map(|name| (name, 1)).collect()
}

fn part(dev: &Dev, path: &str) -> String {
    dev.run(&["fs", "cat", &format!("{path}/part-*")]).success().text()
}

/// Starts a run in the background.
fn start(dev: &Dev, arguments: &[&str]) -> Child {
    let mut command = dev.client(arguments);
    tests::cluster::end_with_this_process(&mut command);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the client starts")
}

/// Waits until the job of a second run is there, too.
fn await_second(dev: &Dev, name: &str) {
    wait::until(&format!("{name} is submitted"), PATIENCE, || {
        let list = http::get(&dev.jobtracker(), "/v1/jobs?limit=1000").ok()?.body;
        let is_it = |job: &&Value| job["name"].as_str().is_some_and(|it| it.ends_with(name));
        (list["jobs"].as_array()?.iter().filter(is_it).count() == 2).then_some(())
    });
}

#[test]
fn a_run_whose_client_and_jobtracker_are_killed_goes_on_and_no_job_runs_twice() {
    let mut dev = Dev::start(&DevOptions::trackers(2));
    dev.put_text("b\na\n", "/in/a");
    let file = write(&dev);
    let undisturbed = ["workflow", "run", &file, "--var", "out=/calm", "--var", "wait=0"];
    let _ = dev.run(&undisturbed).success();
    let calm = part(&dev, "/calm");
    assert_eq!(calm, [["a"; 32].join("\n"), ["b"; 32].join("\n")].join("\n"));
    assert_eq!(jobs(&dev), expected_jobs());

    let mut client = start(&dev, &["workflow", "run", &file, "--run", "rough", "--keep"]);
    await_second(&dev, "double, round 2");
    client.kill().expect("it runs");
    client.wait().expect("it is our child");
    let mut second = start(&dev, &["workflow", "resume", "rough", "--keep"]);
    await_second(&dev, "double, round 3");
    dev.kill("jobtracker");
    // From here on the file and its script are gone, as on another host.
    fs::remove_file(&file).expect("it is ours");
    fs::remove_file(dev.scratch().join("double.sh")).expect("it is ours");
    dev.restart("jobtracker");
    await_second(&dev, "double, round 4");
    second.kill().expect("it runs");
    second.wait().expect("it is our child");
    let _ = dev.run(&["workflow", "resume", "rough", "--keep"]).success();
    assert_eq!(part(&dev, "/out"), calm);
    let twice: BTreeMap<_, _> =
        expected_jobs().into_iter().map(|(name, n)| (name, 2 * n)).collect();
    assert_eq!(jobs(&dev), twice, "one of each in the calm run, and one of each in this");
    let kept = dev.run(&["fs", "ls", "/workflows/rough/data"]).success().text();
    assert_eq!(kept.lines().count(), 6, "--keep keeps all rounds: {kept}");

    let status = dev.run(&["workflow", "status", "rough", "--format", "json"]).success().text();
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let rows = status["jobs"].as_array().expect("a list");
    assert_eq!((status["state"].as_str(), rows.len()), (Some("SUCCEEDED"), 8));
    assert!(rows.iter().all(|row| row["state"] == "SUCCEEDED" && row["try"] == 1), "{status:#}");
    let again = dev.run(&["workflow", "resume", "rough"]).success();
    assert!(again.stderr.contains("done already"), "{}", again.stderr);
    let list = dev.run(&["workflow", "status"]).success().text();
    assert!(
        list.lines().count() == 3 && list.contains("rough") && list.contains("growing-"),
        "{list}"
    );
}

#[test]
fn a_job_that_fails_is_named_with_its_line_and_goes_on_when_it_is_mended() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("b\na\n", "/in/a");
    let file = write(&dev);
    let broken =
        FLOW.replace("double.sh ${wait}", "double.sh ${wait}; test ${round} != 3").replace(
            "        combine_files: true\n",
            "        combine_files: true\n        max_attempts: 1\n",
        );
    fs::write(&file, &broken).expect("it is ours");
    let failed = dev.run(&["workflow", "run", &file, "--run", "mended", "--var", "wait=0"]);
    let failed = failed.refused(
        1,
        &["flow.yaml:16: job double, round 3", "FAILED", "howdah workflow resume mended"],
    );
    // What went wrong stands first, then where that is written, then what to do.
    let last: Vec<_> = failed.stderr.lines().rev().take(2).collect();
    assert!(last[1].starts_with("  ") && last[1].contains("flow.yaml:16"), "{}", failed.stderr);
    assert!(last[0].contains("`howdah workflow resume mended`"), "{}", failed.stderr);
    let cause = failed.stderr.lines().find(|line| line.contains("FAILED: ")).unwrap_or_default();
    assert!(cause.starts_with("howdah: job_"), "{}", failed.stderr);
    let before = jobs(&dev);
    assert_eq!(before.get("growing: double, round 3"), Some(&1));
    assert!(!before.contains_key("growing: result"), "{before:?}");
    let changed = broken.replace("name: wordcount", "name: index");
    fs::write(&file, changed).expect("it is ours");
    let refused = dev.run(&["workflow", "resume", "mended", "--file", &file]);
    let _ = refused.refused(2, &["flow.yaml:8: job other", "keep it as it was"]);
    fs::write(&file, FLOW).expect("it is ours");
    let _ = dev.run(&["workflow", "resume", "mended", "--file", &file]).success();
    assert_eq!(part(&dev, "/out").lines().count(), 64);
    let mut expected = expected_jobs();
    expected.insert("growing: double, round 3".to_owned(), 2);
    assert_eq!(jobs(&dev), expected, "what had succeeded did not run again");
}

#[test]
fn a_loop_that_does_not_get_there_fails_and_goes_on_with_more_rounds() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("b\na\n", "/in/a");
    let file = write(&dev);
    fs::write(&file, FLOW.replace("rounds: 5, wait: '0.4'", "rounds: 3, wait: 0"))
        .expect("it is ours");
    let failed = dev.run(&["workflow", "run", &file, "--run", "short"]);
    let parts = [
        "flow.yaml:12: job grow",
        "after 3 rounds",
        "grow.LINES of double is at least 64",
        "raise 'rounds'",
    ];
    let _ = failed.refused(1, &parts);
    fs::write(&file, FLOW.replace("wait: '0.4'", "wait: 0")).expect("it is ours");
    let _ = dev.run(&["workflow", "resume", "short", "--file", &file]).success();
    assert_eq!(part(&dev, "/out").lines().count(), 64);
    assert_eq!(jobs(&dev), expected_jobs());
    let taken = dev.run(&["workflow", "run", &file]);
    let _ = taken.refused(1, &["flow.yaml:8: job other", "/out-other exists"]);
    let taken = dev.run(&["workflow", "run", &file, "--run", "short"]);
    let _ = taken.refused(1, &["there is a run short already"]);
}

#[test]
fn a_workflow_runs_on_local_files_and_says_before_what_it_would_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    fs::create_dir(at("in")).expect("a folder");
    fs::write(at("in/a"), "b\na\n").expect("a file");
    fs::write(at("double.sh"), DOUBLE).expect("a file");
    let flow = FLOW
        .replace("/in", "in")
        .replace("out: /out", "out: out")
        .replace("./double.sh ${wait}", "sh double.sh 0");
    fs::write(at("flow.yaml"), &flow).expect("a file");
    let plan = run(["workflow", "check", &at("flow.yaml"), "--local"]).success().text();
    for line in [
        "growing: 4 jobs",
        "  grow: up to 5 rounds, until grow.LINES of double is at least 64",
        "after double",
        "after first",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    let mut outputs = Vec::new();
    for (out, flags) in [("plain", &[][..]), ("oracle", &["--sequential"])] {
        let out_variable = format!("out={out}");
        let file = at("flow.yaml");
        let arguments = ["workflow", "run", &file, "--local", "--var", &out_variable];
        let _ = run([&arguments[..], flags].concat()).success();
        outputs.push(fs::read(at(&format!("{out}/part-r-00000"))).expect("a part"));
    }
    assert_eq!(outputs[0].iter().filter(|byte| **byte == b'\n').count(), 64);
    assert_eq!(outputs[0], outputs[1]);
    let left: Vec<_> = fs::read_dir(at("workflows")).expect("runs").flatten().collect();
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|run| !run.path().join("data").exists()), "intermediate data is gone");
    let misspelt = flow.replace("grow.LINES, at_least: 64", "grow.LINE, at_most: 0");
    fs::write(at("flow.yaml"), misspelt).expect("a file");
    let never = run(["workflow", "run", &at("flow.yaml"), "--local", "--var", "out=misspelt"]);
    let parts =
        ["flow.yaml:12: job grow", "no round of double has counted grow.LINE", "grow.LINES"];
    let never = never.refused(1, &parts);
    assert!(!never.stderr.contains("round 2"), "{}", never.stderr);
    fs::write(at("flow.yaml"), flow.replace("name: sort", "name: srot")).expect("a file");
    let refused = run(["workflow", "check", &at("flow.yaml"), "--local"]);
    let _ = refused.refused(2, &["flow.yaml:24: job result", "no builtin program \"srot\""]);
}
