//! What users remove is not gone at once: it moves to a folder of its own in the trash, under the
//! path that it had, and `rename` brings it back. The oldest folder goes when its time is over, or
//! when the chunkservers run short of space. The tree itself says how old each folder is; only the
//! time of the next look is soft state.

use std::time::Duration;

use chunkstore_protocol::path::{SYSTEM_FOLDER, TRASH_FOLDER};
use chunkstore_protocol::{FileId, StorePath};
use ids::{Monotonic, Now, UnixMillis};

use super::durable::Writer;
use super::error::FsError;
use super::namespace::{EntryKind, Walk};
use super::record::{Record, Stamp};
use super::servers::Shortage;
use super::tree::Spot;
use super::{Effect, Master, Notice, Output, RECLAIM_PAUSE};

/// Folders of the trash that one call removes at most: each costs a record, and is reclaimed in
/// steps.
const REMOVALS_PER_CALL: usize = 20;
/// Heartbeats until a removal shows in what servers report: one carries the command, another one
/// the result, and the others are for servers with much to delete.
const FREED_SHOWS_AFTER: u32 = 5;

/// Why a folder of the trash was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrashReason {
    /// Its time was over.
    Expired,
    /// The live chunkservers that take new chunks have too little space left, all together or all but one.
    Pressure {
        /// Free on them, bytes.
        free_bytes: u64,
        /// The capacity of these servers, bytes.
        capacity_bytes: u64,
    },
}

/// Bytes that were removed under pressure and may not show yet: servers have still to delete them
/// and to report that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Freed {
    bytes: u64,
    /// When it shows at the latest.
    until: Monotonic,
}

impl Freed {
    fn bytes_at(self, now: Monotonic) -> u64 {
        if now < self.until { self.bytes } else { 0 }
    }
}

impl Master {
    /// Whether an entry that is removed goes to the trash. What the system keeps, and what is in
    /// the trash already, does not; nor does a new file that was never closed, as there is nothing
    /// to restore.
    pub(super) fn is_kept(&self, path: &StorePath, entry: FileId, skip_trash: bool) -> bool {
        let system: StorePath = SYSTEM_FOLDER.parse().expect("the constant is a path");
        let is_new = |writer: &Writer| writer.reopened_at.is_none();
        !skip_trash
            && !self.settings.trash_interval.is_zero()
            && !path.is_within(&system)
            && !self.durable.writer(entry).is_some_and(is_new)
    }

    pub(super) fn plan_trash(
        &self,
        at: UnixMillis,
        stamp: &Stamp,
        owner: &str,
        (path, entry): (&StorePath, FileId),
    ) -> Result<Record, FsError> {
        let too_long = || FsError::TooLongForTrash { path: path.clone() };
        // Ids are unique, so no two folders have the same name.
        let FileId(number) = self.durable.next_file(0);
        let folder = format!("{}-{number}", compact(at));
        let to = format!("{TRASH_FOLDER}/{folder}{path}");
        let to: StorePath = to.parse().map_err(|_| too_long())?;
        if !self.durable.namespace().fits_at(entry, &to) {
            return Err(too_long());
        }
        let Spot { parent, folders, name } = self.spot(&to, true)?;
        let (stamp, name, owner) = (stamp.clone(), name.to_owned(), self.admitted(owner)?);
        Ok(Record::Trashed { stamp, at, entry, parent, folders, name, owner })
    }

    /// Looks into the trash, when it is time to.
    pub(super) fn empty_trash(&mut self, now: Now, out: &mut Output) {
        if self.trash_at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        // First, servers report what they hold and how much room they have.
        if self.in_safe_mode() {
            self.trash_at = Some(now.monotonic + self.tick());
            return;
        }
        for _ in 0..REMOVALS_PER_CALL {
            let Some((folder, since)) = self.oldest_trash() else {
                self.trash_at = None;
                return;
            };
            let expires = self.trash_expiry(since);
            let reason = match expires.is_some_and(|at| at <= now.wall) {
                true => TrashReason::Expired,
                false => match self.pressure(now.monotonic) {
                    Some(pressure) => pressure,
                    None => break,
                },
            };
            if self.durable.is_reclaiming() {
                break;
            }
            let path = self.durable.namespace().path_of(folder);
            let path = path.expect("what a walk passes is attached");
            if reason != TrashReason::Expired {
                self.note_freed(folder, now.monotonic);
            }
            self.commit(now, Record::TrashEmptied { at: now.wall, folder }, out);
            out.effects.push(Effect::Tell(Notice::TrashEmptied { path, reason }));
        }
        self.trash_at = Some(self.next_look(now));
    }

    /// Notes the bytes that removing a folder will free, as far as one step counts; chunks that are
    /// shared count for each of their files.
    fn note_freed(&mut self, folder: FileId, now: Monotonic) {
        let bytes = self.freed.bytes_at(now) + self.counted_below(folder).replica_bytes;
        let until = now + FREED_SHOWS_AFTER * self.settings.heartbeat_interval;
        self.freed = Freed { bytes, until };
    }

    /// When to look again. What was removed is reclaimed before more is; under pressure, as much is
    /// removed as is missing.
    fn next_look(&self, now: Now) -> Monotonic {
        let oldest = self.oldest_trash().and_then(|(_, since)| self.trash_expiry(since));
        let pause = match oldest {
            Some(at) if at <= now.wall => RECLAIM_PAUSE,
            Some(_) if self.pressure(now.monotonic).is_some() => RECLAIM_PAUSE,
            Some(UnixMillis(at)) => {
                Duration::from_millis(at.saturating_sub(now.wall.0)).min(self.tick())
            }
            None => self.tick(),
        };
        now.monotonic + pause
    }

    /// When an entry expires that has been in the trash since then; `None` while the trash is
    /// turned off.
    fn trash_expiry(&self, since: UnixMillis) -> Option<UnixMillis> {
        let interval = self.settings.trash_interval;
        (!interval.is_zero()).then(|| since + interval)
    }

    fn pressure(&self, now: Monotonic) -> Option<TrashReason> {
        let shortage = self.servers.shortage(self.settings.trash_free_min_percent)?;
        let Shortage { free_bytes, capacity_bytes, missing_bytes } = shortage;
        let is_short = missing_bytes > self.freed.bytes_at(now);
        is_short.then_some(TrashReason::Pressure { free_bytes, capacity_bytes })
    }

    /// The oldest folder of the trash, and its age.
    fn oldest_trash(&self) -> Option<(FileId, UnixMillis)> {
        let tree = self.durable.namespace();
        let trash: StorePath = TRASH_FOLDER.parse().expect("the constant is a path");
        let Walk::Found(id) = tree.walk(&trash) else { return None };
        let EntryKind::Folder(folder) = &tree.entry(id).kind else { return None };
        let (_, first) = tree.children_after(folder, None).next()?;
        Some((first, tree.entry(first).created))
    }
}

/// A time in the form used for the names of trash folders: `20261128T185000123Z`, which sorts
/// chronologically.
fn compact(UnixMillis(at): UnixMillis) -> String {
    let (days, time) = (at / 86_400_000, at % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (time / 3_600_000, time / 60_000 % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{:05}Z", time % 60_000)
}

/// Year, month and day of the day that many days after 1970-01-01, in the Gregorian calendar. Years
/// begin in March here, so that a leap day is the last day of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_trash_are_called_by_the_time() {
        for (at, text) in [
            (0, "19700101T000000000Z"),
            (951_782_399_999, "20000228T235959999Z"),
            (951_782_400_000, "20000229T000000000Z"),
            (1_795_891_800_123, "20261128T185000123Z"),
            (4_107_542_400_000, "21000301T000000000Z"),
        ] {
            assert_eq!(compact(UnixMillis(at)), text);
        }
    }
}
