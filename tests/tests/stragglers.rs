//! Tasks that stand still, and hosts that are slow: a backup does their work, and the job ends as if nothing had been
//! wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tests::books;
use tests::cluster::PATIENCE;
use tests::command::run;
use tests::cpu_share::CpuShare;
use tests::job_author::inverted_index;
use tests::metrics::metric;
use tests::oracle::lines_of_parts;
use tests::{Dev, DevOptions, runs, wait};

const MAPS: u64 = 12;
/// Heartbeats of three hosts in a time in which another job would have had its backup: some eight seconds.
const HEARTBEATS_ENOUGH: f64 = 80.0;

struct Experiment {
    dev: Dev,
    program: PathBuf,
    input: PathBuf,
}

impl Experiment {
    fn start() -> Self {
        let options = DevOptions::trackers(3)
            .set("chunkmaster.chunk_bytes=1MiB")
            .set("jobtracker.heartbeat_interval=300ms");
        let dev = Dev::start(&options);
        let input = dev.scratch().join("text");
        books::generate(&input, &format!("{MAPS}MiB"), 5);
        dev.put(&input, "/in/text");
        let (program, _) = inverted_index(dev.scratch());
        Self { dev, program, input }
    }

    /// A program whose first `n` tasks do nothing, for ever; each leaves its pid behind.
    fn stands_still(&self, run: &str, n: u32) -> (PathBuf, PathBuf) {
        let (file, pids) =
            (self.dev.scratch().join(format!("{run}.sh")), self.dev.scratch().join(run));
        fs::create_dir(&pids).expect("the scratch folder is ours");
        let (folder, program) = (pids.display(), self.program.display());
        let script = format!(
            "#!/bin/sh\nfor n in $(seq {n}); do\n  if mkdir {folder}/$n 2>/dev/null; then\n    \
             echo $$ >{folder}/$n/pid\n    exec sleep 1000\n  fi\ndone\nexec {program} \"$@\"\n"
        );
        fs::write(&file, script).expect("a script can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("and made one");
        (file, pids)
    }

    fn submit(&self, run: &str, program: &Path, more: &str) -> String {
        let file = self.dev.job_file(
            &format!("{run}.yaml"),
            &format!(
                "name: {run}\ninput: [/in]\noutput: /out/{run}\nprogram:\n  \
                 native: {{executable: {}}}\nreduces: 2\n{more}",
                program.display()
            ),
        );
        self.dev.run(&["job", "submit", &file]).success().text()
    }

    /// What one process makes of the same input.
    fn expected(&self) -> Vec<Vec<u8>> {
        let (out, input) = (self.dev.scratch().join("expected"), self.input.display());
        let file = self.dev.job_file(
            "local.yaml",
            &format!(
                "name: local\ninput: [{input}]\noutput: {}\nprogram:\n  \
                 native: {{executable: {}}}\nreduces: 2\n",
                out.display(),
                self.program.display()
            ),
        );
        let _ = run(["local", &file, "--sequential"]).success();
        lines_of_parts(&out)
    }
}

/// Waits until none of the tasks that stood still is left.
fn await_gone(pids: &Path) {
    wait::until("what stood still is gone", Duration::from_secs(10), || {
        let all = fs::read_dir(pids).ok()?.map(|it| it.expect("readable").path().join("pid"));
        let lives = |file: PathBuf| {
            let pid = fs::read_to_string(file).unwrap_or_default();
            Path::new("/proc").join(pid.trim()).join("cmdline").exists()
        };
        (!all.into_iter().any(lives)).then_some(())
    });
}

#[test]
fn a_map_that_stands_still_is_backed_up_and_leaves_nothing() {
    let experiment = Experiment::start();
    let dev = &experiment.dev;
    let (program, pids) = experiment.stands_still("still", 1);
    let id = experiment.submit("still", &program, "");
    let job = dev.await_job(&id, "succeeds", |job| job["state"] == "SUCCEEDED");
    assert_eq!(job["maps"]["succeeded"], MAPS);
    assert_eq!(job["maps"]["killed_attempts"], 1, "{job}");
    await_gone(&pids);
    let got = dev.scratch().join("got");
    dev.get("/out/still", &got);
    assert!(lines_of_parts(&got) == experiment.expected(), "the index differs");
    assert_eq!(metric(dev, "jobtracker", "howdah_jobtracker_backups_won_total "), Some(1.0));

    let (program, pids) = experiment.stands_still("alone", 1);
    let id = experiment.submit("alone", &program, "speculative: false\n");
    let all_but_one = |job: &Value| job["maps"]["succeeded"] == MAPS - 1;
    dev.await_job(&id, "has one map left", all_but_one);
    let heartbeats = || metric(dev, "jobtracker", "howdah_jobtracker_heartbeats_total ");
    let then = heartbeats().expect("an answer") + HEARTBEATS_ENOUGH;
    wait::until("it was looked at for long", PATIENCE, || (heartbeats()? > then).then_some(()));
    assert!(all_but_one(&dev.job(&id)), "nobody else does its work");
    let _ = dev.run(&["job", "kill", &id]).success();
    await_gone(&pids);
}

/// Of a processor; a slow host has a tenth of it.
const SHARE: u32 = 50;
/// Waves of maps on three hosts with a slot each.
const WAVES: u64 = 4;

/// Seconds that a job takes whose tasks need a processor, and nothing else, for a second or so.
fn seconds(dev: &Dev, program: &Path, run: &str, speculative: bool) -> f64 {
    let file = dev.job_file(
        "burn.yaml",
        &format!(
            "name: {run}\ninput: [/in]\noutput: /out/{run}\nprogram:\n  native: {{executable: {}}}\n\
             reduces: 1\nspeculative: {speculative}\n",
            program.display()
        ),
    );
    let watch = clock::Stopwatch::start();
    let _ = dev.run(&["job", "submit", &file, "--wait"]).success();
    watch.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Shares of a processor make the ratios what they would be on four hosts, however many processors there are, as long as
/// there are two.
#[test]
fn a_host_at_a_tenth_of_its_speed_costs_little_with_backups_and_much_without() {
    let options = DevOptions::trackers(4)
        .set("chunkmaster.chunk_bytes=64KiB")
        .set("jobtracker.locality_wait=0s")
        .set("jobtracker.reduce_slowstart=1")
        .set("tasktracker.slots=1")
        .set("jobtracker.dead_after=2s");
    let names = ["one", "two", "three", "slow"];
    let percent = [SHARE, SHARE, SHARE, SHARE / 10];
    let shares = names.into_iter().zip(percent).map(|(name, percent)| CpuShare::new(name, percent));
    let Some(shares) = shares.collect::<Option<Vec<_>>>() else { return };
    let mut dev = Dev::start(&options);
    let tracker = |n: usize| format!("tasktracker-{}", n + 1);
    for (n, share) in shares.iter().enumerate() {
        dev.kill(&tracker(n));
        share.within(|| dev.restart(&tracker(n)));
    }
    dev.await_trackers(4);
    let text = dev.scratch().join("text");
    books::generate(&text, &format!("{}KiB", 64 * 3 * WAVES), 9);
    dev.put(&text, "/in/text");
    let (program, _) = inverted_index(dev.scratch());
    let burning = dev.scratch().join("burning.sh");
    let script = format!(
        "#!/bin/sh\ni=0\nwhile [ $i -lt 700000 ]; do i=$((i+1)); done\nexec {} \"$@\"\n",
        program.display()
    );
    fs::write(&burning, script).expect("a script can be written");
    fs::set_permissions(&burning, fs::Permissions::from_mode(0o755)).expect("and made one");
    let (mut alone, mut with, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..runs(5) {
        dev.kill(&tracker(3));
        dev.await_trackers(3);
        alone.push(seconds(&dev, &burning, &format!("alone-{run}"), true));
        shares[3].within(|| dev.restart(&tracker(3)));
        dev.await_trackers(4);
        with.push(seconds(&dev, &burning, &format!("with-{run}"), true));
        without.push(seconds(&dev, &burning, &format!("without-{run}"), false));
    }
    println!(
        "three hosts alone {alone:.1?} s; a slow one beside {with:.1?} s, without backups {without:.1?} s"
    );
    let (alone, with, without) = (median(alone), median(with), median(without));
    assert!(with <= 1.15 * alone, "{:.2} of the three alone", with / alone);
    assert!(without >= 1.5 * with, "{:.2} times as long without backups", without / with);
}
