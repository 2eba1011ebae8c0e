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

#[tokio::test]
async fn a_host_stands_where_the_topology_file_says_also_after_an_edit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("racks");
    let write = |text: &str| {
        let beside = folder.path().join("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, &file).unwrap();
    };
    write("host-1 /rack-1\n");
    let cluster = Cluster::start_with(|settings| {
        settings.topology = daemon::Topology::open(Some(&file)).unwrap();
    });
    let cluster = cluster.await;
    let rack = async || {
        let _ = cluster.register().await;
        let hosts: HostList = cluster.get("/v1/hosts").await.unwrap();
        hosts.hosts[0].rack.as_ref().unwrap().to_string()
    };
    assert_eq!(rack().await, "/rack-1");
    cluster.metric("howdah_jobtracker_topology_file_wrong 0").await;
    write("host-1 /rack-2\n");
    assert_eq!(rack().await, "/rack-2");
    write("host-1\n");
    assert_eq!(rack().await, "/rack-2");
    cluster.metric("howdah_jobtracker_topology_file_wrong 1").await;
}
