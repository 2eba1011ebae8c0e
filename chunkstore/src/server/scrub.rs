//! The scrubber: reads the sealed replicas of a disk again, one after the other in the order of their ids, and
//! verifies every block, so that what rots unread, or was deleted by hand, is found while there are others to
//! make it again from. A bad replica goes the way that it goes when a reader finds it. Its place is kept in
//! the data folder, so that a restart goes on where it was.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chunkstore_core::replica::{CommandNumber, Input, ReplicaKey};
use chunkstore_protocol::block::BLOCK_BYTES;
use chunkstore_protocol::{ChunkId, Version};
use clock::Stopwatch;
use ids::UnixMillis;
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::copy::Throttle;
use super::data_dir::{DataDir, OpenError, read_footer};
use super::download::{BLOCKS_PER_READ, Breakage, DownloadError, read_batch};
use super::footer::Footer;
use super::lost;
use super::{READS_MAX, Server, metrics};

/// What opening a replica counts as, beside its bytes: the disk seeks, whatever its length.
const OPEN_BYTES: u64 = 64 << 10;
/// Rounds begin no closer than this, however little there is to read.
const ROUND_MIN: Duration = Duration::from_secs(10);
/// The place is kept no more often than this.
const KEEP_PLACE_EVERY: Duration = Duration::from_secs(5);
/// A batch counts so many times while readers are served: they come first.
const COST_BESIDE_READERS: u64 = 2;

/// Version of the file of the place.
const FORMAT_VERSION: u32 = 1;
const PLACE: &str = "scrub.json";
const PLACE_PARTIAL: &str = "scrub.json.new";

/// How far a round has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    format: u32,
    /// The replica that was read last; none at the beginning of a round.
    after: Option<(ChunkId, Version)>,
    /// By the wall clock, as a round may outlive this process.
    round_started: UnixMillis,
}

impl Place {
    /// Of a round that begins now.
    fn first() -> Self {
        Self { format: FORMAT_VERSION, after: None, round_started: clock::wall() }
    }

    /// As it was kept; the first one if none was, or it can't be understood. Blocks.
    fn read(root: &Path) -> Self {
        let path = root.join(PLACE);
        let understood = match fs::read(&path) {
            Ok(text) => serde_json::from_slice::<Self>(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::first(),
            Err(error) => Err(error),
        };
        match understood {
            Ok(place) if place.format == FORMAT_VERSION => place,
            Ok(Self { format, .. }) => {
                tracing::warn!(path = %path.display(), format, "not of this release: scrubbing anew");
                Self::first()
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "scrubbing anew");
                Self::first()
            }
        }
    }

    /// Blocks.
    fn write(&self, root: &Path) -> io::Result<()> {
        let partial = root.join(PLACE_PARTIAL);
        let mut file = File::create(&partial)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&partial, root.join(PLACE))
    }
}

/// Scrubs every disk that works at `bytes_per_second` each, none if that is 0, until what is returned is
/// dropped.
pub(super) fn start(server: &Arc<Server>, bytes_per_second: u64) -> JoinSet<()> {
    let mut scrubbers = JoinSet::new();
    if bytes_per_second > 0 {
        for dir in server.disks.working() {
            let (server, dir) = (Arc::clone(server), Arc::clone(dir));
            let throttle = Throttle::new(bytes_per_second);
            let behind = server.behind.clone();
            behind.spawn_in(&mut scrubbers, async move {
                Scrubber::new(server, dir, throttle).await.run().await;
            });
        }
    }
    scrubbers
}

/// Reads one replica as the master says, before others of its chunk go; one after the other, so that thousands do not
/// crowd out readers.
pub(super) async fn carry_out(server: Arc<Server>, command: CommandNumber, replica: ReplicaKey) {
    let turn = server.verifying.acquire().await;
    let whole = match server.disks.find(replica).cloned() {
        Some(dir) => match read_all(&server, &dir, None, replica).await {
            Ok(()) => true,
            Err(cause) => {
                if dir.holds(replica) {
                    let found = lost::give_up(&server, replica, None, cause).await;
                    tracing::warn!(chunk = %replica.chunk, %found,
                        "a replica is not whole that was to stay while others go: they stay for now");
                }
                false
            }
        },
        None => false,
    };
    drop(turn);
    // A loop that is gone needs no word.
    let _ = server.replicas.tell(Input::Verified { command, replica, whole }).await;
}

/// Reads and verifies a whole replica, at a pace.
async fn read_all(
    server: &Server,
    dir: &Arc<DataDir>,
    throttle: Option<&Throttle>,
    replica: ReplicaKey,
) -> Result<(), Breakage> {
    let mut opening = dir.begin(move |dir| {
        let file = dir.open_file(replica)?;
        let footer = read_footer(&file, replica)?;
        Ok::<_, OpenError>((Arc::new(file), Arc::new(footer)))
    });
    let (file, footer) = opening.answer().await??;
    for first in (0..footer.blocks.len()).step_by(BLOCKS_PER_READ) {
        let n = (footer.blocks.len() - first).min(BLOCKS_PER_READ);
        let bytes = (n * BLOCK_BYTES) as u64;
        if let Some(throttle) = throttle {
            let readers = server.reads.available_permits() < READS_MAX;
            throttle.pass(if readers { COST_BESIDE_READERS * bytes } else { bytes }).await;
        }
        let (file, footer) = (Arc::clone(&file), Arc::clone(&footer));
        dir.begin(move |_| read_cold(&file, &footer, first, n)).answer().await??;
        metrics::observe_scrubbed(bytes);
    }
    Ok(())
}

struct Scrubber {
    server: Arc<Server>,
    dir: Arc<DataDir>,
    throttle: Throttle,
    place: Place,
    /// Since the place was kept.
    unkept: Stopwatch,
    /// Since this process began the round, or took it up.
    round: Stopwatch,
}

impl Scrubber {
    async fn new(server: Arc<Server>, dir: Arc<DataDir>, throttle: Throttle) -> Self {
        let read = dir.begin(|dir| Place::read(dir.root())).end().await;
        let place = read.unwrap_or_else(|_| Place::first());
        let (unkept, round) = (Stopwatch::start(), Stopwatch::start());
        metrics::observe_scrub_begin(&dir.root().to_string_lossy(), place.round_started);
        Self { server, dir, throttle, place, unkept, round }
    }

    /// Until the disk fails.
    async fn run(mut self) {
        while self.dir.failed().is_none() {
            let after = self.place.after.map(|(chunk, version)| ReplicaKey { chunk, version });
            match self.dir.next_held(after) {
                Some(replica) => {
                    self.verify(replica).await;
                    self.place.after = Some((replica.chunk, replica.version));
                }
                None => self.end_round().await,
            }
            if self.unkept.elapsed() >= KEEP_PLACE_EVERY {
                self.keep_place().await;
            }
        }
    }

    async fn end_round(&mut self) {
        let took =
            Duration::from_millis(clock::wall().0.saturating_sub(self.place.round_started.0));
        metrics::observe_scrub_round(&self.dir.root().to_string_lossy(), took);
        tokio::time::sleep(ROUND_MIN.saturating_sub(self.round.elapsed())).await;
        (self.place, self.round) = (Place::first(), Stopwatch::start());
        let disk = self.dir.root().to_string_lossy().into_owned();
        metrics::observe_scrub_begin(&disk, self.place.round_started);
    }

    async fn keep_place(&mut self) {
        let place = self.place;
        let mut keeping = self.dir.begin(move |dir| {
            place.write(dir.root()).inspect_err(|error| {
                let failed = dir.blame(error);
                tracing::warn!(path = %dir.root().display(), %error, failed,
                    "the scrubber's place can't be kept: a restart scrubs anew");
            })
        });
        // Whether or not it could, it is tried again later.
        let _ = keeping.end().await;
        self.unkept = Stopwatch::start();
    }

    /// Reads a replica; if it is bad, sets it aside and reports it.
    async fn verify(&self, replica: ReplicaKey) {
        self.throttle.pass(OPEN_BYTES).await;
        let read = read_all(&self.server, &self.dir, Some(&self.throttle), replica).await;
        let Err(cause) = read else { return };
        // One that was deleted meanwhile, as the master asked, is not missing.
        if self.dir.holds(replica) {
            let outcome = lost::give_up(&self.server, replica, None, cause).await;
            if let DownloadError::Broken { .. } | DownloadError::Unknown(_) = outcome {
                tracing::warn!(chunk = %replica.chunk, "the scrubber found a bad replica");
                metrics::observe_scrub_bad();
            }
        }
    }
}

/// Verifies `n` blocks from block `first` on, and lets the page cache forget them: nobody asked for them.
fn read_cold(file: &File, footer: &Footer, first: usize, n: usize) -> Result<(), Breakage> {
    read_batch(file, footer, first, n)?;
    let (from, bytes) = ((first * BLOCK_BYTES) as u64, (n * BLOCK_BYTES) as u64);
    fadvise(file, from, std::num::NonZeroU64::new(bytes), Advice::DontNeed)
        .map_err(|error| Breakage::Read(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_kept_and_one_that_cannot_be_understood_is_the_first() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Place::read(folder.path()).after, None);
        let after = Some((ChunkId(0x2a), Version(3)));
        let place = Place { after, ..Place::first() };
        place.write(folder.path()).unwrap();
        assert_eq!(Place::read(folder.path()), place);
        for text in ["", "{\"format\":1}", "garbage"] {
            fs::write(folder.path().join(PLACE), text).unwrap();
            assert_eq!(Place::read(folder.path()).after, None, "{text:?}");
        }
        Place { format: 2, ..place }.write(folder.path()).unwrap();
        assert_eq!(Place::read(folder.path()).after, None);
    }
}
