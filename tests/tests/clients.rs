//! The commands as people and scripts use them: interrupted, piped, repeated, with folders.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tests::cluster::PATIENCE;
use tests::command::{Finished, finish, howdah, run};
use tests::{Dev, DevOptions, http, wait};

fn started(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts")
}

/// Sends Ctrl-C and waits for the end; what was read of its output before is not in the result.
fn interrupted(child: Child) -> Finished {
    ended_by(child, Signal::INT)
}

fn ended_by(child: Child, signal: Signal) -> Finished {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a pid is positive");
    kill_process(pid, signal).expect("it still runs");
    child.wait_with_output().expect("its output can be read").into()
}

/// Entries of a folder, those with a dot too.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits until the command has begun to make something in `folder`, where `kept` names are anyhow.
fn await_more_than(folder: &Path, kept: usize) {
    wait::until("it makes something", PATIENCE, || (names_in(folder).len() > kept).then_some(()));
}

/// An executable file with this script.
fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).expect("a script can be written");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, mode).expect("its mode can be set");
}

/// Reads lines until one begins with `wanted`; panics at the end of the stream.
fn read_until(stream: &mut impl Read, wanted: &str) -> String {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("readable"), 1, "no line begins with {wanted:?}");
        match byte[0] {
            b'\n' if line.starts_with(wanted.as_bytes()) => {
                return String::from_utf8_lossy(&line).into_owned();
            }
            b'\n' => line.clear(),
            other => line.push(other),
        }
    }
}

#[test]
fn ctrl_c_while_waiting_leaves_the_job_and_says_its_id() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("a\n", "/in/a.txt");
    script(&dev.scratch().join("sleeps"), "#!/bin/sh\nexec sleep 1000\n");
    let file = dev.job_file(
        "job.yaml",
        "name: long\ninput: [/in]\noutput: /out\nprogram: {native: {executable: sleeps}}\n",
    );
    let mut waiting = started(&mut dev.client(&["job", "submit", &file, "--wait"]));
    let id = read_until(waiting.stdout.as_mut().unwrap(), "job_");
    dev.await_job(&id, "runs", |job| job["maps"]["running"] == 1);
    let _ = interrupted(waiting).refused(130, &[&id, "goes on"]);
    assert_eq!(dev.job(&id)["state"], "RUNNING");

    let mut waiting = started(&mut dev.client(&["job", "wait", &id]));
    read_until(waiting.stderr.as_mut().unwrap(), &id);
    let _ = dev.run(&["job", "kill", &id]).success();
    let ended: Finished = waiting.wait_with_output().unwrap().into();
    let _ = ended.refused(1, &["KILLED"]);
    let status = dev.run(&["job", "status", &id, "--format", "json"]).success().text();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["state"], "KILLED");
    let _ = dev.run(&["job", "kill", &id]).refused(1, &[&id]);
}

#[test]
fn a_demo_that_is_kept_prints_its_urls_and_ends_cleanly_on_ctrl_c() {
    let scratch = tempfile::tempdir().unwrap();
    let mut demo = howdah();
    demo.args(["demo", "--size", "64KiB", "--trackers", "2", "--keep"]);
    let mut demo = started(demo.env("TMPDIR", scratch.path()));
    let mut url = String::new();
    for daemon in ["chunkmaster", "chunkserver-2", "jobtracker", "tasktracker-2"] {
        let line = read_until(demo.stdout.as_mut().unwrap(), daemon);
        url = line.split_whitespace().nth(1).expect("a URL").to_owned();
    }
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    assert_eq!(http::get(address, "/healthz").unwrap().status, 200);
    let _ = interrupted(demo).success();
    assert!(http::get(address, "/healthz").is_err(), "the daemons are stopped");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    for line in ["starting", "put "] {
        let scratch = tempfile::tempdir().unwrap();
        let mut demo = howdah();
        demo.args(["demo", "--size", "8MiB"]);
        let mut demo = started(demo.env("TMPDIR", scratch.path()));
        read_until(demo.stderr.as_mut().unwrap(), line);
        let _ = interrupted(demo).refused(130, &["nothing"]);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "{line}");
    }
}

#[test]
fn an_interrupted_gen_leaves_no_file() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let scratch = tempfile::tempdir().unwrap();
        let mut make = howdah();
        make.args(["gen", "tera", "--size", "10000000000"]).arg(scratch.path().join("big"));
        let making = started(&mut make);
        await_more_than(scratch.path(), 0);
        let _ = ended_by(making, signal).refused(code, &["no file"]);
        assert_eq!(names_in(scratch.path()), [""; 0]);
    }
}

#[test]
fn gen_replaces_a_file_only_by_force() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("precious");
    fs::write(&file, "work of years").unwrap();
    let made = |force: &[&str]| {
        finish(howdah().args(["gen", "tera", "--size", "200"]).args(force).arg(&file))
    };
    let _ = made(&[]).refused(2, &["precious", "exists", "--force"]);
    assert_eq!(fs::read(&file).unwrap(), b"work of years");
    let _ = made(&["--force"]).success();
    assert_eq!(fs::read(&file).unwrap().len(), 200);
}

#[test]
fn a_local_job_that_is_interrupted_or_crashes_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("work");
    fs::create_dir(&folder).unwrap();
    let input = scratch.path().join("in.txt");
    tests::books::generate(&input, "64MiB", 1);
    let job = |program: &str| {
        let file = scratch.path().join("job.yaml");
        let (input, output) = (input.display(), folder.join("new/out"));
        let output = output.display();
        let text = format!("name: n\ninput: ['{input}']\noutput: '{output}'\nprogram: {program}\n");
        fs::write(&file, text).unwrap();
        let mut local = howdah();
        local.arg("local").arg(file);
        local
    };
    let sorting = started(&mut job("{builtin: {name: sort}}"));
    await_more_than(&folder, 0);
    let _ = interrupted(sorting).refused(130, &["nothing is left"]);
    assert_eq!(names_in(&folder), [""; 0]);

    // As a program does that dies in the middle: what it made of its stage stays.
    let stage = folder.join("new/.out.howdah-$$-0/work");
    let dies = format!("#!/bin/sh\nmkdir -p '{}'\n", stage.display()).replace("$$", "'$$'");
    let crashing = scratch.path().join("crashes");
    let native = format!("{{native: {{executable: '{}'}}}}", crashing.display());
    for (ending, said) in [
        ("kill -ABRT $$", &["ended before", "ABRT"][..]),
        ("echo why; exit 7", &["ended before", "status: 7", "why"]),
        ("exit 0", &["linked with", "mapreduce::main"]),
    ] {
        script(&crashing, &format!("{dies}{ending}\n"));
        let _ = finish(&mut job(&native)).refused(1, said);
        assert_eq!(names_in(&folder), [""; 0], "{ending}");
    }
    script(&crashing, &format!("{dies}sleep 1000\n"));
    let sleeping = started(&mut job(&native));
    await_more_than(&folder, 0);
    let _ = ended_by(sleeping, Signal::TERM).refused(143, &["nothing is left"]);
    assert_eq!(names_in(&folder), [""; 0]);
}

#[test]
fn what_a_local_jobs_command_leaves_running_ends_with_the_job() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).display().to_string();
    fs::write(path("in"), "a line\n").unwrap();
    script(
        Path::new(&path("map")),
        "#!/bin/sh\nsleep 1000 > /dev/null 2>&1 &\necho $! > \"$PID\"\ncat\n",
    );
    let (input, output, map, pid) = (path("in"), path("out"), path("map"), path("pid"));
    let job = format!(
        "name: n\ninput: ['{input}']\noutput: '{output}'\nprogram:\n  streaming: {{mapper: '{map}', env: {{PID: '{pid}'}}}}\n"
    );
    fs::write(path("job.yaml"), job).unwrap();
    let _ = run(["local", &path("job.yaml")]).success();
    let pid = fs::read_to_string(pid).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    // Nobody may wait for the dead here.
    let is_gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    wait::until("what was left running has ended", PATIENCE, || is_gone().then_some(()));
}

#[test]
fn an_interrupted_put_frees_the_name_and_an_interrupted_get_leaves_nothing() {
    let dev = Dev::start(&DevOptions::trackers(1));
    let tree = dev.scratch().join("tree");
    fs::create_dir_all(tree.join("below")).unwrap();
    let big = tree.join("big");
    fs::File::create(&big).unwrap().set_len(10 << 30).unwrap();
    fs::write(tree.join("below/small"), "a").unwrap();
    for (source, target, open) in
        [(&big, "/new/file", "/new/file"), (&tree, "/new/tree", "/new/tree/big")]
    {
        let before = dev.run(&["fs", "ls", "/"]).success().text();
        let mut put = dev.client(&["fs", "put"]);
        let putting = started(put.arg(source).arg(target));
        let stat = || dev.run(&["fs", "stat", open]);
        wait::until("the file is open", PATIENCE, || (stat().code == Some(0)).then_some(()));
        let _ = interrupted(putting).refused(130, &[target, "nothing is left"]);
        assert_eq!(dev.run(&["fs", "ls", "/"]).success().text(), before);
        dev.put(&tree.join("below"), target);
        let _ = dev.run(&["fs", "rm", "-r", "/new"]).success();
    }
    let got = dev.scratch().join("got");
    fs::create_dir(&got).unwrap();
    fs::File::options().write(true).open(&big).unwrap().set_len(1 << 30).unwrap();
    dev.put(&tree, "/tree");
    for source in ["/tree", "/tree/big"] {
        let getting = started(dev.client(&["fs", "get", source]).arg(got.join("target")));
        await_more_than(&got, 0);
        let _ = interrupted(getting).refused(130, &["interrupted"]);
        assert_eq!(names_in(&got), [""; 0], "{source}");
    }
}

#[test]
fn a_put_that_is_taken_back_leaves_what_others_have_put_beside_it() {
    let dev = Dev::start(&DevOptions::trackers(1));
    let tree = dev.scratch().join("tree");
    fs::create_dir_all(tree.join("below")).unwrap();
    let big = tree.join("big");
    fs::File::create(&big).unwrap().set_len(10 << 30).unwrap();
    let putting = started(dev.client(&["fs", "put"]).arg(&tree).arg("/data"));
    let stat = || dev.run(&["fs", "stat", "/data/big"]);
    wait::until("the file is open", PATIENCE, || (stat().code == Some(0)).then_some(()));
    dev.put_text("acknowledged", "/data/below/theirs");
    let _ = interrupted(putting).refused(130, &["interrupted"]);
    assert_eq!(dev.run(&["fs", "cat", "/data/below/theirs"]).success().text(), "acknowledged");
    let _ = dev.run(&["fs", "stat", "/data/big"]).refused(1, &["/data/big"]);
}

#[test]
fn files_and_folders_are_put_and_got_as_cp_would() {
    let dev = Dev::start(&DevOptions::trackers(1));
    let tree = dev.scratch().join("tree");
    fs::create_dir_all(tree.join("below/deep")).unwrap();
    for (name, text) in [("a", "1"), ("below/b", "22"), ("below/deep/c", ""), ("below/ü b", "4")] {
        fs::write(tree.join(name), text).unwrap();
    }
    let same = |got: &std::path::Path| {
        finish(Command::new("diff").arg("-r").arg(&tree).arg(got)).code == Some(0)
    };
    dev.put(&tree, "/new/tree");
    let again = finish(dev.client(&["fs", "put"]).arg(&tree).arg("/new"));
    let _ = again.refused(1, &["/new/tree", "exists"]);
    let _ = dev.run(&["fs", "mkdir", "/into"]).success();
    dev.put(&tree, "/into");
    let _ = dev.run(&["fs", "mv", "/into/tree", "/new/moved"]).success();

    let got = dev.scratch().join("got");
    dev.get("/new/moved", &got);
    assert!(same(&got));
    dev.get("/new/tree", &got);
    assert!(same(&got.join("tree")));
    let again = finish(dev.client(&["fs", "get", "/new/tree"]).arg(&got));
    let _ = again.refused(2, &["got/tree", "exists"]);

    let listed = dev.run(&["fs", "ls", "/new/tree/below/"]).success().text();
    assert_eq!(listed.lines().count(), 3, "a folder as shells complete it: {listed}");

    let _ = dev.run(&["fs", "rm", "/new/tree"]).refused(1, &["/new/tree"]);
    let _ = dev.run(&["fs", "rm", "-r", "/new/tree", "/new/moved"]).success();
    let listed = dev.run(&["fs", "ls", "/new"]).success().text();
    assert_eq!(listed, "");
    let stat = dev.run(&["fs", "stat", "/into", "--format", "json"]).success().text();
    assert!(stat.contains("folder"), "{stat}");
}

#[test]
fn what_a_job_did_is_told_in_text_and_in_json() {
    let dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("", "/empty");
    script(&dev.scratch().join("fails"), "#!/bin/sh\necho why it fails\nexit 3\n");
    let job = |program: &str, output: &str| {
        let text = format!(
            "name: n n\ninput: [/empty/]\noutput: {output}\nprogram: {program}\nmax_attempts: 1\n"
        );
        dev.job_file("job.yaml", &text)
    };
    let file = job("{builtin: {name: wordcount}}", "/out");
    let done = dev.run(&["job", "submit", &file, "--wait"]).success();
    assert!(done.stderr.contains("map 100% reduce 100%"), "nothing to map: {}", done.stderr);
    let id = done.text();
    dev.put_text("a\n", "/some");
    let file = job("{native: {executable: fails}}", "/out-2");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("/empty/", "/some")).unwrap();
    let failed = dev.run(&["job", "submit", &file, "--wait"]).refused(1, &["FAILED after"]).text();

    let json = |args: &[&str]| -> serde_json::Value {
        let answer = dev.run(&[args, &["--format", "json"]].concat());
        serde_json::from_slice(&answer.stdout).expect("one JSON document")
    };
    assert_eq!(json(&["job", "wait", &id])["state"], "SUCCEEDED");
    assert_eq!(json(&["job", "wait", &failed])["state"], "FAILED");
    let logs = json(&["job", "logs", &failed]);
    assert_eq!(logs["logs"][0]["log"], "why it fails\n", "{logs}");
    assert_eq!(dev.run(&["job", "logs", &failed]).success().text().lines().count(), 2);
    let list = dev.run(&["job", "list"]).success().text();
    let columns = |line: usize| -> Vec<String> {
        list.lines().nth(line).unwrap().split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(
        columns(0),
        ["JOB", "STATE", "SUBMITTED", "ELAPSED", "MAPS", "REDUCES", "USER", "POOL", "NAME"]
    );
    let [job, state, submitted, elapsed] = &columns(2)[..4] else { panic!("{list}") };
    assert_eq!((job, state.as_str()), (&id, "SUCCEEDED"));
    assert!(submitted.ends_with('Z') && elapsed.ends_with('s'), "{list}");
    assert_eq!(json(&["job", "list"])["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(json(&["job", "status", &id])["id"], id.as_str());
    assert!(json(&["job", "counters", &id])["counters"].is_object());
    assert!(json(&["fs", "ls", "/"])["entries"].is_array());
    assert_eq!(json(&["fs", "stat", "/some"])["length"], 2);
}

#[test]
fn a_closed_pipe_ends_cat_quietly() {
    let dev = Dev::start(&DevOptions::trackers(1));
    let big = dev.scratch().join("big");
    tests::books::generate(&big, "4MiB", 1);
    dev.put(&big, "/big");
    let mut cat = started(&mut dev.client(&["fs", "cat", "/big"]));
    let mut first = String::new();
    BufReader::with_capacity(16, cat.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(!first.is_empty());
    let ended: Finished = cat.wait_with_output().unwrap().into();
    let ended = ended.success();
    assert_eq!(ended.stderr, "");
}

#[test]
fn disks_without_room_refuse_a_put_and_keep_nothing_of_it() {
    // All of the disk is kept free, so there is no room for chunks.
    let dev = Dev::start(&DevOptions::trackers(1).set("chunkserver.reserve=1000TiB"));
    let file = dev.scratch().join("file");
    fs::write(&file, "a\n").unwrap();
    let put = finish(dev.client(&["fs", "put"]).arg(&file).arg("/file"));
    let _ = put.refused(1, &["/file", "room"]);
    let left = dev.run(&["fs", "ls", "/"]).success().text();
    assert!(!left.contains("/file"), "{left}");
}

#[test]
fn generated_data_has_its_exact_size_and_is_the_same_for_a_seed() {
    let scratch = tempfile::tempdir().unwrap();
    let made = |name: &str, kind: &str, size: &str, seed: &str| {
        let path = scratch.path().join(name);
        let path = path.to_str().unwrap();
        let _ = run(["gen", kind, "--size", size, "--seed", seed, path]).success();
        fs::read(path).unwrap()
    };
    let text = made("a", "text", "1MiB", "1");
    assert_eq!(text.len(), 1 << 20);
    assert!(text == made("b", "text", "1MiB", "1") && text != made("c", "text", "1MiB", "2"));
    let tera = made("d", "tera", "100000", "1");
    assert_eq!(tera.split_inclusive(|&byte| byte == b'\n').count(), 1000);
    assert!(tera == made("e", "tera", "100000", "1"));
}
