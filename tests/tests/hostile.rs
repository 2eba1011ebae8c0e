//! Programs that mean harm, as jobs: each ends with a cause that a person can read, nothing of it is left,
//! and a good job beside them is right and not much later.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::books;
use tests::cluster::PATIENCE;
use tests::command::howdah;
use tests::oracle::{count_words, lines_of_counts, lines_of_parts};
use tests::replicas::chunk_files;
use tests::{Dev, DevOptions, long, wait};

/// Time in which nothing of a job is left after its end.
const CLEAN_AFTER: Duration = Duration::from_secs(5);

/// In the command line of whatever a hostile program starts to stay: a long sleep that no other has.
fn mark() -> String {
    format!("98765.{}", std::process::id())
}

/// A cluster for programs that mean harm.
struct Prey {
    dev: Dev,
}

impl Prey {
    fn start() -> Self {
        Self::start_with(&Self::options(2))
    }

    fn start_with(options: &DevOptions) -> Self {
        let dev = Dev::start(options);
        dev.put_text("one line\n", "/in/text");
        Self { dev }
    }

    fn options(trackers: u32) -> DevOptions {
        DevOptions::trackers(trackers)
            .set("tasktracker.slots=2")
            .set("tasktracker.task_timeout=4s")
            .set("tasktracker.task_disk=128MiB")
            .set("tasktracker.log_bytes_max=1MiB")
            .set("chunkmaster.chunk_bytes=4MiB")
            .set("tasktracker.task_memory=512MiB")
            .set("tasktracker.task_processes=64")
            .set("jobtracker.heartbeat_interval=300ms")
    }

    /// Submits a shell script as a native program.
    fn submit(&self, name: &str, script: &str) -> String {
        let program = self.dev.scratch().join(format!("{name}.sh"));
        let script = script.replace("MARK", &mark());
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a program can be written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("and be run");
        let file = self.dev.job_file(
            &format!("{name}.yaml"),
            &format!(
                "name: {name}\ninput: [/in]\noutput: /out/{name}\nmax_attempts: 1\nprogram:\n  \
                 native: {{executable: {}}}\n",
                program.display()
            ),
        );
        self.dev.run(&["job", "submit", &file]).success().text()
    }

    /// Counts the words of a folder, compares, and tells how long it took.
    fn good_job(&self, name: &str, expected: &[Vec<u8>]) -> Duration {
        let folder = if name == "after" { "/in" } else { "/good" };
        let file = self.dev.job_file(
            &format!("{name}.yaml"),
            &format!(
                "name: {name}\ninput: [{folder}]\noutput: /out/{name}\nprogram:\n  \
                 builtin: {{name: wordcount}}\nreduces: 2\n"
            ),
        );
        let watch = clock::Stopwatch::start();
        let _ = self.dev.run(&["job", "submit", &file, "--wait"]).success();
        let took = watch.elapsed();
        let got = self.dev.scratch().join(format!("{name}.got"));
        self.dev.get(&format!("/out/{name}"), &got);
        assert!(lines_of_parts(&got) == expected, "{name}: the output differs");
        took
    }

    fn await_failure(&self, id: &str) -> Value {
        self.dev.await_job(id, "fails", |job| job["state"] == "FAILED")
    }

    fn await_nothing_left(&self) {
        wait::until("nothing of it is left", CLEAN_AFTER, || {
            (self.processes().is_empty() && self.folders().is_empty()).then_some(())
        });
    }

    /// Command lines of processes that attempts have started.
    fn processes(&self) -> Vec<String> {
        let attempts = self.dev.dir();
        let mut found = Vec::new();
        for process in fs::read_dir("/proc").expect("a list of processes").flatten() {
            let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let folder = fs::read_link(process.path().join("cwd")).unwrap_or_default();
            let is_within = folder.starts_with(&attempts)
                && folder.components().any(|part| part.as_os_str() == "attempts");
            if is_within || command.contains(&mark()) {
                found.push(command);
            }
        }
        found
    }

    /// Folders of attempts.
    fn folders(&self) -> Vec<PathBuf> {
        let of = |tracker: &str| fs::read_dir(self.dev.data_dir(tracker).join("attempts"));
        let all = ["tasktracker-1", "tasktracker-2"].into_iter().filter_map(|it| of(it).ok());
        all.flatten().flatten().map(|entry| entry.path()).collect()
    }

    /// Whether the TaskTrackers hold attempts in cgroups; false, and said, where they may make none.
    fn has_cgroups(&self) -> bool {
        let logs = self.dev.logs();
        let held = logs["tasktracker-1.log"].contains("tasks run in cgroups");
        if !held {
            eprintln!("skipped: this needs cgroups with the controller pids that may be written");
        }
        held
    }

    /// Waits until a job has started something that is to stay.
    fn await_process(&self) {
        wait::until("the program runs", PATIENCE, || {
            self.processes().iter().any(|command| command.contains(&mark())).then_some(())
        });
    }
}

/// Leaves its process group and its session, and has nothing in its environment that tells whose it is.
const RUNAWAY: &str = "env -i /usr/bin/setsid sleep MARK &";

/// What programs do, and what a person reads then.
fn programs() -> Vec<(&'static str, String, &'static str)> {
    let no_sign = "no sign of life for 4 s";
    let loud = if long() { "5G" } else { "64M" };
    let loud = format!("head -c {loud} /dev/zero | tr '\\0' x >&2; exit 4");
    let bomb = "bomb() { bomb | bomb & }; trap '' TERM; (bomb) & exec sleep MARK".to_owned();
    vec![
        ("bomb", bomb, "more than 64 processes and threads"),
        ("runaway", format!("{RUNAWAY} exit 3"), "exited with status 3"),
        ("hog", "head -c 3G /dev/zero | tail".to_owned(), "the limit is 512 MiB"),
        ("endless", "while :; do :; done".to_owned(), no_sign),
        ("loud", loud, if long() { "" } else { "exited with status 4" }),
        ("full", "head -c 300M /dev/zero >x; exec sleep MARK".to_owned(), "the limit is 128 MiB"),
        ("deaf", format!("trap '' TERM HUP INT; {RUNAWAY} sleep MARK"), no_sign),
    ]
}

#[test]
fn programs_that_mean_harm_end_with_a_cause_and_do_a_good_job_beside_them_none() {
    let prey = Prey::start();
    let text = prey.dev.scratch().join("text");
    books::generate(&text, "24MiB", 3);
    prey.dev.put(&text, "/good/text");
    let mut counts = BTreeMap::new();
    count_words(&fs::read(&text).expect("it was just written"), &mut counts);
    let expected = lines_of_counts(&counts);
    let alone = prey.good_job("alone", &expected);

    let ids: Vec<_> = programs()
        .into_iter()
        .map(|(name, script, cause)| (name, prey.submit(name, &script), cause))
        .collect();
    let beside = prey.good_job("beside", &expected);
    println!("the good job took {alone:?} alone, {beside:?} beside the others");
    let most = alone.mul_f32(1.5).max(FLOOR);
    assert!(beside <= most, "{beside:?} beside the others, {alone:?} alone");

    for (name, id, cause) in &ids {
        let job = prey.await_failure(id).to_string();
        assert!(job.contains(cause), "{name}: {job}");
    }
    prey.await_nothing_left();
    let kept = |tracker: &str| size_of(&prey.dev.data_dir(tracker).join("logs"));
    let logs: u64 = ["tasktracker-1", "tasktracker-2"].map(kept).iter().sum();
    assert!((100 << 10..4 << 20).contains(&logs), "{logs} bytes of logs");
}

/// Time that the good job may take in any case: it waits for slots until programs are ended.
const FLOOR: Duration = Duration::from_secs(30);

/// Bytes of all files below a folder.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of_entry = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(of_entry).sum()
}

#[test]
fn a_job_killed_while_its_programs_hide_leaves_nothing() {
    let prey = Prey::start();
    let id = prey.submit("killed", &format!("{RUNAWAY} ({RUNAWAY}); sleep MARK"));
    prey.await_process();
    let _ = prey.dev.run(&["job", "kill", &id]).success();
    prey.await_nothing_left();
}

/// What the good job makes of the one line.
fn of_one_line() -> [Vec<u8>; 2] {
    [b"line\t1".to_vec(), b"one\t1".to_vec()]
}

#[test]
fn programs_with_users_of_their_own_read_and_touch_nothing_of_others() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: this needs root, who alone can run tasks as other users");
    }
    let options = Prey::options(1);
    let mut prey = Prey::start_with(&options);
    assert_eq!(prey.dev.stop(), Some(0));
    let dir = prey.dev.dir();
    for folder in [&dir, &dir.join("data")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).expect("it is ours");
    }
    prey.dev.start_again(&options.set("tasktracker.task_uids=210000-210007"));
    let _ = prey.good_job("after", &of_one_line());
    let data = dir.join("data");
    let mut thief = String::from("echo I am $(id -u)\n");
    let secret = dir.join("secret");
    assert!(secret.exists());
    thief += &format!("cat {} && echo STOLEN\n", secret.display());
    let rooms = ["chunkserver-1", "chunkmaster", "jobtracker"].map(|it| data.join(it));
    let own =
        ["logs", "outputs", "attempts"].map(|room| prey.dev.data_dir("tasktracker-1").join(room));
    for folder in rooms.iter().chain(&own) {
        assert!(folder.exists(), "{}", folder.display());
        thief += &format!("ls {} && echo STOLEN\n", folder.display());
    }
    thief += &format!("kill -9 {} && echo KILLED\nexit 7", prey.dev.pid("tasktracker-1"));
    let id = prey.submit("thief", &thief);
    let job = prey.await_failure(&id).to_string();
    assert!(job.contains("exited with status 7") && job.contains("I am 21000"), "{job}");
    assert!(!job.contains("STOLEN") && !job.contains("KILLED"), "{job}");
    prey.await_nothing_left();
}

/// What a program tries that is after what is not its own: each line says `STOLEN` if it succeeds.
fn thefts(prey: &Prey, victim: i32, victims_folder: &Path) -> String {
    // Before Linux 6.12, programs of one user may do that to one another.
    let closed = prey.dev.logs()["tasktracker-1.log"].contains("signal no process but their own");
    let (dir, tracker) = (prey.dev.dir(), prey.dev.data_dir("tasktracker-1"));
    let secret = dir.join("secret");
    let chunk = &chunk_files(&prey.dev.data_dir("chunkserver-1"))[0];
    let journal = fs::read_dir(prey.dev.data_dir("jobtracker")).expect("it has a folder").flatten();
    let has_bytes = |file: &PathBuf| file.metadata().is_ok_and(|it| it.is_file() && it.len() > 0);
    let journal = &journal.map(|file| file.path()).find(has_bytes).expect("a segment");
    let treasure = victims_folder.join("treasure");
    let identity = tracker.join("identity.json");
    let mut commands = Vec::new();
    for file in [&secret, chunk, journal, &treasure, &identity] {
        assert!(file.exists(), "{}", file.display());
        let file = file.display();
        commands.push(format!("cat {file} | grep -a ."));
        commands.push(format!("umount -l {file}; cat {file} | grep -a ."));
        commands.push(format!("unshare -Urm sh -c 'umount -l {file}; cat {file}' | grep -a ."));
        for holder in ["tasktracker-1", "chunkserver-1", "jobtracker"] {
            let pid = prey.dev.pid(holder);
            commands.push(format!("cat /proc/{pid}/root{file}"));
            commands.push(format!("nsenter -t {pid} -m cat {file}"));
        }
        commands.push(format!("cat /proc/1/root{file}"));
    }
    for folder in ["attempts", "outputs", "logs"].map(|room| tracker.join(room)) {
        commands.push(format!("ls {} | grep -v ^${{PWD##*/}}", folder.display()));
    }
    let daemons = ["tasktracker-1", "chunkmaster"].map(|daemon| prey.dev.pid(daemon));
    for pid in daemons.into_iter().chain(closed.then_some(victim)) {
        for file in ["environ", "mem", "maps"] {
            commands.push(format!("dd if=/proc/{pid}/{file} count=0"));
        }
        commands.push(format!("ls /proc/{pid}/cwd/ | grep ."));
        commands.push(format!("ls -l /proc/{pid}/fd | grep -e '->'"));
        commands.extend(closed.then(|| format!("kill -9 {pid}")));
    }
    // The cluster lies in /tmp, which is therefore as it is.
    for common in COMMON {
        commands.push(format!("ls -A {common} | grep ."));
    }
    commands.push("dd if=/dev/vda count=1 || dd if=/dev/sda count=1".to_owned());
    let mut script = String::new();
    for (nth, command) in commands.iter().enumerate() {
        script += &format!("{{ {command}; }} && echo STOLEN by {nth}\n");
    }
    script
}

/// Where anybody may leave something, and each attempt has its own.
const COMMON: [&str; 2] = ["/dev/shm", "/var/tmp"];

/// What a program may, wherever it runs.
const FINE: &str = "f=$(mktemp /tmp/fine.XXXXXX) && rm $f && cat /etc/passwd >copy && test -s copy && \
                    echo a >/dev/shm/a && echo a >/var/tmp/a && \
                    ls /usr/bin/env && echo a >/dev/null && head -c 9 /dev/urandom >random && echo FINE\n";

/// A thief beside its victim, under the default configuration.
fn programs_are_kept_from_what_is_not_theirs(options: &DevOptions) {
    let prey = Prey::start_with(options);
    let left = COMMON.map(|common| format!("{common}/{}", mark()));
    let leave = left.each_ref().map(|path| format!("echo gold >{path}; ")).concat();
    let victim = prey.submit("victim", &format!("{leave}echo gold >treasure; exec sleep MARK"));
    prey.await_process();
    for path in &left {
        assert!(!Path::new(path).exists(), "{path} is not the host's");
    }
    let running = prey.folders().pop().expect("it runs");
    let is_victim = |pid: &i32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&mark())
    };
    let pids = fs::read_dir("/proc").expect("a list of processes").flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid = pids.find(is_victim).expect("it runs");
    let id = prey.submit("thief", &format!("{}{FINE}exit 7", thefts(&prey, pid, &running)));
    let job = prey.await_failure(&id).to_string();
    let log = prey.dev.data_dir("tasktracker-1").join("logs").join(&id);
    let logs = fs::read_dir(&log).expect("the log is kept").flatten();
    let said: String = logs.filter_map(|log| fs::read_to_string(log.path()).ok()).collect();
    assert!(job.contains("exited with status 7"), "{job}");
    assert!(said.contains("FINE") && !said.contains("STOLEN"), "{said}");
    let _ = prey.dev.run(&["job", "kill", &victim]).success();
    let _ = prey.good_job("after", &of_one_line());
    prey.await_nothing_left();
}

/// Whether `unshare` can do that here; if not, it is said.
fn namespaces_are_allowed(unshare: &mut Command) -> bool {
    let allowed = unshare.arg("true").status().is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("skipped: this needs namespaces");
    }
    allowed
}

#[test]
fn programs_of_a_tasktracker_reach_nothing_that_is_not_theirs() {
    let is_root = rustix::process::geteuid().is_root();
    if !namespaces_are_allowed(Command::new("unshare").arg(if is_root { "-m" } else { "-Um" })) {
        return;
    }
    programs_are_kept_from_what_is_not_theirs(&Prey::options(1));
}

#[test]
fn programs_of_an_unprivileged_tasktracker_reach_nothing_that_is_not_theirs() {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: the other test is this one, unless this is root");
    }
    let version = howdah().arg("--version").uid(NOBODY).gid(NOBODY).stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        return eprintln!("skipped: the binary lies where only root can run it");
    }
    if !namespaces_are_allowed(Command::new("unshare").arg("-Um").uid(NOBODY).gid(NOBODY)) {
        return;
    }
    let options = DevOptions { user: Some(NOBODY), ..Prey::options(1) };
    programs_are_kept_from_what_is_not_theirs(&options.set("tasktracker.require_isolation=true"));
}

#[test]
fn where_tasks_would_run_as_root_isolation_that_is_required_refuses_to_start() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: this needs root");
    }
    let mut dev = Dev::start(&DevOptions::trackers(1));
    let list = dev.run(&["host", "list"]).success().text();
    assert!(list.contains("trusts its tasks") && list.contains("task_uids"), "{list}");
    dev.stop();
    let mut config = dev.config();
    config.tasktracker.require_isolation = true;
    fs::write(dev.config_file(), config.to_yaml()).expect("its configuration can be written");
    let refused = dev.run(&["tasktracker"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("tasktracker.require_isolation"), "{}", refused.stderr);
    assert!(refused.stderr.contains("tasktracker.task_uids"), "{}", refused.stderr);
}

#[test]
fn a_job_of_a_hundred_mebibytes_is_refused() {
    let prey = Prey::start();
    let word = "x".repeat(100 << 20);
    let file = prey.dev.job_file(
        "long.yaml",
        &format!(
            "name: long\ninput: [/in]\noutput: /out/long\nprogram:\n  \
             builtin: {{name: grep, args: {{pattern: {word}}}}}\n"
        ),
    );
    let refused = prey.dev.run(&["job", "submit", &file]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("bytes"), "{}", refused.stderr);
    assert!(refused.stderr.len() < 10_000, "{} bytes of complaint", refused.stderr.len());
    let _ = prey.good_job("after", &of_one_line());
}

#[test]
fn what_a_killed_tasktracker_leaves_is_ended_at_its_next_start() {
    let mut prey = Prey::start();
    if !prey.has_cgroups() {
        return;
    }
    let id = prey.submit("left", &format!("{RUNAWAY} sleep 1; sleep MARK"));
    prey.await_process();
    for tracker in ["tasktracker-1", "tasktracker-2"] {
        prey.dev.kill(tracker);
    }
    let _ = prey.dev.run(&["job", "kill", &id]).success();
    for tracker in ["tasktracker-1", "tasktracker-2"] {
        prey.dev.restart(tracker);
    }
    wait::until("nothing of it is left", CLEAN_AFTER, || prey.processes().is_empty().then_some(()));
}
