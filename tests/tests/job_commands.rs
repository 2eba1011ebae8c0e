//! How jobs are written, submitted and looked after by people: patterns, changes on the command line, subfolders, an output
//! that is replaced, lists, logs, causes; and `hadoop fs`'s words.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use tests::command::{finish, howdah, run};
use tests::{Dev, DevOptions};

/// A job that passes lines on.
fn identity(input: &str, output: &str) -> String {
    format!(
        "name: lines\ninput: [{input}]\noutput: {output}\nprogram: {{streaming: {{mapper: cat}}}}\n"
    )
}

fn lines(dev: &Dev, output: &str) -> String {
    dev.run(&["fs", "cat", &format!("{output}/part-*")]).success().text()
}

#[test]
fn inputs_are_patterns_and_subfolders_are_read_where_asked() {
    let dev = Dev::start(&DevOptions::trackers(1));
    for (text, path) in [
        ("a\n", "/in/1.txt"),
        ("b\n", "/in/2.txt"),
        ("c\n", "/in/3.csv"),
        ("d\n", "/in/sub/4.txt"),
        ("hidden\n", "/in/_logs/5.txt"),
    ] {
        dev.put_text(text, path);
    }
    let submit = |input: &str, output: &str, more: &[&str]| {
        let file = dev.job_file("job.yaml", &identity(input, output));
        dev.run(&[&["job", "submit", &file, "--wait"], more].concat()).success()
    };
    let _ = submit("'/in/*.txt'", "/out/txt", &[]);
    assert_eq!(lines(&dev, "/out/txt"), "a\nb");
    let _ = submit("'/in/{3,1}.*'", "/out/two", &[]);
    assert_eq!(lines(&dev, "/out/two"), "c\na", "in the order of the braces");
    let _ = submit("'/in/**'", "/out/deep", &[]);
    assert_eq!(lines(&dev, "/out/deep"), "a\nb\nc\nd");
    let warned = submit("/in", "/out/flat", &[]);
    assert!(warned.stderr.contains("/in/sub is not read: --recursive"), "{}", warned.stderr);
    assert_eq!(lines(&dev, "/out/flat"), "a\nb\nc");
    let silent = submit("/in", "/out/all", &["--recursive"]);
    assert!(!silent.stderr.contains("warning"), "{}", silent.stderr);
    assert_eq!(lines(&dev, "/out/all"), "a\nb\nc\nd");
    let file = dev.job_file("job.yaml", &identity("'/in/*.gif'", "/out/none"));
    let _ = dev.run(&["job", "submit", &file]).refused(1, &["nothing matches /in/*.gif"]);
    let hadoop = [
        "streaming",
        "-input",
        "/in",
        "-output",
        "/out/hadoop",
        "-mapper",
        "cat",
        "-D",
        "mapreduce.input.fileinputformat.input.dir.recursive=true",
    ];
    let _ = dev.run(&hadoop).success();
    assert_eq!(lines(&dev, "/out/hadoop"), "a\nb\nc\nd");
}

#[test]
fn the_same_holds_of_local_files_whose_paths_are_relative_to_the_job_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("in/sub")).unwrap();
    for (name, text) in [("in/1.txt", "a\n"), ("in/2.txt", "b\n"), ("in/sub/3.txt", "c\n")] {
        fs::write(path(name), text).unwrap();
    }
    let file = path("job.yaml");
    let local = |input: &str, more: &[&str]| {
        fs::write(&file, identity(input, "out")).unwrap();
        let _ = fs::remove_dir_all(path("out"));
        // From elsewhere: it is the job file's folder that counts.
        finish(howdah().arg("local").arg(&file).args(more).current_dir("/"))
    };
    let part = || fs::read_to_string(path("out/part-r-00000")).unwrap();
    let ran = local("in", &["--set", "reduces=1"]).success();
    assert!(ran.stderr.contains("sub is not read: --recursive"), "{}", ran.stderr);
    assert_eq!(part(), "a\nb\n");
    let _ = local("in", &["--recursive", "--set", "reduces=1"]).success();
    assert_eq!(part(), "a\nb\nc\n");
    let _ = local("'in/?.txt'", &["--set", "reduces=1", "--sequential"]).success();
    assert_eq!(part(), "a\nb\n");
    let fails = ["--set", "program.streaming.mapper=grep b", "--set", "max_attempts=1"];
    let _ = local("in", &fails).refused(1, &["in/1.txt", "nonzero_exit"]);
    let _ = local("s3://bucket/x", &[]).refused(2, &["s3://bucket/x", "submit the job"]);
    let _ = local("'in/*.gif'", &[]).refused(2, &["nothing matches", "*.gif"]);
}

#[test]
fn a_job_is_changed_on_the_command_line_and_may_replace_an_output() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("b\na\n", "/in");
    let text = "input: [/in]\nprogram: {builtin: {name: sort}}\n";
    let mut submit = dev.client(&["job", "submit", "-", "--wait", "--name", "by hand"]);
    submit.args(["--output", "/out", "--set", "reduces=2"]);
    submit.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = submit.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = tests::command::Finished::from(child.wait_with_output().unwrap()).success();
    for told in ["output   /out", "counter  task.MAP_INPUT_RECORDS 2"] {
        assert!(done.stderr.contains(told), "{}", done.stderr);
    }
    assert_eq!(dev.job(&done.text())["reduces"]["total"], 2);
    assert_eq!(dev.job(&done.text())["name"], "by hand");

    let file = dev.job_file("job.yaml", &format!("name: n\noutput: /out\n{text}"));
    let _ = dev.run(&["job", "submit", &file]).refused(1, &["/out"]);
    let again = dev.run(&["job", "submit", &file, "--wait", "--overwrite"]).success();
    assert!(again.stderr.contains("the former /out is in the trash"), "{}", again.stderr);
    assert_eq!(lines(&dev, "/out"), "a\nb");
    // What is printed brings the former one back to where it was.
    let back = again.stderr.split('`').find(|it| it.starts_with("howdah fs mv ")).expect("a way");
    let back: Vec<&str> = back.split(' ').skip(1).collect();
    let n_parts = |out: &str| dev.run(&["fs", "ls", out]).success().text().matches("part-").count();
    assert_eq!(n_parts("/out"), 1);
    let _ = dev.run(&["fs", "mv", "/out", "/newer"]).success();
    let _ = dev.run(&back).success();
    assert_eq!((n_parts("/out"), lines(&dev, "/out").as_str()), (2, "a\nb"));
    // A job that is refused leaves what is there.
    let refused = ["job", "submit", &file, "--overwrite", "--set", "pool=nix"];
    let _ = dev.run(&refused).refused(1, &["nix", "`pools`", "default"]);
    assert_eq!(lines(&dev, "/out"), "a\nb");
    assert_eq!(dev.run(&["fs", "ls", "/"]).success().text().matches("replaced").count(), 0);
    let nothing = ["job", "submit", &file, "--overwrite", "--output", "/new", "--wait"];
    let _ = dev.run(&nothing).success();
    let wrong = ["job", "submit", &file, "--set", "reducers=2"];
    let _ = dev.run(&wrong).refused(2, &["reducers", "--set"]);
    let _ = dev
        .run(&["job", "submit", &file, "--set", "limits.memory=1GB", "--output", "/gb"])
        .success();
}

#[test]
fn jobs_are_listed_awaited_and_ended_several_at_once_and_logs_are_followed() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("b\na\n", "/in");
    let job = |output: &str, mapper: &str| {
        let text = format!(
            "name: n\ninput: [/in]\noutput: {output}\nmax_attempts: 1\nprogram:\n  streaming:\n    mapper: |-\n      {mapper}\n"
        );
        let file = dev.job_file("job.yaml", &text);
        dev.run(&["job", "submit", &file]).success().text()
    };
    let good = job("/good", "cat");
    let bad = job("/bad", "cat; echo the very cause >&2; exit 3");
    let both =
        dev.run(&["job", "wait", &good, &bad]).refused(1, &["SUCCEEDED", "FAILED", "status 3"]);
    assert!(both.stderr.contains(&good) && both.stderr.contains(&bad), "{}", both.stderr);

    let explained = dev.run(&["job", "explain", &bad]).success().text();
    assert!(explained.contains("ended with status 3"), "{explained}");
    let logs = dev.run(&["job", "logs", &bad, "--failed"]).success().text();
    assert_eq!(logs.lines().filter(|line| *line == "the very cause").count(), 1, "{logs}");
    let logs = dev.run(&["job", "logs", &good]).success();
    assert!(logs.text().is_empty() && logs.stderr.contains("written anything"), "{}", logs.stderr);

    let long = job("/long", "cat; echo it goes >&2; sleep 600");
    dev.await_job(&long, "runs", |job| job["maps"]["running"] == 1);
    let followed = dev.client(&["job", "logs", &long, "--follow"]).stdout(Stdio::piped()).spawn();
    let mut followed = followed.unwrap();
    let mut out = std::io::BufReader::new(followed.stdout.take().unwrap());
    let mut head = String::new();
    while !head.contains("it goes") {
        let n = std::io::BufRead::read_line(&mut out, &mut head).unwrap();
        assert!(n > 0, "{head}");
    }
    assert!(head.starts_with("==== attempt_"), "{head}");
    let other = job("/other", "cat; sleep 600");
    let _ = dev.run(&["job", "kill", &long, &other]).success();
    assert!(followed.wait().unwrap().success(), "it ends with the job");

    let ids = |args: &[&str]| -> Vec<String> {
        let list = dev.run(&[&["job", "list"], args].concat()).success().text();
        list.lines().skip(1).filter_map(|it| it.split(' ').next()).map(str::to_owned).collect()
    };
    assert_eq!(ids(&["--limit", "1"]), [other.as_str()]);
    assert_eq!(ids(&["--state", "failed"]), [bad.as_str()]);
    assert_eq!(ids(&["--state", "failed", "--state", "succeeded"]), [bad.as_str(), &good]);
    assert_eq!(ids(&["--pool", "default"]).len(), 4);
    assert_eq!(ids(&["--pool", "other"]), Vec::<String>::new());
    let limited = dev.run(&["job", "list", "--limit", "2"]).success();
    assert!(limited.stderr.contains("--limit"), "{}", limited.stderr);
}

#[test]
fn hadoops_file_commands_are_understood_and_messages_name_what_to_do() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("a\nb\nc\n", "/in/text");
    let listed = dev.run(&["fs", "-ls", "hdfs://master:9000/in"]).success().text();
    assert!(listed.contains("/in/text"), "{listed}");
    assert_eq!(listed.split_whitespace().nth(2), Some("howdah"), "an owner is one word: {listed}");
    assert_eq!(dev.run(&["fs", "ls", "-l", "/in"]).success().text(), listed);
    assert_eq!(dev.run(&["fs", "head", "-2", "/in/text"]).success().text(), "a\nb");
    assert_eq!(dev.run(&["fs", "-text", "/in/text"]).success().text(), "a\nb\nc");
    let _ = run(["fs", "-getmerge", "/out", "x"]).refused(2, &["fs cat"]);
    let local = dev.scratch().join("local");
    fs::write(&local, "new\n").unwrap();
    let local = local.to_str().unwrap();
    let _ = dev.run(&["fs", "put", local, "/in/text"]).refused(1, &["/in/text", "-f"]);
    let _ = dev.run(&["fs", "get", "/in/text", local]).refused(2, &["-f"]);
    let more = dev.run(&["fs", "setrep", "9", "/in/text"]).success();
    assert!(more.stderr.contains("1 chunkservers are live"), "{}", more.stderr);

    // What lies beside the job file and is not brought along.
    fs::write(dev.scratch().join("map.py"), "").unwrap();
    let file = dev.job_file("job.yaml", &identity("/in", "/out"));
    let mapper = "program.streaming.mapper=python3 map.py";
    let warned = dev.run(&["job", "submit", &file, "--set", mapper]).success();
    assert!(warned.stderr.contains("map.py, which lies beside the job file"), "{}", warned.stderr);
    // A file of the chunk store is brought along.
    dev.put_text("s/^/got /\n", "/scripts/sed");
    let line = [
        "streaming",
        "-input",
        "/in",
        "-output",
        "/got",
        "-mapper",
        "sed -f script",
        "-numReduceTasks",
        "0",
        "-files",
        "hdfs:///scripts/sed#script",
    ];
    let _ = dev.run(&line).success();
    assert_eq!(lines(&dev, "/got"), "got a\ngot b\ngot c");
}
