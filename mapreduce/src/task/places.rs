//! Places of records in files of which a codec begins anew now and then, its units: blocks of bzip2, frames of zstd. A place is
//! told by the unit alone, so that it is the same whoever reads it, in a part of the file or in all of it.

use mapreduce_protocol::{Codec, Failure, SplitPiece};

use super::failure::bad_job;

/// Places from one byte of the file to the next: more than a unit holds for each byte of its own. A frame of zstd holds at most
/// 128 KiB for 4 bytes (a run); a block of bzip2 at most 900,000 symbols, each five of which are 259 bytes (runs, too), and has
/// more than 21 bytes. So places of different units differ, and go up.
const PLACES_PER_BYTE: u64 = 1 << 22;

/// Longest file that has places for all of its bytes.
const FILE_BYTES_MAX: u64 = 1 << 42;

/// The place of a byte that has `before` others before it in the unit that begins at byte `unit` of the file. (The first byte
/// of all stands at 0, whatever is before its unit: see [`super::lines`].)
pub(super) fn place(unit: u64, before: u64) -> u64 {
    unit.saturating_mul(PLACES_PER_BYTE).saturating_add(before)
}

/// Which places the lines of a file have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Places {
    /// Bytes of the file.
    File,
    /// Bytes of what it holds.
    Content,
    /// [`place`].
    Units,
}

impl Places {
    /// Of files with that codec.
    pub(super) fn of(codec: Option<Codec>) -> Self {
        match codec {
            None => Self::File,
            Some(codec) if codec.splits() => Self::Units,
            Some(_) => Self::Content,
        }
    }

    /// A place as people read it.
    pub(crate) fn told(self, place: u64) -> String {
        match self {
            Self::File => format!("at byte {place}"),
            Self::Content => format!("at byte {place} of what it holds"),
            Self::Units => format!("at offset {place}"),
        }
    }
}

/// Refuses a file that is too long for places of its own.
pub(super) fn check_length(piece: &SplitPiece, codec: Codec) -> Result<(), Failure> {
    if piece.file_length <= FILE_BYTES_MAX {
        return Ok(());
    }
    Err(bad_job(format!(
        "input {} has more than {} TiB, which a {codec} file may have at most: cut it into several",
        piece.path,
        FILE_BYTES_MAX >> 40
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_the_densest_units_differ_and_go_up() {
        // The densest block of bzip2, and runs of zstd.
        for (bytes, holds) in [(21, 900_000 / 5 * 259), (4, 128 << 10), (400, 100 * (128 << 10))] {
            for unit in [0, 4, 1 << 20, FILE_BYTES_MAX - bytes] {
                assert!(place(unit, holds - 1) < place(unit + bytes, 0), "{unit}: {holds}");
            }
        }
        assert!(place(FILE_BYTES_MAX - 21, 900_000 / 5 * 259) < u64::MAX);
    }

    #[test]
    fn a_file_without_places_for_all_is_refused_by_its_name() {
        let piece = |file_length| SplitPiece {
            path: "/in/long.bz2".into(),
            offset: 0,
            length: file_length,
            file_length,
            e_tag: None,
        };
        assert!(check_length(&piece(FILE_BYTES_MAX), Codec::Bzip2).is_ok());
        let refused = check_length(&piece(FILE_BYTES_MAX + 1), Codec::Bzip2).unwrap_err();
        assert!(refused.message.contains("/in/long.bz2 has more than 4 TiB"), "{refused:?}");
    }
}
