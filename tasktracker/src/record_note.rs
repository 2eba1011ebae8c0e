//! The note that an attempt leaves of the record it was at, read when its process is gone. It lies in the attempt's folder,
//! where the author's code may have put anything in its place.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use mapreduce_protocol::{FailedRecord, Launch, NOTE_BYTES, NOTE_FILE, Note, Work};

/// The record that the attempt of `launch` was at, if its job may leave records out and it has noted one in `folder`.
pub(crate) fn read(launch: &Launch, folder: &Path) -> Option<FailedRecord> {
    launch.skipping.as_ref()?;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(folder.join(NOTE_FILE)).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(NOTE_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
    let note = Note::read(&bytes)?;
    match &launch.work {
        Work::Map { split } => {
            let piece = split.pieces.get(usize::try_from(note.piece).ok()?)?;
            Some(note.told(Some(&piece.path)))
        }
        Work::Reduce => Some(note.told(None)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mapreduce_protocol::{
        Builtin, JobDescription, JobId, Program, RecordPlace, Skipping, Split, SplitPiece,
        TaskKind, TaskLimits,
    };

    use super::*;

    fn launch(work: Work, skipping: Option<Skipping>) -> Launch {
        let job = JobId { date: 20_261_122, ordinal: 1 };
        let about = JobDescription {
            job,
            name: "n".to_owned(),
            program: Program::Builtin(Builtin { name: "wordcount".to_owned(), args: [].into() }),
            n_reduces: 1,
            n_maps: 1,
            staging: "/s".to_owned(),
            output: None,
            limits: TaskLimits::default(),
            formats: Default::default(),
            output_forms: Default::default(),
        };
        let attempt = job.task(TaskKind::Map, 0).attempt(0);
        Launch { attempt, job: Arc::new(about), work, skipping }
    }

    fn map() -> Work {
        let piece = |path: &str| SplitPiece {
            path: path.into(),
            offset: 0,
            length: 1,
            file_length: 1,
            e_tag: None,
        };
        Work::Map { split: Split { pieces: vec![piece("/in/a"), piece("/in/b")] } }
    }

    #[test]
    fn a_note_is_told_with_the_file_that_it_is_of() {
        let folder = tempfile::tempdir().unwrap();
        let allowed = || Some(Skipping::default());
        assert_eq!(read(&launch(map(), allowed()), folder.path()), None, "there is none");
        let mut bytes = [0; NOTE_BYTES];
        Note::write(&mut bytes, 4, 1, 30, b"bad");
        std::fs::write(folder.path().join(NOTE_FILE), bytes).unwrap();
        let place = Some(RecordPlace { path: "/in/b".to_owned(), offset: 30 });
        let expected = FailedRecord { ordinal: 4, place, start: "bad".to_owned() };
        assert_eq!(read(&launch(map(), allowed()), folder.path()), Some(expected.clone()));
        let key = FailedRecord { place: None, ..expected };
        assert_eq!(read(&launch(Work::Reduce, allowed()), folder.path()), Some(key));
        assert_eq!(read(&launch(map(), None), folder.path()), None, "nobody has asked");
        Note::write(&mut bytes, 4, 2, 30, b"of a piece that is not there");
        std::fs::write(folder.path().join(NOTE_FILE), bytes).unwrap();
        assert_eq!(read(&launch(map(), allowed()), folder.path()), None);
    }

    #[test]
    fn whatever_lies_in_its_place_is_neither_followed_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (note, elsewhere) = (folder.path().join(NOTE_FILE), folder.path().join("elsewhere"));
        let mut bytes = [0; NOTE_BYTES];
        Note::write(&mut bytes, 4, 1, 30, b"secret");
        std::fs::write(&elsewhere, bytes).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &note).unwrap();
        let launch = launch(map(), Some(Skipping::default()));
        assert_eq!(read(&launch, folder.path()), None, "a link");
        std::fs::remove_file(&note).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &note,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        assert_eq!(read(&launch, folder.path()), None, "a pipe");
        std::fs::remove_file(&note).unwrap();
        std::fs::create_dir(&note).unwrap();
        assert_eq!(read(&launch, folder.path()), None, "a folder");
    }
}
