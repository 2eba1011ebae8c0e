//! Hosts that say that they are not well get no tasks, and get some again when they are.

use std::collections::BTreeSet;
use std::fs;

use tests::cluster::PATIENCE;
use tests::metrics::metric;
use tests::small_disk::SmallDisk;
use tests::{Dev, DevOptions, http, wait};

const SICK: &str = "tasktracker-1";

fn await_ill(dev: &Dev, n: u64) {
    wait::until(&format!("{n} hosts are ill"), PATIENCE, || {
        let ill = metric(dev, "jobtracker", "howdah_jobtracker_trackers_ill ")?;
        (ill as u64 == n).then_some(())
    });
}

/// Runs a job of eight files and returns the hosts of its attempts, all of which must have succeeded.
fn hosts_of_a_job(dev: &Dev, name: &str) -> BTreeSet<String> {
    for nth in 0..8 {
        dev.put_text("a b a\n", &format!("/{name}/{nth}"));
    }
    let text = format!(
        "name: {name}\ninput: [/{name}]\noutput: /out/{name}\nreduces: 4\nprogram: {{builtin: {{name: wordcount}}}}\n"
    );
    let file = dev.job_file(&format!("{name}.yaml"), &text);
    let id = dev.run(&["job", "submit", &file]).success().text();
    dev.await_job(&id, "succeeds", |job| job["state"] == "SUCCEEDED");
    let path = format!("/v1/jobs/{id}/attempts");
    let attempts = http::get(&dev.jobtracker(), &path).expect("an answer").body;
    let attempts = attempts["attempts"].as_array().expect("a list of attempts");
    assert!(attempts.iter().all(|attempt| attempt["state"] == "SUCCEEDED"), "{attempts:?}");
    attempts.iter().map(|it| it["host"].as_str().expect("a host").to_owned()).collect()
}

#[test]
fn a_host_gets_no_tasks_while_its_health_command_complains() {
    let options = DevOptions::trackers(2)
        .set("tasktracker.health_command=if test -e ill; then echo ERROR the fan stands still; fi")
        .set("tasktracker.health_command_interval=200ms");
    let dev = Dev::start(&options);
    let ill = dev.data_dir(SICK).join("ill");
    fs::write(&ill, "").expect("the data folder can be written to");
    await_ill(&dev, 1);
    assert_eq!(hosts_of_a_job(&dev, "one").len(), 1);
    assert!(dev.logs()["jobtracker.log"].contains("ERROR the fan stands still"));
    fs::remove_file(&ill).expect("it was just written");
    await_ill(&dev, 0);
    assert_eq!(hosts_of_a_job(&dev, "two").len(), 2);
}

#[test]
fn a_host_whose_disk_is_nearly_full_gets_no_tasks_until_there_is_room() {
    if !SmallDisk::may_be_mounted() {
        return;
    }
    let options = DevOptions::trackers(2)
        .set("tasktracker.disk_free_min=32MiB")
        .set("tasktracker.health_interval=200ms");
    let mut dev = Dev::start(&options);
    dev.stop();
    let disk = SmallDisk::mount(dev.data_dir(SICK), 64);
    dev.start_again(&DevOptions::default());
    let hog = disk.fill_but(16 << 20);
    await_ill(&dev, 1);
    assert_eq!(hosts_of_a_job(&dev, "one").len(), 1);
    assert!(dev.logs()["jobtracker.log"].contains("make space"));
    drop(hog);
    await_ill(&dev, 0);
    assert_eq!(hosts_of_a_job(&dev, "two").len(), 2);
}
