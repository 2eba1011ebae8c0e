//! What jobs read: files of many chunks, folders, and what changes under their plans.

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
