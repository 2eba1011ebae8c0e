//! Compression of the blocks of map outputs, spills and merges. A block that would not shrink is stored as it is.

use bytes::Bytes;
use mapreduce_protocol::map_output::{BlockHeader, CODEC_LZ4, CODEC_NONE, CODEC_ZSTD};
use mapreduce_protocol::{Failure, FailureKind, MapOutputCompression};

use super::failure::failure;

/// The fastest level: what is compressed here is read once, and soon.
const ZSTD_LEVEL: i32 = 1;

/// Compresses blocks one after the other.
pub(crate) enum BlockCodec {
    None,
    Lz4 { out: Vec<u8> },
    Zstd { compressor: Box<zstd::bulk::Compressor<'static>>, out: Vec<u8> },
}

impl BlockCodec {
    /// As the job says.
    pub(crate) fn new(compression: MapOutputCompression) -> Result<Self, Failure> {
        Ok(match compression {
            MapOutputCompression::None => Self::None,
            MapOutputCompression::Lz4 => Self::Lz4 { out: Vec::new() },
            MapOutputCompression::Zstd => {
                let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|error| {
                    let message = format!("no memory for a compressor: {error}");
                    failure(FailureKind::HostUnfit, message)
                })?;
                Self::Zstd { compressor: Box::new(compressor), out: Vec::new() }
            }
        })
    }

    /// The compressed form of a block and its codec's number, where it is the shorter one.
    pub(crate) fn compress(&mut self, raw: &[u8]) -> Option<(u8, &[u8])> {
        let (codec, length, out) = match self {
            Self::None => return None,
            Self::Lz4 { out } => {
                out.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
                (CODEC_LZ4, lz4_flex::block::compress_into(raw, out).ok()?, out)
            }
            Self::Zstd { compressor, out } => {
                out.resize(zstd::zstd_safe::compress_bound(raw.len()), 0);
                (CODEC_ZSTD, compressor.compress_to_buffer(raw, &mut out[..]).ok()?, out)
            }
        };
        (length < raw.len()).then(|| (codec, &out[..length]))
    }
}

/// The raw bytes of a block whose checksum was right; `None` if they are not what the header says.
pub(crate) fn raw_of(header: &BlockHeader, stored: Bytes) -> Option<Bytes> {
    let length = header.raw_length as usize;
    let raw = match header.codec {
        CODEC_NONE => return Some(stored),
        CODEC_LZ4 => lz4_flex::block::decompress(&stored, length).ok()?,
        CODEC_ZSTD => zstd::bulk::decompress(&stored, length).ok()?,
        _ => return None,
    };
    (raw.len() == length).then(|| raw.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_as_they_were_and_never_grow() {
        let repeated = b"the same again and again ".repeat(3000);
        let mut random = 1_u64;
        let noise: Vec<u8> = (0..70_000)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 56) as u8
            })
            .collect();
        for compression in [MapOutputCompression::Lz4, MapOutputCompression::Zstd] {
            let mut codec = BlockCodec::new(compression).unwrap();
            for raw in [&repeated[..], &noise, b"x", b"", &repeated[..100]] {
                let Some((codec, stored)) = codec.compress(raw) else {
                    assert!(raw.len() < 2 || raw == noise, "{} bytes", raw.len());
                    continue;
                };
                assert!(stored.len() < raw.len());
                let header = BlockHeader {
                    raw_length: u32::try_from(raw.len()).unwrap(),
                    stored_length: u32::try_from(stored.len()).unwrap(),
                    codec,
                    crc32c: 0,
                };
                let stored = Bytes::copy_from_slice(stored);
                assert_eq!(raw_of(&header, stored.clone()).unwrap(), raw);
                let longer = BlockHeader { raw_length: header.raw_length + 1, ..header };
                assert_eq!(raw_of(&longer, stored.clone()), None);
                let shorter = BlockHeader { raw_length: header.raw_length - 1, ..header };
                assert_eq!(raw_of(&shorter, stored), None);
            }
        }
        assert!(BlockCodec::new(MapOutputCompression::None).unwrap().compress(&repeated).is_none());
    }
}
