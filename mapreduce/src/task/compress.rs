//! Compression of an output's part, block by block. The library's default levels; what the format can check, it checks.

use std::io::{self, Write};

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{FrameEncoder, FrameInfo};
use mapreduce_protocol::Codec;

/// A compressed stream under way, into memory.
pub(crate) enum Compressor {
    Gzip(GzEncoder<Vec<u8>>),
    Bzip2(BzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Snappy(Box<snap::write::FrameEncoder<Vec<u8>>>),
}

impl Compressor {
    /// An empty stream.
    pub(crate) fn new(codec: Codec) -> io::Result<Self> {
        let out = Vec::new();
        Ok(match codec {
            Codec::Gzip => Self::Gzip(GzEncoder::new(out, flate2::Compression::default())),
            Codec::Bzip2 => Self::Bzip2(BzEncoder::new(out, bzip2::Compression::default())),
            Codec::Zstd => {
                let mut encoder = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
            Codec::Lz4 => {
                let info = FrameInfo::new().content_checksum(true);
                Self::Lz4(Box::new(FrameEncoder::with_frame_info(info, out)))
            }
            Codec::Snappy => Self::Snappy(Box::new(snap::write::FrameEncoder::new(out))),
        })
    }

    /// Takes `raw`; what of the compressed bytes is ready.
    pub(crate) fn take(&mut self, raw: &[u8]) -> io::Result<Vec<u8>> {
        let out = match self {
            Self::Gzip(encoder) => encoder.write_all(raw).map(|()| encoder.get_mut()),
            Self::Bzip2(encoder) => encoder.write_all(raw).map(|()| encoder.get_mut()),
            Self::Zstd(encoder) => encoder.write_all(raw).map(|()| encoder.get_mut()),
            Self::Lz4(encoder) => encoder.write_all(raw).map(|()| encoder.get_mut()),
            Self::Snappy(encoder) => encoder.write_all(raw).map(|()| encoder.get_mut()),
        };
        out.map(std::mem::take)
    }

    /// Ends the stream; the rest of the compressed bytes.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Bzip2(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Self::Snappy(mut encoder) => {
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }
}
