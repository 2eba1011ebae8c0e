//! Compression of an output's part, block by block. The library's default levels; what the format can check, it checks.

use std::io::{self, Write};

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{FrameEncoder, FrameInfo};
use mapreduce_protocol::Codec;

/// Raw bytes of a frame of zstd, about: a job that reads the part splits it between frames.
const FRAME_BYTES: u64 = 16 << 20;

/// A compressed stream under way, into memory.
pub(crate) enum Compressor {
    Gzip(GzEncoder<Vec<u8>>),
    Bzip2(BzEncoder<Vec<u8>>),
    Zstd {
        encoder: zstd::Encoder<'static, Vec<u8>>,
        /// Raw bytes in the frame under way.
        in_frame: u64,
    },
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
            Codec::Zstd => Self::Zstd { encoder: frame(out)?, in_frame: 0 },
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
            Self::Zstd { encoder, in_frame } => {
                if *in_frame >= FRAME_BYTES {
                    let next = frame(Vec::new())?;
                    let ended = std::mem::replace(encoder, next).finish()?;
                    (*encoder.get_mut(), *in_frame) = (ended, 0);
                }
                *in_frame += raw.len() as u64;
                encoder.write_all(raw).map(|()| encoder.get_mut())
            }
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
            Self::Zstd { encoder, .. } => encoder.finish(),
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Self::Snappy(mut encoder) => {
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }
}

fn frame(out: Vec<u8>) -> io::Result<zstd::Encoder<'static, Vec<u8>>> {
    let mut encoder = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_part_has_frames_between_which_it_can_be_split() {
        let line = b"the same line again and again\n";
        let mut compressor = Compressor::new(Codec::Zstd).unwrap();
        let (mut whole, mut n) = (Vec::new(), 0_u64);
        while n < 5 * FRAME_BYTES / 2 {
            let block = line.repeat(3000);
            n += block.len() as u64;
            whole.extend(compressor.take(&block).unwrap());
        }
        whole.extend(compressor.finish().unwrap());
        let mut lengths = Vec::new();
        let mut rest = &whole[..];
        while !rest.is_empty() {
            let (frame, others) =
                rest.split_at(zstd::zstd_safe::find_frame_compressed_size(rest).unwrap());
            lengths.push(zstd::decode_all(frame).unwrap().len() as u64);
            rest = others;
        }
        assert_eq!((lengths.len(), lengths.iter().sum::<u64>()), (3, n));
        assert!(lengths[0] >= FRAME_BYTES && lengths[0] < FRAME_BYTES + (1 << 20), "{lengths:?}");
    }
}
