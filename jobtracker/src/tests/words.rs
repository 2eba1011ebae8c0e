//! Words that the jobs' side and the chunk store's side each define for themselves, as neither may
//! depend on the other's crate.

use chunkstore_protocol::StorePath;
use chunkstore_protocol::path::SYSTEM_FOLDER;

#[test]
fn what_jobs_keep_in_the_chunk_store_lies_in_its_system_folder() {
    use jobtracker_core::{STAGING_ROOT, SYSTEM_ROOT};
    use mapreduce_protocol::HISTORY_ROOT;

    assert_eq!(SYSTEM_ROOT, SYSTEM_FOLDER, "where no job may write");
    let path = |text: &str| text.parse::<StorePath>().expect("a constant path");
    for folder in [STAGING_ROOT, HISTORY_ROOT, crate::init::JOURNALS] {
        assert!(path(folder).is_within(&path(SYSTEM_FOLDER)), "{folder}");
    }
}

#[test]
fn the_core_makes_no_record_that_is_longer_than_the_journal_takes() {
    assert_eq!(jobtracker_core::RECORD_BYTES_MAX, journal::RECORD_BYTES_MAX);
}

#[test]
fn a_staged_output_has_as_many_parts_as_the_client_makes() {
    assert_eq!(mapreduce_protocol::STAGED_PARTS_MAX, chunkstore_client::stores::STAGED_PARTS_MAX);
}
