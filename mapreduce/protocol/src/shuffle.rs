//! The shuffle's grammar: which URL a reduce asks, and how the answer is framed. One request carries
//! many maps' segments (Hadoop: `ShuffleHandler`'s `map=a,b,c`).
//!
//! `GET /v1/shuffle/{job}/{partition}?maps=attempt,attempt,…` → a body of segments in the order asked,
//! each a [`SegmentHeader`] and its bytes (a run of map-output blocks with their own checksums).

use std::str::FromStr;

use crate::{AttemptId, JobId};

/// Map attempts that one request may name.
pub const MAPS_PER_REQUEST_MAX: usize = 100;

/// Bytes of an encoded [`SegmentHeader`].
pub const SEGMENT_HEADER_BYTES: usize = 24;

const MAGIC: u32 = u32::from_le_bytes(*b"HSEG");

/// What a capability must allow to fetch this job's map outputs. No path of a file, so that no right to
/// a path covers it, nor the other way round.
#[must_use]
pub fn resource(job: JobId) -> String {
    format!("shuffle/{job}")
}

/// Path and query of a request for `maps`' segments of `partition`.
#[must_use]
pub fn path_and_query(job: JobId, partition: u32, maps: &[AttemptId]) -> String {
    let maps: Vec<_> = maps.iter().map(ToString::to_string).collect();
    format!("/v1/shuffle/{job}/{partition}?maps={}", maps.join(","))
}

/// Parses the `maps` parameter; `None` if it is empty, too long or not map attempts of `job`.
#[must_use]
pub fn parse_maps(job: JobId, text: &str) -> Option<Vec<AttemptId>> {
    let maps: Vec<_> = text.split(',').map(AttemptId::from_str).collect::<Result<_, _>>().ok()?;
    let fits = maps.len() <= MAPS_PER_REQUEST_MAX;
    let ours = maps.iter().all(|m| m.task.job == job && m.task.kind == crate::TaskKind::Map);
    (fits && ours).then_some(maps)
}

/// What stands before each segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The map's ordinal.
    pub map: u32,
    /// Number of its attempt.
    pub attempt: u32,
    /// Whether the output is there; if not, no bytes follow.
    pub found: bool,
    /// Bytes that follow.
    pub length: u64,
}

impl SegmentHeader {
    /// The header's bytes on the wire.
    #[must_use]
    pub fn encode(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.map.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.attempt.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(self.found).to_le_bytes());
        bytes[16..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` if it is not one.
    #[must_use]
    pub fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes of an array"))
        };
        let length = u64::from_le_bytes(bytes[16..].try_into().expect("eight bytes of an array"));
        let found = match (word(12), length) {
            (1, _) => true,
            (0, 0) => false,
            _ => return None,
        };
        (word(0) == MAGIC).then_some(Self { map: word(4), attempt: word(8), found, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskKind;

    #[test]
    fn what_the_client_asks_is_what_the_server_reads() {
        let job = JobId { date: 20_261_122, ordinal: 7 };
        let maps =
            [job.task(TaskKind::Map, 0).attempt(0), job.task(TaskKind::Map, 12).attempt(1001)];
        let url = path_and_query(job, 3, &maps);
        let (path, query) = url.split_once("?maps=").unwrap();
        assert_eq!(path, "/v1/shuffle/job_20261122_0007/3");
        assert_eq!(parse_maps(job, query).unwrap(), maps);
        assert!(parse_maps(JobId { ordinal: 8, ..job }, query).is_none());
        assert!(parse_maps(job, "").is_none());
    }

    #[test]
    fn segment_headers_round_trip_and_garbage_is_refused() {
        let header = SegmentHeader { map: 5, attempt: 2, found: true, length: 1 << 33 };
        assert_eq!(SegmentHeader::decode(&header.encode()), Some(header));
        let mut bytes = header.encode();
        bytes[0] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), None);
        let lost = SegmentHeader { map: 5, attempt: 2, found: false, length: 0 };
        assert_eq!(SegmentHeader::decode(&lost.encode()), Some(lost));
    }
}
