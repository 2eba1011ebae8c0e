//! The Python client, by its own tests, against real daemons. `./check` skips this where there is no python3.

use std::fs;
use std::process::{Command, Stdio};

use tests::cluster::PATIENCE;
use tests::command::{Finished, finish};
use tests::{Dev, DevOptions, wait};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../clients/python");

/// A Python program that has the client at hand, and then the addresses of the masters.
fn python(dev: &Dev, program: &[&str]) -> Command {
    let config = dev.config();
    let mut command = Command::new("python3");
    command.args(["-W", "error", "-B"]).args(program).current_dir(FOLDER);
    command.args([format!("http://{}", dev.jobtracker()), config.chunkmaster.address]);
    command
}

fn passes(tested: &Finished) {
    assert_eq!(tested.code, Some(0), "{}\n{}", tested.text(), tested.stderr);
    println!("{}", tested.stderr);
}

#[test]
fn the_python_client_does_what_it_says() {
    let dev = Dev::start(&DevOptions::trackers(1));
    passes(&finish(&mut python(&dev, &["test_howdah.py"])));
}

#[test]
fn the_python_client_brings_a_token_where_one_is_needed() {
    let dev = Dev::start(&DevOptions::trackers(1).set("cluster.anonymous_loopback=false"));
    let token = dev.run(&["token", "--user", "ci", "--for", "1h"]).success().text();
    let file = dev.scratch().join("ci.token");
    fs::write(&file, token).expect("a token can be written");
    passes(&finish(python(&dev, &["test_howdah.py"]).arg(file)));
}

#[test]
fn the_python_client_waits_through_a_restart_of_the_jobtracker() {
    const WAITS: &str = "import sys, howdah\n\
        cluster = howdah.Howdah(*sys.argv[1:3], retry_for=600)\n\
        spec = {'name': 'n', 'input': ['/in'], 'output': '/out', 'program': {'builtin': {'name': 'wordcount'}}}\n\
        job = cluster.submit(spec)\n\
        print(job, flush=True)\n\
        print(cluster.wait(job, 600)['state'])\n";
    let mut dev = Dev::start(&DevOptions::trackers(1));
    dev.put_text("a b\n", "/in");
    let _ = dev.run(&["host", "drain", "host-1"]).success();
    let mut command = python(&dev, &["-c", WAITS]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let is_there = || {
        let list = dev.run(&["job", "list", "--format", "json"]).success().text();
        list.contains("job_").then_some(())
    };
    wait::until("the job is submitted", PATIENCE, is_there);
    dev.kill("jobtracker");
    dev.restart("jobtracker");
    let _ = dev.run(&["host", "undrain", "host-1"]).success();
    let waited: Finished = child.wait_with_output().expect("its output can be read").into();
    assert_eq!(waited.code, Some(0), "{}", waited.stderr);
    assert!(waited.text().ends_with("SUCCEEDED"), "{}", waited.text());
}
