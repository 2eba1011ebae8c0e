//! Hosts that are cut off from others in the middle of a job, and joined again: the output is the same as if nothing had
//! happened, nothing is left over, and the cluster is of use again at once.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tests::cluster::PATIENCE;
use tests::hosts::{CHUNKMASTER, HOSTS, Hosts, JOBTRACKER, SLOTS};
use tests::network::Cut;
use tests::oracle::{count_words_of, lines_of_counts, lines_of_parts};
use tests::{books, job_author, long, wait};

const MAPS: u64 = 24;
const REDUCES: u64 = 4;
/// From the heal to the first attempt of a new job, and until all hosts are known to be alive.
const USEFUL_WITHIN: Duration = Duration::from_secs(5);

struct Experiment {
    hosts: Hosts,
    program: String,
    expected: Vec<Vec<u8>>,
    n_runs: usize,
    /// Cuts after which it took too long until the cluster was of use, all of it.
    slow: Vec<String>,
}

impl Experiment {
    /// Word count whose tasks take a second more each: several waves.
    fn start() -> Option<Self> {
        Self::start_delayed("sleep 1")
    }

    /// Word count before each of whose tasks a command is run.
    fn start_delayed(delay: &str) -> Option<Self> {
        let hosts = Hosts::start()?;
        let program = job_author::word_count(hosts.scratch());
        let script = hosts.scratch().join("word-count.sh");
        let text = format!("#!/bin/sh\n{delay}\nexec {} \"$@\"\n", program.display());
        fs::write(&script, text).expect("a script can be written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&script, mode).expect("and made one");
        let input = hosts.scratch().join("text");
        books::generate(&input, &format!("{MAPS}MiB"), 23);
        let small = hosts.scratch().join("small");
        fs::write(&small, "a few words\n").expect("a file can be written");
        for (file, path) in [(&input, "/in/text"), (&small, "/small")] {
            let file = file.to_str().expect("temporary paths are text");
            let _ = hosts.run(&["fs", "put", file, path]).success();
        }
        let expected = lines_of_counts(&count_words_of(&input));
        let program = script.display().to_string();
        Some(Self { hosts, program, expected, n_runs: 0, slow: vec![] })
    }

    fn submit(&self, name: &str, input: &str, program: &str, reduces: u64) -> String {
        let file = self.hosts.scratch().join(format!("{name}.yaml"));
        let job = format!(
            "name: {name}\ninput: [{input}]\noutput: /out/{name}\nprogram:\n  {program}\nreduces: {reduces}\n"
        );
        fs::write(&file, job).expect("a job file can be written");
        let file = file.to_str().expect("temporary paths are text");
        self.hosts.run(&["job", "submit", file]).success().text()
    }

    /// Waits until something is true of a job that has not ended before.
    fn await_job(&self, id: &str, what: &str, reached: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("{id} {what}"), PATIENCE, || {
            let job = self.hosts.ask_jobtracker(&format!("/v1/jobs/{id}")).ok()?;
            if reached(&job) {
                return Some(job);
            }
            let ended =
                ["SUCCEEDED", "FAILED", "KILLED"].iter().any(|state| job["state"] == *state);
            assert!(!ended, "{id} ended before it reached: {what}: {job:#}");
            None
        })
    }

    /// A job, cut when so many of its maps are done, for so long.
    fn survives(&mut self, cut: &Cut, percent: u64, lasting: Duration) {
        self.n_runs += 1;
        let name = format!("cut-{}", self.n_runs);
        let program = format!("native: {{executable: {}}}", self.program);
        let id = self.submit(&name, "/in", &program, REDUCES);
        let mut waiting = self.hosts.client(&["job", "wait", &id]);
        let mut waiting = waiting.stderr(Stdio::null()).spawn().expect("a client starts");
        self.await_job(&id, &format!("{percent} % of the maps"), |job| {
            job["maps"]["total"] == MAPS
                && job["maps"]["succeeded"].as_u64().is_some_and(|n| n * 100 >= MAPS * percent)
        });
        let watch = clock::Stopwatch::start();
        self.hosts.network().cut(cut);
        lasts(&watch, lasting);
        self.hosts.network().heal();
        let (healed, healed_at) = (clock::Stopwatch::start(), clock::wall());
        let useful = self.await_use(&healed);
        let whole = self.await_whole(&healed);
        let job = self.await_job(&id, "succeeds", |job| job["state"] == "SUCCEEDED");
        assert!(
            waiting.wait().expect("a child can be waited for").success(),
            "who waits sits it out"
        );
        let ended_ms =
            job["finished_at"].as_i64().expect("it has ended") - healed_at.0.cast_signed();
        self.check_output(&name);
        let attempts = self.check_attempts(&id);
        self.await_rest(&id);
        let said = format!(
            "{cut:?} for {lasting:?} at {percent} % of the maps: after the heal useful in {useful:.1?}, all there in \
             {whole:.1?}, the job's end {ended_ms} ms after it; {attempts}"
        );
        println!("{said}");
        if useful.max(whole) > USEFUL_WITHIN {
            self.slow.push(said);
        }
    }

    fn end(self) {
        assert!(self.slow.is_empty(), "not of use soon enough: {:#?}", self.slow);
    }

    /// How long after the heal a new job's first attempt was launched.
    fn await_use(&self, healed: &clock::Stopwatch) -> Duration {
        let name = format!("small-{}", self.n_runs);
        let id = self.submit(&name, "/small", "builtin: {name: wordcount}", 1);
        let begun = |job: &Value| job["maps"]["attempts"].as_u64().is_some_and(|n| n > 0);
        self.await_job(&id, "has an attempt", begun);
        let useful = healed.elapsed();
        self.await_job(&id, "succeeds", |job| job["state"] == "SUCCEEDED");
        useful
    }

    /// How long after the heal all hosts were known to be alive.
    fn await_whole(&self, healed: &clock::Stopwatch) -> Duration {
        wait::until("all trackers and servers are alive", PATIENCE, || {
            let trackers = self.hosts.gauge(JOBTRACKER, "howdah_jobtracker_trackers_live")?;
            let servers = self.hosts.gauge(CHUNKMASTER, "howdah_chunkmaster_servers_live")?;
            (trackers as usize == HOSTS.len() && servers as usize == HOSTS.len()).then_some(())
        });
        healed.elapsed()
    }

    fn check_output(&self, name: &str) {
        let got = self.hosts.scratch().join("got");
        let path = got.to_str().expect("temporary paths are text");
        let _ = self.hosts.run(&["fs", "get", &format!("/out/{name}"), path]).success();
        assert!(lines_of_parts(&got) == self.expected, "{name}: the output differs");
        assert!(got.join("_SUCCESS").exists());
        fs::remove_dir_all(got).expect("the copy can be removed");
    }

    /// No task has two winners, and each reduce has one; an output of a map that was lost when all were fetched is none's. No
    /// attempt has failed.
    fn check_attempts(&self, id: &str) -> String {
        let path = format!("/v1/jobs/{id}/attempts");
        let list = self.hosts.ask_jobtracker(&path).expect("an answer");
        let list = list["attempts"].as_array().expect("a list");
        let in_state = |state: &'static str| list.iter().filter(move |it| it["state"] == state);
        let task_of = |it: &Value| {
            let attempt = it["attempt"].as_str().expect("an id");
            attempt.rsplit_once('_').expect("with a number").0.to_owned()
        };
        let winners: Vec<_> = in_state("SUCCEEDED").map(task_of).collect();
        let won: BTreeSet<_> = winners.iter().collect();
        assert_eq!(won.len(), winners.len(), "{list:#?}");
        let n_reduces = won.iter().filter(|task| task.contains("_r_")).count();
        assert_eq!(n_reduces as u64, REDUCES, "{list:#?}");
        assert_eq!(in_state("RUNNING").count(), 0, "{list:#?}");
        // What a cut costs is no try of a task: nobody is to blame for it.
        assert_eq!(in_state("FAILED").count(), 0, "{list:#?}");
        format!("{} attempts were killed", in_state("KILLED").count())
    }

    /// Waits until nothing is left of a job that has ended: no process, no folder, no output, no slot, nothing staged.
    fn await_rest(&self, id: &str) {
        let is_empty = |folder: std::path::PathBuf| {
            fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
        };
        for host in HOSTS {
            let folder = self.hosts.data_dir("tasktracker", host);
            wait::until(&format!("nothing of {id} is left on {host}"), PATIENCE, || {
                let gone = self.hosts.tasks_on(host).is_empty()
                    && is_empty(folder.join("attempts"))
                    && !folder.join("outputs").join(id).exists();
                gone.then_some(())
            });
        }
        wait::until("every slot is free", PATIENCE, || {
            let occupied = self.hosts.gauge(JOBTRACKER, "howdah_jobtracker_slots_occupied")?;
            let slots = self.hosts.gauge(JOBTRACKER, "howdah_jobtracker_slots")?;
            (occupied == 0.0 && slots as u64 == SLOTS * HOSTS.len() as u64).then_some(())
        });
        wait::until("nothing is staged", PATIENCE, || {
            let listed = self.hosts.run(&["fs", "ls", "-R", "/.howdah/staging"]).success().text();
            listed.is_empty().then_some(())
        });
    }
}

/// Of two reduces of a host that its JobTracker can't hear, one ends what it was at before the others' output is published,
/// and one only begins when that is there.
#[test]
fn what_a_zombie_makes_is_nobodys_output() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path().display();
    let gate = format!(
        "case $HOWDAH_TASK_ID-$HOWDAH_HOST in\n*_m_*) gate=/;;\n*-host-1) gate={at}/$HOWDAH_ATTEMPT_ID;;\n\
         *) gate={at}/others;;\nesac\nwhile [ ! -e $gate ]; do sleep 0.1; done"
    );
    let Some(experiment) = Experiment::start_delayed(&gate) else { return };
    let hosts = &experiment.hosts;
    let program = format!("native: {{executable: {}}}", experiment.program);
    let id = experiment.submit("zombies", "/in", &program, SLOTS * HOSTS.len() as u64);
    let reduces_of_host_1 = || {
        let list = hosts.ask_jobtracker(&format!("/v1/jobs/{id}/attempts")).ok()?;
        let of_host_1 = list["attempts"].as_array()?.iter().filter(|it| it["host"] == "host-1");
        let of_host_1 = of_host_1.map(|it| (it["attempt"].as_str(), it["state"].as_str()));
        let all =
            of_host_1.filter_map(|(attempt, state)| Some((attempt?.to_owned(), state?.to_owned())));
        Some(all.filter(|(attempt, _)| attempt.contains("_r_")).collect::<Vec<_>>())
    };
    experiment.await_job(&id, "all maps", |job| job["maps"]["succeeded"] == MAPS);
    let [first, second] = wait::until("two reduces run on host-1", PATIENCE, || {
        let running = reduces_of_host_1()?.into_iter().filter(|(_, state)| state == "RUNNING");
        running.map(|(attempt, _)| attempt).collect::<Vec<_>>().try_into().ok()
    });
    let goes_on =
        |gate: &str| drop(fs::File::create(folder.path().join(gate)).expect("a new file"));
    let attempts = hosts.data_dir("tasktracker", "host-1").join("attempts");
    let n_attempts = || fs::read_dir(&attempts).map_or(0, Iterator::count);
    let heard = hosts.gauge(JOBTRACKER, "howdah_jobtracker_heartbeats_total").expect("an answer");
    wait::until("host-1 knows of all maps", PATIENCE, || {
        let now = hosts.gauge(JOBTRACKER, "howdah_jobtracker_heartbeats_total")?;
        (now > heard + 12.0).then_some(())
    });
    hosts.network().cut(&Cut::Between(host("host-1"), host(JOBTRACKER)));
    wait::until("host-1 counts as dead", PATIENCE, || {
        (hosts.gauge(JOBTRACKER, "howdah_jobtracker_trackers_live")? == 3.0).then_some(())
    });
    goes_on(&first);
    wait::until("a zombie ends", PATIENCE, || (n_attempts() == 1).then_some(()));
    goes_on("others");
    experiment.await_job(&id, "succeeds", |job| job["state"] == "SUCCEEDED");
    goes_on(&second);
    assert_eq!(n_attempts(), 1, "the other zombie is at it");
    experiment.check_output("zombies");
    hosts.network().heal();
    experiment.await_rest(&id);
    experiment.check_output("zombies");
    let won = |(_, state): &(String, String)| state == "SUCCEEDED";
    assert!(!reduces_of_host_1().expect("an answer").iter().any(won), "a zombie has won");
}

/// A cut lasts for so long.
fn lasts(since: &clock::Stopwatch, time: Duration) {
    wait::until("the cut has lasted", time * 2, || (since.elapsed() >= time).then_some(()));
}

fn host(name: &str) -> String {
    name.to_owned()
}

#[test]
fn a_job_survives_cuts_of_five_seconds() {
    let Some(mut experiment) = Experiment::start() else { return };
    let five = Duration::from_secs(5);
    for (cut, percent) in [
        (Cut::Full(host("host-1")), 30),
        (Cut::Full(host(JOBTRACKER)), 30),
        (Cut::Full(host(CHUNKMASTER)), 50),
        (Cut::Between(host("host-2"), host("host-3")), 70),
        (Cut::Incoming(host("host-4")), 50),
        (Cut::Outgoing(host("host-1")), 100),
    ] {
        experiment.survives(&cut, percent, five);
    }
    experiment.end();
}

/// From the cut to the end of a file that is being written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(9);

/// A file that is being written when hosts are cut off, for so long, or else until it is written. How long after the cut
/// that was.
fn written_through(hosts: &Hosts, path: &str, cut: &Cut, lasting: Option<Duration>) -> Duration {
    let byte = |n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[0];
    let bytes: Vec<u8> = (0..8 << 20).map(byte).collect();
    let (before, behind) = bytes.split_at(bytes.len() / 2 + 77_777);
    let mut put = hosts.client(&["fs", "put", "-", path]);
    let mut put = put.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = put.stdin.take().expect("its input is a pipe");
    stdin.write_all(before).expect("it reads");
    hosts.network().cut(cut);
    let watch = clock::Stopwatch::start();
    let ended = std::thread::scope(|scope| {
        let ended = scope.spawn(|| {
            // One that has given up does not read on, and says so.
            let _broken = stdin.write_all(behind);
            drop(stdin);
            put.wait_with_output().expect("a child can be waited for")
        });
        if let Some(lasting) = lasting {
            lasts(&watch, lasting);
            hosts.network().heal();
        }
        ended.join().expect("it has not panicked")
    });
    let took = watch.elapsed();
    hosts.network().heal();
    println!("{cut:?}: written {took:.1?} after the cut");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let got = hosts.run(&["fs", "cat", path]).success().stdout;
    assert!(got == bytes, "other bytes came back");
    took
}

#[test]
fn a_file_is_written_to_its_end_while_servers_of_it_are_cut_off() {
    let Some(hosts) = Hosts::start() else { return };
    let cuts =
        [Cut::Full(host("host-1")), Cut::Incoming(host("host-4")), Cut::Outgoing(host("host-2"))];
    for (nth, cut) in cuts.iter().enumerate() {
        let took = written_through(&hosts, &format!("/file-{nth}"), cut, None);
        assert!(took < WRITTEN_WITHIN, "{cut:?}: written {took:?} after the cut");
    }
}

#[test]
fn a_file_is_written_on_when_the_chunk_master_can_be_reached_again() {
    let Some(hosts) = Hosts::start() else { return };
    let five = Duration::from_secs(5);
    let took = written_through(&hosts, "/file", &Cut::Full(host(CHUNKMASTER)), Some(five));
    assert!(took < five + USEFUL_WITHIN, "written {took:?} after the cut");
}

#[test]
fn at_full_size_a_job_survives_every_cut() {
    if !long() {
        return;
    }
    let Some(mut experiment) = Experiment::start() else { return };
    // Between the two, connections that wait longer for each next try are at their worst.
    for seconds in [5, 14, 30] {
        for percent in [30, 100] {
            let lone = ["host-1", JOBTRACKER, CHUNKMASTER].into_iter().flat_map(|name| {
                [Cut::Full(host(name)), Cut::Incoming(host(name)), Cut::Outgoing(host(name))]
            });
            let pairs = [
                ("host-1", "host-2"),
                ("host-2", "host-3"),
                ("host-1", JOBTRACKER),
                ("host-1", CHUNKMASTER),
                (JOBTRACKER, CHUNKMASTER),
            ];
            let pairs = pairs.map(|(a, b)| Cut::Between(host(a), host(b)));
            for cut in lone.chain(pairs) {
                experiment.survives(&cut, percent, Duration::from_secs(seconds));
            }
        }
    }
    experiment.end();
}
