//! Heartbeats: who may send them, and connections that break.

use super::*;

#[tokio::test]
async fn an_old_terms_heartbeat_is_refused_and_roles_are_kept_apart() {
    let mut cluster = Cluster::start().await;
    let message = cluster.register().await.message();
    cluster.restart().await;
    let path = "/v1/trackers/heartbeat";
    let call = |client: Client| {
        let (address, message) = (cluster.address.clone(), message.clone());
        async move {
            let answer = client.post::<_, TrackerHeartbeatReply>(&address, path, &message).await;
            kind(&answer.unwrap_err())
        }
    };
    assert_eq!(call(cluster.tracker.clone()).await, (409, "not-registered".to_owned()));
    assert_eq!(call(cluster.client.clone()).await, (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn a_broken_connection_takes_its_parked_heartbeat_with_it() {
    let cluster = Cluster::start().await;
    let mut tracker = cluster.register().await;
    let message = tracker.message();
    let (client, address) = (cluster.tracker.clone(), cluster.address.clone());
    let parked = tokio::spawn(async move {
        client.post::<_, TrackerHeartbeatReply>(&address, "/v1/trackers/heartbeat", &message).await
    });
    cluster.metric("howdah_jobtracker_heartbeats_parked 1").await;
    parked.abort();
    cluster.metric("howdah_jobtracker_heartbeats_parked 0").await;
    let job = cluster.submit(&spec(), None).await.unwrap();
    let status = cluster.planned(job.id).await;
    assert_eq!(status.maps.attempts, 0, "nobody would hear of it");
    assert_eq!(tracker.launched().await.task.job, job.id);
}
