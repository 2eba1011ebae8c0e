//! Histories of ended jobs.

use super::*;

#[tokio::test]
async fn a_log_of_history_is_only_for_those_who_may_read_its_jobs_output() {
    let cluster = Cluster::start().await;
    let job = cluster.submit(&spec(), None).await.unwrap().id;
    let log = |job: JobId| {
        let attempt = job.task(TaskKind::Map, 0).attempt(0);
        format!("/v1/history/{job}/attempts/{attempt}/log")
    };
    let unknown = JobId { date: job.date, ordinal: 99 };
    let capability = |grants| Capability {
        subject: "somebody".to_owned(),
        role: Role::User,
        grants,
        expires: UnixMillis(u64::MAX),
    };
    for (path, job, status) in [
        ("/home/a", job, 403),
        ("/out", job, 404),
        ("/out", unknown, 403),
        ("/", unknown, 404),
        ("/", job, 404),
    ] {
        let token = cluster.keyring.mint(&capability(vec![Grant::all(path)]));
        let client = cluster.client.with_token(token);
        let error = client.get::<()>(&cluster.address, &log(job)).await.unwrap_err();
        assert_eq!(kind(&error).0, status, "{path} {job}: {error}");
    }
}

#[tokio::test]
async fn a_history_that_can_never_be_written_does_not_stay_in_memory_for_ever() {
    let keep = |it: &mut JobtrackerSettings| {
        it.jobtracker.history_keep = config::Time(Duration::from_hours(24));
        it.jobtracker.finished_jobs_max = 1;
    };
    let cluster = Cluster::start_with(keep).await;
    let first = cluster.run_job().await.id;
    cluster.master.files().folders.remove(&"/out".parse().unwrap());
    let second = cluster.submit(&spec(), None).await.unwrap().id;
    let kill = format!("/v1/jobs/{second}/kill");
    let _: JobStatus = cluster.client.post(&cluster.address, &kill, &()).await.unwrap();
    let waiting = clock::Stopwatch::start();
    loop {
        let list: JobList = cluster.get("/v1/jobs").await.unwrap();
        if list.jobs.iter().all(|job| job.id == second) {
            break;
        }
        assert!(waiting.elapsed() < Duration::from_secs(20), "{first} is not forgotten");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn histories_of_days_that_are_long_past_are_removed_with_their_months_and_years() {
    let keyring = Keyring::new(&Secret::random());
    let master = Master::default();
    let chunkmaster = master.serve(&keyring);
    let root = "/.howdah/history";
    for folder in [
        "",
        "/unfinished",
        "/failed",
        "/failed/job_20261022_0001",
        "/failed/job_20261022_0002",
        "/failed/job_20261023_0001",
        "/failed/job_20261023_0002",
        "/failed/job_20261122_0007",
        "/2025",
        "/2025/12",
        "/2025/12/31",
        "/2026",
        "/2026/10",
        "/2026/10/22",
        "/2026/10/23",
        "/2026/10/23/job_20261023_0001",
        "/2026/11",
        "/2026/11/22",
    ] {
        let folder = format!("{root}{folder}").parse().unwrap();
        assert!(master.files().folders.insert(folder));
    }
    let dir = tempfile::tempdir().unwrap();
    let store = crate::store::Store::new(&settings(dir.path(), &keyring, &chunkmaster)).patient();
    // 2026-11-22T12:00:00Z: the 23rd of October began 30.5 days before.
    let now = UnixMillis(1_795_305_600_000 + 12 * 3_600_000);
    let keep = Duration::from_hours(30 * 24);
    // One of the 22nd runs until today; who knew the other one has lost its journal.
    let is_known = async |job| Ok(job == JobId { date: 20_261_022, ordinal: 1 });
    crate::history::sweep::sweep(&store, now, keep, is_known).await.unwrap();
    let left: Vec<_> = master.files().folders.iter().map(ToString::to_string).collect();
    let expected = [
        "",
        "/2026",
        "/2026/10",
        "/2026/10/23",
        "/2026/10/23/job_20261023_0001",
        "/2026/11",
        "/2026/11/22",
        "/failed",
        "/failed/job_20261022_0001",
        "/failed/job_20261023_0002",
        "/failed/job_20261122_0007",
        "/unfinished",
    ];
    assert_eq!(left, expected.map(|folder| format!("{root}{folder}")));
}
