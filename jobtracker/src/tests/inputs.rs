//! Inputs of jobs: files of many chunks, folders, and changes while they are being planned.

use super::*;

#[tokio::test]
async fn a_file_of_more_chunks_than_one_answer_tells_is_read_to_its_end() {
    let cluster = Cluster::start().await;
    cluster.master.files().chunk_bytes.insert("/in".parse().unwrap(), 150);
    let job = cluster.submit(&spec(), None).await.unwrap();
    let status = cluster.planned(job.id).await;
    assert_eq!((status.maps.total, status.input_bytes), (7, 1000));
}

#[tokio::test]
async fn a_plan_that_is_made_again_leaves_no_list_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, master) = (Keyring::new(&Secret::random()), Master::default());
    let settings = settings(dir.path(), &keyring, &master.serve(&keyring));
    let store = crate::store::Store::new(&settings).prompt();
    let staging: StorePath = "/.howdah/staging/job_20261122_0001".parse().unwrap();
    let names = ["_splits-a", "_splits-b", "attempt"];
    let entries = names.map(|name| (staging.join(name).unwrap(), 7));
    master.files().folders.insert(staging.clone());
    master.files().lengths.extend(entries);
    crate::splits::remove_former_lists(&store, &staging).await.unwrap();
    let left: Vec<_> = master.files().lengths.keys().cloned().collect();
    assert_eq!(left, [staging.join("attempt").unwrap()]);
}

#[tokio::test]
async fn a_folder_is_read_if_a_file_stands_anywhere_in_it() {
    let cluster = Cluster::start().await;
    cluster.fill_folder("/in/mixed", &["_SUCCESS", "a/", "file", "z/"]);
    let job = cluster.submit(&job_on(&["/in/mixed"]), None).await.unwrap();
    let status = cluster.planned(job.id).await;
    assert_eq!((status.maps.total, status.input_bytes), (1, 10));
}

#[tokio::test]
async fn an_input_that_is_replaced_between_two_answers_fails_the_job() {
    let cluster = Cluster::start().await;
    cluster.master.files().chunk_bytes.insert("/in".parse().unwrap(), 150);
    cluster.master.files().replaced = true;
    let job = cluster.submit(&spec(), None).await.unwrap();
    let waits = format!("/v1/jobs/{}?wait_ms=30000", job.id);
    let status: JobStatus = cluster.get(&waits).await.unwrap();
    let failure = status.failure.expect("it can't be planned");
    assert!(failure.contains("/in was replaced"), "{failure}");
}

#[tokio::test]
async fn a_log_is_no_input_whatever_of_it_is_sealed_and_wherever_it_lies() {
    let cluster = Cluster::start().await;
    cluster.fill_folder("/in/mixed", &["a", "b", "c"]);
    for (log, length) in [("/in/log", 0), ("/in/mixed/a", 0), ("/in/mixed/c", 10)] {
        let path: StorePath = log.parse().unwrap();
        cluster.master.files().lengths.insert(path.clone(), length);
        cluster.master.files().logs.insert(path.clone());
        let input = if log == "/in/log" { log } else { "/in/mixed" };
        let said = match cluster.submit(&job_on(&[input]), None).await {
            Err(refused) => refused.to_string(),
            // A submission checks only the first entries, the plan all of them.
            Ok(job) => {
                let waits = format!("/v1/jobs/{}?wait_ms=30000", job.id);
                let status: JobStatus = cluster.get(&waits).await.unwrap();
                status.failure.expect("it can't be planned")
            }
        };
        assert!(said.contains(&format!("{log} is a log")) && said.contains("fs cat"), "{said}");
        cluster.master.files().logs.remove(&path);
    }
}
