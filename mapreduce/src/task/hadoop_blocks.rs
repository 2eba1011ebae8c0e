//! The blocks in which Hadoop writes `.snappy` and `.lz4` files (its `BlockCompressorStream`): the length of what a block
//! holds, then runs of compressed bytes, each behind its length, until that much has come out. Numbers are big-endian.
//! There are no checksums.

use std::io::{self, BufRead, ErrorKind, Read};

use mapreduce_protocol::Codec;

/// Length limit of what a block holds, and of its compressed bytes: Hadoop writes 256 KiB unless it is told otherwise
/// (`io.compression.codec.snappy.buffersize`).
const BLOCK_BYTES_MAX: usize = 64 << 20;

/// See the module.
pub(super) struct HadoopBlocks<R> {
    raw: R,
    codec: Codec,
    compressed: Vec<u8>,
    /// What came out of the last run.
    run: Vec<u8>,
    /// First byte of it that is not given on.
    at: usize,
    /// Bytes of the block that are still to come out.
    left: usize,
}

impl<R: BufRead> HadoopBlocks<R> {
    /// In the codec's raw format.
    pub(super) fn new(raw: R, codec: Codec) -> Self {
        Self { raw, codec, compressed: Vec::new(), run: Vec::new(), at: 0, left: 0 }
    }

    /// Decodes the next run; `false` at the end of the file.
    fn next_run(&mut self) -> io::Result<bool> {
        while self.left == 0 {
            if self.raw.fill_buf()?.is_empty() {
                return Ok(false);
            }
            self.left = self.length()?;
        }
        let n = self.length()?;
        self.compressed.resize(n, 0);
        self.raw.read_exact(&mut self.compressed)?;
        self.run.resize(self.left, 0);
        let decoded = match self.codec {
            Codec::Snappy => {
                let n = snap::raw::decompress_len(&self.compressed)?;
                let room = self.run.get_mut(..n).ok_or_else(|| malformed("a run is too long"))?;
                snap::raw::Decoder::new().decompress(&self.compressed, room)?
            }
            Codec::Lz4 => lz4_flex::block::decompress_into(&self.compressed, &mut self.run)
                .map_err(|error| malformed(&error.to_string()))?,
            Codec::Gzip | Codec::Bzip2 | Codec::Zstd => {
                return Err(malformed("it is not in Hadoop's blocks"));
            }
        };
        self.run.truncate(decoded);
        self.at = 0;
        self.left -= decoded;
        Ok(true)
    }

    fn length(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4];
        self.raw.read_exact(&mut bytes)?;
        let length = u32::from_be_bytes(bytes) as usize;
        if length > BLOCK_BYTES_MAX {
            return Err(malformed(
                "it begins neither as the format's frames do nor as Hadoop's blocks, or a block is torn",
            ));
        }
        Ok(length)
    }
}

fn malformed(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason.to_owned())
}

impl<R: BufRead> Read for HadoopBlocks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.run.len() {
            if !self.next_run()? {
                return Ok(0);
            }
        }
        let n = (&self.run[self.at..]).read(buffer)?;
        self.at += n;
        Ok(n)
    }
}
