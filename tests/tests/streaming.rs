//! Jobs of commands on a cluster of three hosts: files, environment, counters, causes, and a TaskTracker that dies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::books;
use tests::cluster::PATIENCE;
use tests::command::{finish, run};
use tests::oracle::{count_words_of, lines_of_counts, lines_of_parts};
use tests::{Dev, DevOptions, http, wait};

const MAP: &str = "import os, sys\nfrom lib import words\nfor line in sys.stdin.buffer:\n    for word in words.of(line):\n        \
                   sys.stdout.buffer.write(word + b'\\t1\\n')\n\
                   print('reporter:counter:python,maps,1', file=sys.stderr)\n\
                   print('greeting:', os.environ['GREETING'], file=sys.stderr)\n";
const WORDS: &str =
    "import re\ndef of(line):\n    return re.findall(rb'[^\\t\\n\\x0b\\x0c\\r ]+', line)\n";
const REDUCE: &str = "#!/usr/bin/env python3\nimport sys\nfrom itertools import groupby\n\
                      lines = (line.rstrip(b'\\n').split(b'\\t') for line in sys.stdin.buffer)\n\
                      for word, group in groupby(lines, key=lambda it: it[0]):\n    \
                      count = sum(int(it[1]) for it in group)\n    \
                      sys.stdout.buffer.write(word + b'\\t%d\\n' % count)\n";

/// Writes the program's files beside the job files.
fn program(folder: &Path) {
    fs::write(folder.join("map.py"), MAP).expect("a file can be written");
    fs::create_dir(folder.join("lib")).expect("a folder can be made");
    fs::write(folder.join("lib/words.py"), WORDS).expect("a file can be written");
    let _ =
        finish(Command::new("tar").args(["czf", "lib.tgz", "-C", "lib", "."]).current_dir(folder))
            .success();
    fs::write(folder.join("reduce.py"), REDUCE).expect("a file can be written");
}

fn word_count(input: &str, output: &str) -> String {
    format!(
        "name: words in python\ninput: [{input}]\noutput: {output}\nreduces: 3\nprogram:\n  streaming:\n    \
         mapper: python3 map.py\n    combiner: sum\n    reducer: sum\n    \
         files: [map.py, 'reduce.py#sum']\n    archives: ['lib.tgz#lib']\n    env: {{GREETING: good day}}\n"
    )
}

/// A job whose mapper is `command`.
fn job(output: &str, command: &str) -> String {
    format!(
        "name: one command\ninput: [/in]\noutput: {output}\nmax_attempts: 1\nprogram:\n  streaming:\n    mapper: |-\n      \
         {command}\n"
    )
}

fn local_path(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

#[test]
fn a_word_count_in_python_equals_the_oracle_and_a_plain_count() {
    let dev = Dev::start(&DevOptions::trackers(3).set("chunkmaster.chunk_bytes=1MiB"));
    let input = books::folder(dev.scratch());
    program(dev.scratch());
    dev.put(&input, "/in");
    let file = dev.job_file("cluster.yaml", &word_count("/in", "/out"));
    let id = dev.run(&["job", "submit", &file, "--wait"]).success().text();
    let got = dev.scratch().join("got");
    dev.get("/out", &got);
    let expected = lines_of_counts(&count_words_of(&input));
    assert!(lines_of_parts(&got) == expected, "the cluster's counts differ");

    let programs = dev.run(&["fs", "ls", "/.howdah/programs"]).success().text();
    assert_eq!(programs.lines().count(), 3, "each file is shipped once: {programs}");
    let status = http::get(&dev.jobtracker(), &format!("/v1/jobs/{id}")).unwrap().body;
    let counters = dev.run(&["job", "counters", &id]).success().text();
    let maps = &status["maps"]["total"];
    let counted = counters.lines().find(|line| line.contains("python.maps"));
    assert!(counted.is_some_and(|line| line.contains(&maps.to_string())), "{counters}");
    let attempt = format!("{}_m_000000_0", id.replace("job_", "attempt_"));
    let log = dev.run(&["job", "logs", &id, &attempt]).success().text();
    assert!(log.contains("greeting: good day") && !log.contains("reporter:"), "{log}");

    let aside = dev.job_file("aside.yaml", &job("/aside", "cat > $mapreduce_task_output_dir/copy"));
    let _ = dev.run(&["job", "submit", &aside, "--wait"]).success();
    let copied = dev.run(&["fs", "cat", "/aside/copy-m-*"]).success().stdout;
    let text = dev.run(&["fs", "cat", "/in/*"]).success().stdout;
    assert!(copied == text, "what commands write beside their output: {} bytes", copied.len());

    for (name, sequential) in [("local", false), ("oracle", true)] {
        let output = dev.scratch().join(name);
        let file = dev.job_file(
            &format!("{name}.yaml"),
            &word_count(local_path(&input), local_path(&output)),
        );
        let arguments = ["local", &file, "--sequential"];
        let _ = run(&arguments[..2 + usize::from(sequential)]).success();
        assert!(lines_of_parts(&output) == expected, "{name}: the counts differ");
    }
}

#[test]
fn the_end_of_standard_error_is_in_the_cause() {
    let dev = Dev::start(&DevOptions::trackers(3));
    dev.put_text("a\nb\n", "/in/text");
    for (name, command, expected) in [
        ("status", "cat; echo the very cause >&2; exit 3", ["status 3", "the very cause"]),
        ("missing", "no-such-program -x", ["no-such-program", "'files'"]),
        ("unread", "true", ["before it had read all of its input", "partial_input"]),
        ("signal", "kill -SEGV $$", ["ended by signal 11", "nothing to standard error"]),
    ] {
        let file = dev.job_file(&format!("{name}.yaml"), &job(&format!("/out/{name}"), command));
        let id = dev.run(&["job", "submit", &file]).success().text();
        dev.await_job(&id, "fails", |job| job["state"] == "FAILED");
        let status = dev.run(&["job", "status", &id]).success().text();
        let words = status.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in expected {
            assert!(words.contains(part), "{name}: {part}: {status}");
        }
    }
    // Found before anything is sent.
    let missing = job("/out/x", "cat") + "    files: [not-there.py]\n";
    let file = dev.job_file("not-there.yaml", &missing);
    let _ = dev.run(&["job", "submit", &file]).refused(2, &["not-there.py", "not-there.yaml"]);
    let open = dev.job_file("open.yaml", &job("/out/x", "awk '{print"));
    let _ = dev.run(&["job", "submit", &open]).refused(2, &["'mapper'", "a quote"]);
}

#[test]
fn files_by_rest_are_paths_with_digests() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("a\nb\n", "/in/text");
    dev.put_text("s/^/got /\n", "/scripts/sed");
    let job = |sha256: &str, output: &str| {
        format!(
            r#"{{"name": "by hand", "input": ["/in"], "output": "{output}", "max_attempts": 1, "program": {{"streaming":
               {{"mapper": "sed -f script", "files": [{{"path": "/scripts/sed", "name": "script"{sha256}}}]}}}}}}"#
        )
    };
    let submit =
        |job: &str| http::request(&dev.jobtracker(), "POST", "/v1/jobs", &[], job).unwrap();
    let refused = submit(&job("", "/out"));
    assert!(refused.status == 400 && refused.text.contains("sha256"), "{}", refused.text);
    let digest = "aa0f8ef1b1db2d1d03c0c7ab3d5f6e2d9c4d0a3ba6fbb3ac2b3d2b3e6a7a5b11";
    let wrong = submit(&job(&format!(r#", "sha256": "{digest}""#), "/wrong"));
    let id = wrong.body["id"].as_str().unwrap().to_owned();
    let failed = dev.await_job(&id, "fails", |job| job["state"] == "FAILED");
    let cause = failed["failure"].to_string();
    let right = cause.split("has the SHA-256 ").nth(1).expect("it says which one").get(..64);
    let accepted = submit(&job(&format!(r#", "sha256": "{}""#, right.unwrap()), "/out"));
    let id = accepted.body["id"].as_str().unwrap().to_owned();
    dev.await_job(&id, "succeeds", |job| job["state"] == "SUCCEEDED");
    assert_eq!(dev.run(&["fs", "cat", "/out/part-m-00000"]).success().text(), "got a\ngot b");
}

#[test]
fn a_command_line_of_hadoop_runs_as_it_is() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("b 2 x\na 10 y\na 9 z\n", "/in/2024/text");
    dev.put_text("not this one\n", "/in/2023/text");
    program(dev.scratch());
    fs::write(dev.scratch().join("cut.awk"), "{print $1 \"\\t\" $2 \"\\t\" ENVIRON[\"MARK\"]}")
        .unwrap();
    let line = [
        "streaming",
        "-D",
        "mapred.job.name=by hadoop's line",
        "-Dstream.num.map.output.key.fields=2",
        "-D",
        "mapred.text.key.comparator.options=-k1,1 -k2,2nr",
        "-D",
        "mapred.output.key.comparator.class=org.apache.hadoop.mapred.lib.KeyFieldBasedComparator",
        "-D",
        "mapred.no.such.thing=1",
        "-file",
        "cut.awk",
        "-input",
        "/in/*4",
        "-output",
        "hdfs://master/out",
        "-mapper",
        "awk -f cut.awk",
        "-reducer",
        "cat",
        "-cmdenv",
        "MARK=good day",
    ];
    let ran = finish(dev.client(&line).current_dir(dev.scratch())).success();
    assert!(ran.text().starts_with("job_"), "{}", ran.text());
    assert!(
        ran.stderr.contains("mapred.no.such.thing") && ran.stderr.contains("SUCCEEDED"),
        "{}",
        ran.stderr
    );
    let got = dev.run(&["fs", "cat", "/out/part-r-00000"]).success().text();
    assert_eq!(got, "a\t10\tgood day\na\t9\tgood day\nb\t2\tgood day");
    let listed = dev.run(&["job", "list"]).success().text();
    assert!(listed.contains("by hadoop's line"), "{listed}");
    let refused =
        ["streaming", "-input", "/in", "-output", "/x", "-mapper", "cat", "-io", "typedbytes"];
    let _ = dev.run(&refused).refused(2, &["-io typedbytes", "-io text"]);
    for asked in ["--help", "-help", "-info"] {
        let usage = run(["streaming", asked]).success().text();
        assert!(usage.contains("-numReduceTasks"), "{asked}: {usage}");
    }
}

/// Processes that have `mark` in their command line.
fn processes_with(mark: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").expect("a list of processes").flatten();
    let marked = entries.map(|entry| entry.path()).filter(|path| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark)
    });
    marked.collect()
}

#[test]
fn a_tracker_that_dies_takes_its_commands_along_and_the_output_is_the_same() {
    let options = DevOptions::trackers(3)
        .set("chunkmaster.chunk_bytes=256KiB")
        .set("chunkmaster.replication=2")
        .set("jobtracker.heartbeat_interval=300ms")
        .set("jobtracker.dead_after=2s")
        .set("tasktracker.slots=2");
    let mut dev = Dev::start(&options);
    let input = dev.scratch().join("text");
    books::generate(&input, "3MiB", 5);
    dev.put(&input, "/in/text");
    let go = dev.scratch().join("go");
    let mark = format!("87654.{}", std::process::id());
    // Each map stops in the middle until it is told to go on.
    let script = "sort > sorted\nwhile [ ! -e \"$GO\" ]; do sleep 0.1; done\ncat sorted\n";
    fs::write(dev.scratch().join("wait.sh"), script).unwrap();
    let text = format!(
        "name: sorted\ninput: [/in]\noutput: /out\nreduces: 2\nprogram:\n  streaming:\n    \
         mapper: sh wait.sh {mark}\n    reducer: uniq -c\n    files: [wait.sh]\n    env: {{GO: {}}}\n",
        go.display()
    );
    let file = dev.job_file("sorted.yaml", &text);
    let id = dev.run(&["job", "submit", &file]).success().text();
    let running = || (processes_with(&mark).len() >= 6).then_some(());
    wait::until("the maps of all hosts run", PATIENCE, running);
    let before = processes_with(&mark).len();
    dev.kill("tasktracker-1");
    let fewer = || (processes_with(&mark).len() < before).then_some(());
    wait::until("the dead tracker's commands are gone", PATIENCE, fewer);
    fs::write(&go, "").unwrap();
    dev.await_job(&id, "succeeds", |job| job["state"] == "SUCCEEDED");
    let got = dev.scratch().join("got");
    dev.get("/out", &got);
    let output = dev.scratch().join("expected");
    let file = dev.job_file(
        "local.yaml",
        &text
            .replace("/in]", &format!("{}]", local_path(&input)))
            .replace("/out", local_path(&output)),
    );
    let _ = run(["local", &file, "--sequential"]).success();
    assert!(lines_of_parts(&got) == lines_of_parts(&output), "the output differs");
    wait::until("no command is left", PATIENCE, || processes_with(&mark).is_empty().then_some(()));
}

#[test]
fn what_a_command_says_of_itself_stays_in_the_list_of_attempts() {
    let dev = Dev::start(&DevOptions::default());
    dev.put_text("a\n", "/in/a");
    let job = "name: says\ninput: [/in]\noutput: /out/says\nmax_attempts: 1\nprogram:\n  streaming:\n    \
               mapper: 'cat > /dev/null; echo \"reporter:status:half way\" >&2; exit 3'\n    reducer: NONE\n";
    let file = dev.job_file("says.yaml", job);
    let id = dev.run(&["job", "submit", &file]).success().text();
    let _ = dev.run(&["job", "wait", &id]).refused(1, &["status 3"]);
    let attempts = dev.run(&["attempt", "list", &id]).success().text();
    assert!(attempts.contains("; status: half way"), "{attempts}");
}
