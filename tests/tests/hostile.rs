//! Programs that mean harm, as jobs: each ends with a cause that a person can read, and nothing of it is
//! left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::{Dev, DevOptions, wait};

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
        let options = DevOptions::trackers(2)
            .set("tasktracker.slots=2")
            .set("tasktracker.task_timeout=2s")
            .set("tasktracker.task_memory=512MiB")
            .set("tasktracker.task_processes=64")
            .set("jobtracker.heartbeat_interval=300ms");
        let dev = Dev::start(&options);
        dev.put_text("one line\n", "/in/text");
        Self { dev }
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

    /// Waits until a job has failed, and nothing of it is left.
    fn await_end(&self, id: &str) -> Value {
        let job = self.dev.await_job(id, "fails", |job| job["state"] == "FAILED");
        wait::until("nothing of it is left", CLEAN_AFTER, || {
            (self.processes().is_empty() && self.folders().is_empty()).then_some(())
        });
        job
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

#[test]
fn what_programs_start_ends_with_their_attempts_however_it_hides() {
    let prey = Prey::start();
    let bomb = "bomb() { bomb | bomb & }; (bomb) & exec sleep MARK";
    for (name, script, cause) in [
        ("runaway", format!("{RUNAWAY} exit 3"), "exited with status 3"),
        ("deaf", format!("trap '' TERM HUP INT; {RUNAWAY} sleep MARK"), "no sign of life for 2 s"),
        ("hog", "head -c 3G /dev/zero | tail".to_owned(), "the limit is 512 MiB"),
        ("bomb", format!("trap '' TERM; {bomb}"), "more than 64 processes and threads"),
    ] {
        let id = prey.submit(name, &script);
        let job = prey.await_end(&id).to_string();
        assert!(job.contains(cause), "{name}: {job}");
    }
    let id = prey.submit("killed", &format!("{RUNAWAY} ({RUNAWAY}); sleep MARK"));
    prey.await_process();
    let _ = prey.dev.run(&["job", "kill", &id]).success();
    wait::until("nothing of it is left", CLEAN_AFTER, || {
        (prey.processes().is_empty() && prey.folders().is_empty()).then_some(())
    });
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
