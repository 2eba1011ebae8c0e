//! `fs text`: what files hold, decompressed where the ends of their names say that they are compressed.

use std::io::{self, BufRead, Read};
use std::pin::pin;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use chunkstore_client::ChunkStore;
use chunkstore_protocol::StorePath;
use clap::Args;
use futures_util::{Stream, TryStreamExt as _, stream};
use mapreduce_protocol::Codec;
use object_store::GetOptions;
use tokio::sync::mpsc;

use super::expand::expand_files;
use super::place::{Place, Places};
use super::read::{Enough, flush, write, write_file};
use super::{doing, urls};
use crate::failures::Failures;
use crate::session::Session;

/// Pieces of a file that wait to be decompressed.
const PIECES: usize = 16;

/// Bytes that come out at once.
const BLOCK_BYTES: usize = 256 << 10;

/// Arguments of `fs text`.
#[derive(Debug, Args)]
pub(super) struct TextArgs {
    /// The files; patterns are expanded
    #[arg(required = true)]
    paths: Vec<Place>,
}

pub(super) async fn text(session: &Session, args: &TextArgs) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    match Place::of_one_kind(&args.paths)? {
        Places::Own(patterns) => {
            let store = session.store().await?;
            for path in expand_files(&store, &patterns, &mut failures).await? {
                let written = write_text(&store, &path).await;
                let written = written.with_context(|| doing("read", &path));
                if let Some(Err(Enough)) = failures.take(written)? {
                    return Ok(());
                }
            }
        }
        Places::Urls(patterns) => {
            for meant in urls::expand(session, &patterns, &mut failures).await? {
                let written = write_text_of_object(&meant).await;
                let written = written.with_context(|| format!("cannot read {}", meant.url));
                if let Some(Err(Enough)) = failures.take(written)? {
                    return Ok(());
                }
            }
        }
    }
    flush()?;
    failures.end()
}

async fn write_text(store: &ChunkStore, path: &StorePath) -> Written {
    let Some(codec) = Codec::of_path(path.as_str()) else {
        return write_file(store, path).await;
    };
    let reader = store.open(path).await?;
    let pieces = stream::try_unfold(reader, async |mut reader| {
        let piece = reader.next().await?;
        anyhow::Ok(piece.map(|piece| (piece, reader)))
    });
    decompressed(pieces, codec).await
}

async fn write_text_of_object(meant: &urls::Meant) -> Written {
    let meta = meant.object().await?;
    let options = GetOptions { if_match: meta.e_tag.clone(), ..GetOptions::default() };
    let got = meant.store.objects().get_opts(&meta.location, options).await;
    let pieces = got?.into_stream().map_err(anyhow::Error::from);
    match Codec::of_path(meta.location.as_ref()) {
        Some(codec) => decompressed(pieces, codec).await,
        None => as_it_is(pieces).await,
    }
}

type Written = anyhow::Result<Result<(), Enough>>;

async fn as_it_is(pieces: impl Stream<Item = anyhow::Result<Bytes>>) -> Written {
    let mut pieces = pin!(pieces);
    while let Some(piece) = pieces.try_next().await? {
        if write(&piece)?.is_err() {
            return Ok(Err(Enough));
        }
    }
    Ok(Ok(()))
}

/// Decompresses on a thread of its own, while more is read.
async fn decompressed(pieces: impl Stream<Item = anyhow::Result<Bytes>>, codec: Codec) -> Written {
    let (to_decoder, received) = mpsc::channel(PIECES);
    let writing = tokio::task::spawn_blocking(move || write_decoded(received, codec));
    let mut pieces = pin!(pieces);
    while let Some(piece) = pieces.try_next().await? {
        // Who has seen enough, or found no such file, stops listening.
        if to_decoder.send(piece).await.is_err() {
            break;
        }
    }
    drop(to_decoder);
    writing.await.context("the thread that decompresses is gone")?
}

fn write_decoded(received: mpsc::Receiver<Bytes>, codec: Codec) -> Written {
    let broken = |error: io::Error| {
        anyhow!("it is no whole {codec} file: {error}; `howdah fs cat` writes it as it is")
    };
    let mut raw = Received { received, piece: Bytes::new() };
    if raw.fill_buf().map_err(broken)?.is_empty() {
        // Some codecs write nothing for nothing.
        return Ok(Ok(()));
    }
    let mut decoder = mapreduce::runtime::decoder(codec, raw).map_err(broken)?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match decoder.read(&mut block) {
            Ok(0) => return Ok(Ok(())),
            Ok(n) => {
                if write(&block[..n])?.is_err() {
                    return Ok(Err(Enough));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
}

/// The pieces of a file, as a reader.
struct Received {
    received: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl BufRead for Received {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() {
            let Some(piece) = self.received.blocking_recv() else { break };
            self.piece = piece;
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, n: usize) {
        self.piece = self.piece.split_off(n);
    }
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}
