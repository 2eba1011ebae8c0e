//! The web page and the routes that it uses besides other clients': events, time lines, parts of
//! logs, jobs in YAML.

use mapreduce_protocol::{PartitionList, Timeline};
use net::reqwest::{Method, Response};

use super::*;
use crate::events::LISTENERS_MAX;

impl Cluster {
    async fn raw(&self, client: &Client, path: &str) -> Result<Response, CallError> {
        let request = client.request(Method::GET, &self.address, path);
        client.send(&self.address, request).await
    }

    /// A client with a token that is valid for this long.
    fn for_a_while(&self, long: Duration) -> Client {
        let expires = clock::wall() + long;
        let token = self.keyring.mint(&Capability::unlimited("a", Role::User, expires));
        Client::new(client_settings()).with_token(token)
    }
}

/// Reads events until one contains all these texts; `None` if they end before.
async fn hear(events: &mut Response, texts: &[&str]) -> Option<String> {
    let mut heard = String::new();
    let all = async {
        while let Some(piece) = events.chunk().await.ok().flatten() {
            heard.push_str(std::str::from_utf8(&piece).unwrap());
            let holds_all = |event: &&str| texts.iter().all(|text| event.contains(text));
            if let Some(event) = heard.split("\n\n").find(holds_all) {
                return Some(event.to_owned());
            }
        }
        None
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("it is told in time")
}

#[tokio::test]
async fn the_page_needs_no_token_and_all_that_it_asks_for_does() {
    let cluster = Cluster::start().await;
    let stranger = Client::new(client_settings());
    for (path, media) in [("/", "text/html"), ("/web/main.js", "text/javascript")] {
        let answer = cluster.raw(&stranger, path).await.unwrap();
        let headers = answer.headers();
        assert!(headers["content-type"].to_str().unwrap().starts_with(media), "{headers:?}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(headers.contains_key("content-security-policy") && headers.contains_key("etag"));
    }
    let missing = cluster.raw(&stranger, "/web/no.js").await.unwrap_err();
    assert_eq!(kind(&missing), (404, "not-found".to_owned()));
    for path in [
        "/v1/events",
        "/v1/store/report",
        "/v1/files?path=/",
        "/v1/files/stat?path=/in",
        "/v1/files/content?path=/in",
        "/v1/jobs/job_20261122_0001/timeline",
        "/v1/jobs/job_20261122_0001/partitions",
        "/v1/jobs/job_20261122_0001/attempts/attempt_20261122_0001_m_000000_0/log",
    ] {
        let refused = cluster.raw(&stranger, path).await.unwrap_err();
        assert_eq!(kind(&refused).0, 401, "{path}");
        let tracker = cluster.raw(&cluster.tracker, path).await.unwrap_err();
        assert_eq!(kind(&tracker).0, 403, "{path}: TaskTrackers have no business there");
    }
}

#[tokio::test]
async fn listeners_hear_of_a_job_from_its_submission_to_its_end() {
    let mut cluster = Cluster::start().await;
    let mut events = cluster.raw(&cluster.client, "/v1/events").await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    assert!(hear(&mut events, &["event: cluster"]).await.unwrap().contains("\"trackers\":0"));
    let status = cluster.run_job().await;
    let id = format!("\"id\":\"{}\"", status.id);
    let ended = [&id, "\"state\":\"SUCCEEDED\""];
    assert!(hear(&mut events, &ended).await.is_some());
    // A later listener first gets the known state, without other jobs.
    let path = format!("/v1/events?job={}", status.id);
    let mut late = cluster.raw(&cluster.client, &path).await.unwrap();
    assert!(hear(&mut late, &ended).await.is_some());
    let bad = cluster.raw(&cluster.client, "/v1/events?job=7").await.unwrap_err();
    assert_eq!(kind(&bad).0, 400);
    let stopped = clock::Stopwatch::start();
    cluster.restart().await;
    assert!(stopped.elapsed() < Duration::from_secs(4), "listeners hold up no stop");
    assert_eq!(hear(&mut events, &["never"]).await, None, "they end");
}

#[tokio::test]
async fn nobody_listens_longer_than_his_token_lasts() {
    let cluster = Cluster::start().await;
    let client = cluster.for_a_while(Duration::from_secs(3));
    let mut events = cluster.raw(&client, "/v1/events").await.unwrap();
    assert_eq!(hear(&mut events, &["never"]).await, None);
}

#[tokio::test]
async fn so_many_may_listen_and_a_place_that_comes_free_is_given_again() {
    let cluster = Cluster::start().await;
    let one = || cluster.raw(&cluster.client, "/v1/events");
    let mut all = Vec::new();
    for _ in 0..LISTENERS_MAX {
        all.push(one().await.expect("there is a place"));
    }
    assert_eq!(kind(&one().await.unwrap_err()), (429, "too-many-requests".to_owned()));
    all.pop();
    let waiting = clock::Stopwatch::start();
    while one().await.is_err() {
        assert!(waiting.elapsed() < Duration::from_secs(20), "the place is not free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_timeline_and_partitions_are_told_while_a_job_runs_and_of_what_is_remembered() {
    let cluster = Cluster::start().await;
    let job = cluster.submit(&spec(), None).await.unwrap().id;
    cluster.planned(job).await;
    let mut tracker = cluster.register().await;
    let map = tracker.launched().await;
    let timeline: Timeline = cluster.get(&format!("/v1/jobs/{job}/timeline")).await.unwrap();
    let told: Vec<_> = timeline.attempts.iter().map(|it| (it.attempt, it.bytes)).collect();
    assert_eq!((told, timeline.next), (vec![(map, Some(1000))], None));
    let list: PartitionList = cluster.get(&format!("/v1/jobs/{job}/partitions")).await.unwrap();
    assert!(list.partitions.len() == 1 && list.partitions[0].estimate);
    tracker.succeed(map, 1);
    let reduce = tracker.launched().await;
    tracker.succeed(reduce, 2);
    tracker.beat().await;
    let _ended: JobStatus = cluster.get(&format!("/v1/jobs/{job}?wait_ms=30000")).await.unwrap();
    let timeline: Timeline = cluster.get(&format!("/v1/jobs/{job}/timeline")).await.unwrap();
    let told: Vec<_> = timeline.attempts.iter().map(|it| it.attempt).collect();
    assert_eq!(told, [map, reduce]);
    let unknown = cluster.get::<Timeline>("/v1/jobs/job_20261122_9999/timeline").await;
    assert_eq!(kind(&unknown.unwrap_err()).0, 404);
}

#[tokio::test]
async fn a_job_file_is_checked_and_submitted_as_yaml() {
    let cluster = Cluster::start().await;
    let send = async |query: &str, text: &'static str| {
        let path = format!("/v1/jobs{query}");
        let request = cluster.client.request(Method::POST, &cluster.address, &path);
        let request = request.header("content-type", "application/yaml; charset=utf-8").body(text);
        cluster.client.exchange::<serde_json::Value>(&cluster.address, request).await
    };
    let job = "name: count\ninput: [/in]\noutput: /out\nprogram:\n  builtin: {name: wordcount}\n";
    let checked = send("?check=true", job).await.unwrap();
    assert_eq!(checked["job"]["name"], "count");
    let none: JobList = cluster.get("/v1/jobs").await.unwrap();
    assert_eq!(none.jobs, []);
    let wrong = send("", "name: count\ninput: [/in]\nouput: /out\n").await.unwrap_err();
    assert_eq!(kind(&wrong), (400, "invalid-request".to_owned()));
    assert!(wrong.to_string().contains("ouput") && wrong.to_string().contains("line 3"), "{wrong}");
    let absent = "name: a\ninput: [/in/no]\noutput: /out\nprogram: {builtin: {name: wordcount}}\n";
    assert_eq!(kind(&send("?check=true", absent).await.unwrap_err()).1, "input-not-found");
    let accepted = send("", job).await.unwrap();
    let listed: JobList = cluster.get("/v1/jobs?state=PREP&pool=default").await.unwrap();
    let running: JobList = cluster.get("/v1/jobs?state=RUNNING").await.unwrap();
    let ids = listed.jobs.iter().chain(&running.jobs).map(|job| job.id.to_string());
    assert!(ids.collect::<Vec<_>>().contains(&accepted["id"].as_str().unwrap().to_owned()));
    let before = format!("/v1/jobs?before={}", accepted["id"].as_str().unwrap());
    assert_eq!(cluster.get::<JobList>(&before).await.unwrap().jobs, []);
}
