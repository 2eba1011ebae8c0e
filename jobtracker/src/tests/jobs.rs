//! Jobs: from submission to publication, refusals, and retries.

use super::*;

#[tokio::test]
async fn a_job_goes_from_submission_to_publication() {
    let cluster = Cluster::start().await;
    let job = cluster.submit(&spec(), None).await.unwrap();
    assert_eq!(job.state, JobState::Prep);
    let waits = format!("/v1/jobs/{}?wait_ms=30000", job.id);
    let (ended, ()) = tokio::join!(cluster.get::<JobStatus>(&waits), async {
        let mut tracker = cluster.register().await;
        let map = tracker.launched().await;
        tracker.succeed(map, 1);
        let reduce = tracker.launched().await;
        tracker.succeed(reduce, 2);
        let purge = tracker.beat().await;
        assert_eq!(purge, [TrackerCommand::Purge { job: job.id }]);
    });
    let status = ended.unwrap();
    assert_eq!((status.state, status.input_bytes), (JobState::Succeeded, 1000));
    assert_eq!((status.maps.succeeded, status.maps.node_local), (1, 1));
    let published = cluster.master.files().published.clone();
    assert_eq!(published[0].target.as_str(), "/out");
    assert_eq!(published[0].winners[0].published, "part-r-00000");
    let staging = format!("/.howdah/staging/{}", job.id);
    assert_eq!(published[0].staging.as_str(), staging);
    let counters: JobCounters =
        cluster.get(&format!("/v1/jobs/{}/counters", job.id)).await.unwrap();
    assert_eq!(counters.counters["task.records"], 10);
    let attempts: AttemptList =
        cluster.get(&format!("/v1/jobs/{}/attempts", job.id)).await.unwrap();
    assert_eq!(attempts.attempts.len(), 2);
    let jobs: JobList = cluster.get("/v1/jobs?limit=5").await.unwrap();
    assert_eq!(jobs.jobs[0].id, job.id);
}

#[tokio::test]
async fn a_full_disk_of_the_chunk_master_delays_a_publication_but_fails_no_job() {
    let cluster = Cluster::start().await;
    cluster.master.files().full = 1;
    let status = cluster.run_job().await;
    assert_eq!((status.state, status.failure), (JobState::Succeeded, None));
    assert_eq!(cluster.master.files().full, 0);
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_its_type_and_leaves_nothing() {
    let cluster = Cluster::start().await;
    cluster.master.files().folders.insert("/out/there".parse().unwrap());
    let job = |change: fn(&mut JobSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec
    };
    for (spec, status, expected, needle) in [
        (job(|it| it.input = vec!["/in/no".into()]), 404, "input-not-found", "/in/no"),
        (job(|it| it.output = "/out/there".into()), 409, "output-exists", "/out/there exists"),
        (job(|it| it.reduces = Some(0)), 400, "invalid-job", "at least one reduce"),
        (job(|it| it.name = String::new()), 400, "invalid-job", "name"),
        (job(|it| it.input = vec!["/else".into()]), 403, "forbidden", "/else"),
        (job(|it| it.output = "/else".into()), 403, "forbidden", "write /else"),
    ] {
        let error = cluster.submit(&spec, None).await.unwrap_err();
        assert_eq!(kind(&error), (status, expected.to_owned()), "{error}");
        assert!(error.to_string().contains(needle), "{error}");
    }
    for (folder, entries) in [
        ("/in/empty", &[][..]),
        ("/in/folders", &["a/", "b/"]),
        ("/in/hidden", &["_SUCCESS", "_logs/"]),
    ] {
        cluster.fill_folder(folder, entries);
        let error = cluster.submit(&job_on(&["/in", folder]), None).await.unwrap_err();
        assert_eq!(kind(&error), (404, "input-not-found".to_owned()), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("{folder} holds no files")), "{text}");
    }
    let jobs: JobList = cluster.get("/v1/jobs").await.unwrap();
    assert!(jobs.jobs.is_empty());
    for (path, status) in [
        ("/v1/jobs/job_20261122_0099", 404),
        ("/v1/jobs/nonsense", 400),
        ("/v1/jobs?limit=many", 400),
        ("/v1/jobs/job_20261122_0099/attempts", 404),
    ] {
        let error = cluster.get::<JobStatus>(path).await.unwrap_err();
        assert_eq!(kind(&error).0, status, "{path}: {error}");
    }
}

#[tokio::test]
async fn the_same_key_gives_the_same_job_and_a_restart_loses_none() {
    let mut cluster = Cluster::start().await;
    let job = cluster.submit(&spec(), Some("key-1")).await.unwrap();
    let before: JobtrackerInfo = cluster.get("/v1/cluster").await.unwrap();
    cluster.restart().await;
    let info: JobtrackerInfo = cluster.get("/v1/cluster").await.unwrap();
    assert_eq!((info.epoch, info.unfinished_jobs), (before.epoch.next(), 1));
    let again = cluster.submit(&spec(), Some("key-1")).await.unwrap();
    assert_eq!(again.id, job.id);
    let other = JobSpec { name: "other".to_owned(), ..spec() };
    let reused = cluster.submit(&other, Some("key-1")).await.unwrap_err();
    assert_eq!(kind(&reused), (409, "key-reused".to_owned()));
    let reserved = cluster.submit(&spec(), None).await.unwrap_err();
    assert_eq!(kind(&reserved), (409, "output-exists".to_owned()));
    let path = format!("/v1/jobs/{}/kill", job.id);
    let killed: JobStatus = cluster.client.post(&cluster.address, &path, &()).await.unwrap();
    assert_eq!(killed.state, JobState::Killed);
    let twice = cluster.client.post::<_, JobStatus>(&cluster.address, &path, &()).await;
    assert_eq!(kind(&twice.unwrap_err()), (409, "job-ended".to_owned()));
}
