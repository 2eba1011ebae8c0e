//! The limits of task processes, from the configuration: a TaskTracker tells them to its tasks, and a job that runs here has
//! the same.

use mapreduce_protocol::TaskSettings;

/// As the sections `task` and `client` say.
pub(crate) fn task_settings(task: &config::Task, client: &config::Client) -> TaskSettings {
    let millis = |time: config::Time| u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX);
    TaskSettings {
        sort_buffer_bytes: task.sort_buffer.0,
        fetch_buffer_bytes: task.fetch_buffer.0,
        parallel_fetches: task.parallel_fetches,
        merge_factor: task.merge_factor,
        fetch_retry_ms: millis(task.fetch_retry),
        fetch_stall_ms: millis(task.fetch_stall),
        connect_timeout_ms: millis(client.connect_timeout),
        request_timeout_ms: millis(client.request_timeout),
        silence_timeout_ms: millis(client.silence_timeout),
        store_retry_ms: millis(client.retry_for),
        hedge_after_ms: millis(client.hedge_after),
        output_replication: task.output_replication,
    }
}
