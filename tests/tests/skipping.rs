//! Records at which a program fails each time are found, left out, counted and kept aside, where the job allows that: of a
//! native program, and of commands, in maps and reduces, locally and on a cluster of which a TaskTracker is killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tests::command::run;
use tests::job_author::poison;
use tests::oracle::{count_words, lines_of_counts, lines_of_parts};
use tests::{Dev, DevOptions};

/// Lines of which those at `bad` are something else.
fn text(n: usize, bad: &[(usize, &str)]) -> String {
    let line = |n: usize| match bad.iter().find(|(at, _)| *at == n) {
        Some((_, line)) => format!("{line} {n}\n"),
        None => format!("word{} word{} common {}\n", n % 97, n % 13, "x".repeat(n % 50)),
    };
    (0..n).map(line).collect()
}

/// How often each word comes in lines that none of `bad` begins, but for the word `not`.
fn counted(text: &str, bad: &[&str], not: &str) -> Vec<Vec<u8>> {
    let is_good = |line: &&str| !bad.iter().any(|start| line.starts_with(start));
    let good: String = text.lines().filter(is_good).map(|line| format!("{line}\n")).collect();
    let mut counts = BTreeMap::new();
    count_words(good.as_bytes(), &mut counts);
    counts.remove(not.as_bytes());
    lines_of_counts(&counts)
}

/// What was kept aside, sorted.
fn kept_aside(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).expect("the output is there") {
        let path = entry.expect("it can be read").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("_skipped-")) {
            let text = fs::read_to_string(&path).expect("it is text");
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

fn counter(counters: &str, name: &str) -> Option<u64> {
    let line = counters.lines().find(|line| line.contains(name))?;
    line.split_whitespace().last()?.replace(',', "").parse().ok()
}

/// Runs a job on a cluster, and the same one locally; both write `expected`, and keep `aside`.
fn run_both(
    dev: &mut Dev,
    name: &str,
    local_input: &Path,
    job: impl Fn(&str, &str) -> String,
    (expected, aside): (&[Vec<u8>], &[&str]),
    killed: Option<&str>,
) -> String {
    let output = format!("/out/{name}");
    let file = dev.job_file(&format!("{name}.yaml"), &job("/in", &output));
    let id = dev.run(&["job", "submit", &file]).success().text();
    if let Some(daemon) = killed {
        let failed = |job: &serde_json::Value| job["maps"]["failed_attempts"].as_u64() > Some(0);
        dev.await_job(&id, "has a failed attempt", |job| failed(job) || job["state"] != "RUNNING");
        dev.kill(daemon);
    }
    let waited = dev.run(&["job", "wait", &id]).success();
    let told = format!("{} records skipped, kept in {output}/_skipped-*", aside.len());
    assert!(waited.stderr.contains(&told), "{}", waited.stderr);
    let status = dev.run(&["job", "status", &id]).success().text();
    assert!(status.contains(&told), "{status}");
    let (got, local) = (dev.scratch().join(name), dev.scratch().join(format!("{name}-local")));
    dev.get(&output, &got);
    let input = local_input.to_str().expect("paths of tests are text");
    let file = dev.job_file(
        &format!("{name}-local.yaml"),
        &job(input, local.to_str().expect("paths of tests are text")),
    );
    let ran = run(["local", &file]).success();
    for (folder, whose) in [(&got, "the cluster"), (&local, "the local runner")] {
        assert!(lines_of_parts(folder) == expected, "{name}: {whose} writes something else");
        assert_eq!(kept_aside(folder), aside, "{name}: {whose}");
    }
    drop(ran);
    dev.run(&["job", "counters", &id]).success().text()
}

#[test]
fn a_native_program_that_panics_refuses_and_aborts_leaves_out_what_it_fails_at() {
    let mut dev = Dev::start(
        &DevOptions::trackers(3)
            .set("chunkmaster.chunk_bytes=64KiB")
            .set("jobtracker.heartbeat_interval=200ms")
            .set("jobtracker.dead_after=2s"),
    );
    let program = poison(dev.scratch());
    let input = dev.scratch().join("input");
    let bad = [(10, "panic"), (2000, "error"), (2001, "panic"), (5000, "fine poisoned")];
    let text = text(9000, &bad);
    fs::write(&input, &text).expect("a file can be written");
    dev.put(&input, "/in/input");
    let job = |input: &str, output: &str| {
        format!(
            "name: poison\ninput: [{input}]\noutput: {output}\nreduces: 2\nskip_records: 4\nprogram:\n  native: \
             {{executable: {}, args: ['100']}}\n",
            program.display()
        )
    };
    let expected = counted(&text, &["panic", "error"], "poisoned");
    let aside = ["error 2000", "panic 10", "panic 2001", "poisoned\t1"];
    let counters =
        run_both(&mut dev, "native", &input, job, (&expected, &aside), Some("tasktracker-2"));
    for (name, value) in
        [("MAP_SKIPPED_RECORDS", 3), ("REDUCE_SKIPPED_GROUPS", 1), ("REDUCE_SKIPPED_RECORDS", 1)]
    {
        assert_eq!(counter(&counters, name), Some(value), "{counters}");
    }
}

#[test]
fn an_abort_is_skipped_and_one_record_too_many_fails_the_job_with_its_place() {
    let dev = Dev::start(&DevOptions::trackers(2));
    let program = poison(dev.scratch());
    let text = text(300, &[(100, "abort"), (200, "abort")]);
    dev.put_text(&text, "/in/text");
    let job = |allowed: u32| {
        format!(
            "name: abort\ninput: [/in]\noutput: /out/{allowed}\nskip_records: {allowed}\nprogram:\n  native: \
             {{executable: {}, args: ['0']}}\n",
            program.display()
        )
    };
    let file = dev.job_file("two.yaml", &job(2));
    let _ = dev.run(&["job", "submit", &file, "--wait"]).success();
    let aside = dev.run(&["fs", "cat", "/out/2/_skipped-m-00000"]).success().text();
    assert_eq!(aside, "abort 100\nabort 200");
    let file = dev.job_file("one.yaml", &job(1));
    let id = dev.run(&["job", "submit", &file]).success().text();
    let ended = dev.await_job(&id, "fails", |job| job["state"] == "FAILED");
    let reason = ended["failure"].as_str().expect("it says why");
    let offset = text.find("abort 200").expect("it is there");
    for part in [
        "more records than the 1 that 'skip_records'",
        &format!("at record 200 (offset {offset} of /in/text, which begins \"abort 200\")"),
        "/in/text bytes 0–",
        "signal 6",
        "these are the last words",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let none = dev.job_file("none.yaml", &job(0));
    let refused = dev.run(&["job", "submit", &none, "--wait"]);
    let _ = refused.refused(1, &["failed 4 times", "signal 6"]);
}

const MAP: &str = "import sys\nfor line in sys.stdin:\n    if line.startswith('bad'):\n        \
                   sys.exit('can not parse: ' + line)\n    for word in line.split():\n        \
                   print(word + '\\t1')\n";
const REDUCE: &str = "import sys\nfrom itertools import groupby\nfor word, group in groupby(sys.stdin, \
                      key=lambda it: it.split('\\t')[0]):\n    if word == 'poisoned':\n        \
                      raise ValueError(word)\n    print(word + '\\t' + str(sum(1 for _ in group)))\n";

#[test]
fn commands_that_die_at_a_line_or_a_key_leave_it_out() {
    let mut dev = Dev::start(
        &DevOptions::trackers(3)
            .set("chunkmaster.chunk_bytes=128KiB")
            .set("jobtracker.heartbeat_interval=200ms")
            .set("jobtracker.dead_after=2s"),
    );
    fs::write(dev.scratch().join("map.py"), MAP).expect("a file can be written");
    fs::write(dev.scratch().join("reduce.py"), REDUCE).expect("a file can be written");
    let input = dev.scratch().join("input");
    let bad = [(700, "bad"), (702, "bad"), (6000, "bad"), (3000, "fine poisoned")];
    let text = text(8000, &bad);
    fs::write(&input, &text).expect("a file can be written");
    dev.put(&input, "/in/input");
    let job = |input: &str, output: &str| {
        format!(
            "name: words in python\ninput: [{input}]\noutput: {output}\nreduces: 2\nskip_records: 4\nprogram:\n  \
             streaming:\n    mapper: python3 map.py\n    reducer: python3 reduce.py\n    \
             files: [map.py, reduce.py]\n"
        )
    };
    let expected = counted(&text, &["bad"], "poisoned");
    let aside = ["bad 6000", "bad 700", "bad 702", "poisoned\t1"];
    let counters =
        run_both(&mut dev, "python", &input, job, (&expected, &aside), Some("tasktracker-1"));
    for (name, value) in
        [("MAP_SKIPPED_RECORDS", 3), ("REDUCE_SKIPPED_GROUPS", 1), ("REDUCE_SKIPPED_RECORDS", 1)]
    {
        assert_eq!(counter(&counters, name), Some(value), "{counters}");
    }
    let few = job("/in", "/out/few").replace("skip_records: 4", "skip_records: 1");
    let file = dev.job_file("few.yaml", &few);
    let id = dev.run(&["job", "submit", &file]).success().text();
    let ended = dev.await_job(&id, "fails", |job| job["state"] == "FAILED");
    let reason = ended["failure"].as_str().expect("it says why");
    for part in ["more records than the 1", "which begins \"bad ", "can not parse: bad"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
}
