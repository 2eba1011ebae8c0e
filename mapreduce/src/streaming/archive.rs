//! Archives of a job, unpacked into a folder: tar (plain, gzip, zstd) and zip. What an archive says is not trusted: names
//! that leave the folder, links that do, devices, and what is out of proportion are refused.
//!
//! Nothing is written through a link: no entry may stand below one. And a link may go up first and then down, never up
//! again, so that where it leads is known from its text, whatever other links it passes.

use std::cell::Cell;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read, Seek, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use mapreduce_protocol::Failure;

use super::host_copy::HostCopy;
use super::workplace::starts;
use crate::task::failure::{bad_job, disk};
use crate::task::progress::Progress;

/// Files, folders and links of one archive, at most, with the folders that stand in their names alone.
const ENTRIES_MAX: usize = 200_000;

/// Parts of an entry's name, at most.
const DEPTH_MAX: usize = 64;

/// Bytes that a tar may have between the contents of two entries: headers, long names, attributes.
const BETWEEN_BYTES_MAX: usize = 1 << 20;

/// Bytes that any archive may hold.
const BYTES_FREE: u64 = 256 << 20;

/// Bytes that an archive may hold for each of its own: text shrinks by a factor of ten, a bomb by a thousand.
const BYTES_PER_BYTE: u64 = 100;

const COPY_BYTES: usize = 128 << 10;

/// Length of a link's text in a zip, at most.
const LINK_BYTES_MAX: u64 = 4096;

/// Unpacks the archive at `from` into the new folder `to`; each block and each entry is a sign of life.
pub(super) fn unpack(from: HostCopy<'_>, to: &Path, progress: &Progress) -> Result<(), Failure> {
    let length = fs::metadata(from.path).map_err(|error| from.unreadable(&error))?.len();
    let mut copy = from.open()?;
    fs::create_dir(to).map_err(|error| disk(&error, "create", to))?;
    let mut unpacker = Unpacker {
        name: &from.file.name,
        folder: to,
        entries: 0,
        bytes_left: BYTES_FREE.saturating_add(length.saturating_mul(BYTES_PER_BYTE)),
        progress,
    };
    let done = unpacker.unpack(&mut copy);
    done.map_err(|failure| from.judge(failure, copy.failed.take()))
}

/// Counts what is read from a tar between the contents of entries. The library holds names and attributes in memory
/// whole, and reads over what an entry brings that should have nothing.
struct Metered<R> {
    inner: R,
    between: Rc<Cell<usize>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.between.set(self.between.get() + n);
        if self.between.get() > BETWEEN_BYTES_MAX {
            let most = BETWEEN_BYTES_MAX >> 20;
            return Err(io::Error::other(format!("more than {most} MiB between two entries")));
        }
        Ok(n)
    }
}

/// A folder into which entries go.
struct Unpacker<'a> {
    name: &'a str,
    folder: &'a Path,
    entries: usize,
    bytes_left: u64,
    progress: &'a Progress,
}

impl Unpacker<'_> {
    fn unpack<R: Read + Seek>(&mut self, mut from: R) -> Result<(), Failure> {
        let mut magic = Vec::new();
        let read = from.by_ref().take(512).read_to_end(&mut magic).and_then(|_| from.rewind());
        read.map_err(|error| self.broken(&error))?;
        let from = BufReader::with_capacity(COPY_BYTES, from);
        if magic.starts_with(b"\x1f\x8b") {
            self.tar(flate2::bufread::MultiGzDecoder::new(from))
        } else if magic.starts_with(b"\x28\xb5\x2f\xfd") {
            let decoder = zstd::Decoder::with_buffer(from);
            self.tar(decoder.map_err(|error| self.broken(&error))?)
        } else if magic.starts_with(b"PK") {
            self.zip(from)
        } else if magic.get(257..262) == Some(b"ustar") {
            self.tar(from)
        } else {
            let (name, known) = (self.name, "tar, tar.gz, tar.zst or zip");
            Err(bad_job(format!("the job's archive {name} is no {known}: pack it as one of them")))
        }
    }

    fn tar(&mut self, from: impl Read) -> Result<(), Failure> {
        let between = Rc::new(Cell::new(0));
        let from = Metered { inner: from, between: Rc::clone(&between) };
        let mut archive = tar::Archive::new(from);
        let entries = archive.entries().map_err(|error| self.broken(&error))?;
        for entry in entries {
            let mut entry = entry.map_err(|error| self.broken(&error))?;
            let header = entry.header();
            let (kind, mode) = (header.entry_type(), header.mode().unwrap_or(0o644));
            let path = entry.path().map_err(|error| self.broken(&error))?.into_owned();
            let target = entry.link_name().map_err(|error| self.broken(&error))?;
            let target = target.map(std::borrow::Cow::into_owned).unwrap_or_default();
            if kind == tar::EntryType::XGlobalHeader {
                // Facts about the entries behind it: it stands between them.
                self.count()?;
                continue;
            }
            self.charge(&path, between.replace(0))?;
            let done = || between.set(0);
            match kind {
                tar::EntryType::Directory => self.directory(&path)?,
                tar::EntryType::Regular
                | tar::EntryType::Continuous
                | tar::EntryType::GNUSparse => self.file(&path, mode, &mut entry, done)?,
                tar::EntryType::Symlink => self.symlink(&path, &target)?,
                tar::EntryType::Link => self.hard_link(&path, &target)?,
                _ => return Err(self.refused(&path, "it is neither a file, a folder nor a link")),
            }
        }
        Ok(())
    }

    fn zip<R: Read + Seek>(&mut self, from: R) -> Result<(), Failure> {
        let mut archive =
            zip::ZipArchive::new(from).map_err(|error| self.broken(&io::Error::other(error)))?;
        for index in 0..archive.len() {
            let entry = archive.by_index(index);
            let mut entry = entry.map_err(|error| self.broken(&io::Error::other(error)))?;
            let path = entry.name().map(|name| PathBuf::from(name.as_ref()));
            let path = path.map_err(|error| self.broken(&io::Error::other(error)))?;
            let mode = entry.unix_mode().unwrap_or(0o644);
            if entry.is_dir() {
                self.directory(&path)?;
            } else if entry.is_symlink() {
                let mut target = Vec::new();
                let read = entry.by_ref().take(LINK_BYTES_MAX).read_to_end(&mut target);
                read.map_err(|error| self.broken(&error))?;
                self.symlink(&path, Path::new(std::ffi::OsStr::from_bytes(&target)))?;
            } else {
                self.file(&path, mode, &mut entry, || ())?;
            }
        }
        Ok(())
    }

    /// One entry, or folder, more.
    fn count(&mut self) -> Result<(), Failure> {
        self.progress.alive();
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            let name = self.name;
            return Err(bad_job(format!(
                "the job's archive {name} has more than {ENTRIES_MAX} entries"
            )));
        }
        Ok(())
    }

    /// So many bytes more, for the entry at `path`.
    fn charge(&mut self, path: &Path, n: usize) -> Result<(), Failure> {
        self.progress.alive();
        self.bytes_left = self.bytes_left.checked_sub(n as u64).ok_or_else(|| {
            self.refused(path, "the archive holds far more than its length can mean")
        })?;
        Ok(())
    }

    /// Where an entry goes, its folder made; `None` for the folder of all.
    fn place(&mut self, path: &Path) -> Result<Option<PathBuf>, Failure> {
        self.count()?;
        let mut parts = Vec::new();
        for part in path.components() {
            match part {
                Component::Normal(part) => parts.push(part),
                Component::CurDir => {}
                Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                    return Err(self.refused(path, "its name leads out of the folder"));
                }
            }
        }
        if parts.len() > DEPTH_MAX {
            return Err(self.refused(path, "it stands too deep below the folder"));
        }
        let Some(last) = parts.pop() else { return Ok(None) };
        let mut place = self.folder.to_owned();
        for part in parts {
            place.push(part);
            match fs::symlink_metadata(&place) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(self.refused(path, "it stands below a file or a link")),
                Err(_) => {
                    self.count()?;
                    fs::create_dir(&place)
                        .map_err(|error| self.not_made(&error, "create", &place, path))?;
                }
            }
        }
        place.push(last);
        Ok(Some(place))
    }

    /// As [`Self::place`], for what is no folder: an earlier entry of that name goes.
    fn new_place(&mut self, path: &Path) -> Result<PathBuf, Failure> {
        let place = self.place(path)?;
        let place = place.ok_or_else(|| self.refused(path, "it has no name"))?;
        if fs::symlink_metadata(&place).is_ok_and(|found| found.is_dir()) {
            return Err(self.refused(path, "a folder has its name"));
        }
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.not_made(&error, "replace", &place, path))
            }
            _ => Ok(place),
        }
    }

    fn directory(&mut self, path: &Path) -> Result<(), Failure> {
        let Some(place) = self.place(path)? else { return Ok(()) };
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(self.refused(path, "another entry has its name")),
            Err(_) => fs::create_dir(&place)
                .map_err(|error| self.not_made(&error, "create", &place, path)),
        }
    }

    /// `done` is called for each block that was taken from `from`.
    fn file(
        &mut self,
        path: &Path,
        mode: u32,
        from: &mut dyn Read,
        done: impl Fn(),
    ) -> Result<(), Failure> {
        let place = self.new_place(path)?;
        // Executable or not; who else may do what is not the archive's to say.
        let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
        let _alone = starts();
        let created = File::create_new(&place)
            .and_then(|file| file.set_permissions(Permissions::from_mode(mode)).map(|()| file));
        let mut file = created.map_err(|error| self.not_made(&error, "create", &place, path))?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let n = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(&error)),
            };
            done();
            self.charge(path, n)?;
            file.write_all(&buffer[..n]).map_err(|error| disk(&error, "write", &place))?;
        }
    }

    fn symlink(&mut self, path: &Path, target: &Path) -> Result<(), Failure> {
        let depth = path.components().filter(|part| matches!(part, Component::Normal(_))).count();
        let (mut up, mut down) = (0, false);
        for part in target.components() {
            match part {
                Component::Normal(_) => down = true,
                Component::CurDir => {}
                Component::ParentDir if !down && up + 1 < depth => up += 1,
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(self.refused(path, "it is a link that leads out of the folder"));
                }
            }
        }
        if target.as_os_str().is_empty() {
            return Err(self.refused(path, "it is a link to nothing"));
        }
        let place = self.new_place(path)?;
        std::os::unix::fs::symlink(target, &place)
            .map_err(|error| self.not_made(&error, "create", &place, path))
    }

    /// A second name of an earlier entry.
    fn hard_link(&mut self, path: &Path, target: &Path) -> Result<(), Failure> {
        let earlier = self
            .place(target)?
            .filter(|earlier| fs::symlink_metadata(earlier).is_ok_and(|found| found.is_file()));
        let earlier =
            earlier.ok_or_else(|| self.refused(path, "it is a link to what is no earlier file"))?;
        if self.place(path)?.as_ref() == Some(&earlier) {
            return Err(self.refused(path, "it is a link to itself"));
        }
        let place = self.new_place(path)?;
        fs::hard_link(&earlier, &place)
            .map_err(|error| self.not_made(&error, "create", &place, path))
    }

    /// Why an entry could not be made: names that no system takes are the archive's fault, all else is the disk's.
    fn not_made(&self, error: &io::Error, what: &str, place: &Path, path: &Path) -> Failure {
        match error.kind() {
            io::ErrorKind::InvalidFilename => self.refused(path, "a name of it is too long"),
            // What stands for "a name with a NUL byte" alone.
            io::ErrorKind::InvalidInput => self.refused(path, "a name of it has a NUL byte"),
            _ => disk(error, what, place),
        }
    }

    fn refused(&self, path: &Path, why: &str) -> Failure {
        let shown: String = path.display().to_string().chars().take(200).collect();
        bad_job(format!("the job's archive {} is refused: {shown:?}: {why}", self.name))
    }

    fn broken(&self, error: &io::Error) -> Failure {
        bad_job(format!("the job's archive {} is broken: {error}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_protocol::FailureKind;

    use super::*;

    /// A tar of entries: kind, name, and text or target.
    fn tar(entries: &[(char, &str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, name, text) in entries {
            let mut header = tar::Header::new_gnu();
            let is_link = matches!(kind, 'l' | 'h');
            header.set_entry_type(match kind {
                'd' => tar::EntryType::Directory,
                'l' => tar::EntryType::Symlink,
                'h' => tar::EntryType::Link,
                'p' => tar::EntryType::Fifo,
                _ => tar::EntryType::Regular,
            });
            header.set_mode(if *kind == 'x' { 0o4755 } else { 0o600 });
            header.set_size(if is_link { 0 } else { text.len() as u64 });
            // As the library would refuse to write them.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if is_link {
                header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
            }
            header.set_cksum();
            builder.append(&header, if is_link { &b""[..] } else { text.as_bytes() }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> Result<tempfile::TempDir, String> {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("archive");
        fs::write(&from, bytes).unwrap();
        let file = "/p#the-archive".parse().unwrap();
        let copy = HostCopy { kind: "archive", file: &file, path: &from };
        let done = unpack(copy, &folder.path().join("to"), &Progress::untold());
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().flatten().map(|it| it.file_name()).collect();
        left.sort();
        assert!(left == ["archive", "to"] || left == ["archive"], "{left:?}");
        done.map(|()| folder).map_err(|failure| {
            assert_eq!(failure.kind, FailureKind::BadJob);
            assert!(failure.message.contains("the-archive"), "{}", failure.message);
            failure.message
        })
    }

    #[test]
    fn every_kind_of_archive_gives_the_same_files() {
        let plain = tar(&[
            ('d', "./", ""),
            ('f', "./a/b/c.txt", "text"),
            ('x', "run", "#!/bin/sh"),
            ('l', "a/b/link", "../../run"),
            ('h', "again", "a/b/c.txt"),
            ('f', "run2", "old"),
            ('f', "run2", "new"),
        ]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        zip.add_directory("a", options).unwrap();
        for (name, mode, text) in [
            ("a/b/c.txt", 0o644, "text"),
            ("run", 0o755, "#!/bin/sh"),
            ("again", 0o644, "text"),
            ("run2", 0o600, "new"),
        ] {
            zip.start_file(name, options.unix_permissions(mode)).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.add_symlink("a/b/link", "../../run", options).unwrap();
        let zip = zip.finish().unwrap().into_inner();
        for (kind, bytes) in [("tar", &plain), ("tar.gz", &gzip), ("tar.zst", &zstd), ("zip", &zip)]
        {
            let folder = unpacked(bytes).unwrap();
            let at = |name: &str| folder.path().join("to").join(name);
            for (name, text) in [
                ("a/b/c.txt", "text"),
                ("run", "#!/bin/sh"),
                ("again", "text"),
                ("run2", "new"),
                ("a/b/link", "#!/bin/sh"),
            ] {
                assert_eq!(fs::read_to_string(at(name)).unwrap(), text, "{kind}: {name}");
            }
            let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
            assert_eq!([mode("run"), mode("run2")], [0o755, 0o644], "{kind}");
            let torn = unpacked(&bytes[..bytes.len() / 2]).unwrap_err();
            assert!(torn.contains("is broken"), "{kind}: {torn}");
        }
    }

    #[test]
    fn what_leaves_the_folder_is_refused() {
        for (entries, why) in [
            (&[('f', "/etc/x", "")][..], "leads out"),
            (&[('f', "a/../../x", "")], "leads out"),
            (&[('d', "..", "")], "leads out"),
            (&[('l', "l", "/etc")], "a link that leads out"),
            (&[('l', "l", "..")], "a link that leads out"),
            (&[('l', "a/b/l", "../../../x")], "a link that leads out"),
            // Where it leads is not known from its text.
            (&[('l', "here", "."), ('l', "l", "here/..")], "a link that leads out"),
            (&[('l', "l", "a"), ('f', "l/x", "")], "below a file or a link"),
            (&[('f', "f", ""), ('f', "f/x", "")], "below a file or a link"),
            (&[('l', "l", "a"), ('d', "l", "")], "another entry has its name"),
            (&[('h', "h", "/etc/passwd")], "leads out"),
            (&[('h', "h", "nothing")], "no earlier file"),
            (&[('l', "l", "x"), ('h', "h", "l")], "no earlier file"),
            (&[('p', "fifo", "")], "neither a file, a folder nor a link"),
            // What no system could make is the archive's fault, not the host's.
            (&[('d', "d", ""), ('f', "d", "")], "a folder has its name"),
            (&[('f', "d/x", ""), ('l', "d", "x")], "a folder has its name"),
            (&[('l', "l", "")], "a link to nothing"),
            (&[('f', "f", ""), ('h', "f", "./f")], "a link to itself"),
        ] {
            let refused = unpacked(&tar(entries)).unwrap_err();
            assert!(refused.contains(why), "{entries:?}: {refused}");
        }
        let refused = unpacked(b"just text").unwrap_err();
        assert!(refused.contains("tar, tar.gz, tar.zst or zip"), "{refused}");
    }

    #[test]
    fn what_is_out_of_proportion_is_refused_before_it_fills_the_disk() {
        let bytes = tar(&[('f', "a", "1234567890"), ('f', "b", "1234567890")]);
        // Two, and what fills the first one's last block.
        let headers = 2 * 512 + 502;
        for (entries, bytes_left, expected) in [
            (0, 20 + headers, None),
            (0, 19 + headers, Some("far more than its length")),
            (ENTRIES_MAX - 2, 2000, None),
            (ENTRIES_MAX - 1, 2000, Some("entries")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let progress = &Progress::untold();
            let mut unpacker =
                Unpacker { name: "x", folder: folder.path(), entries, bytes_left, progress };
            let refused = unpacker.tar(&bytes[..]).err().map(|failure| failure.message);
            match expected {
                None => assert_eq!(refused, None),
                Some(expected) => assert!(refused.unwrap().contains(expected), "{expected}"),
            }
        }
    }

    #[test]
    fn folders_that_stand_in_names_alone_count_and_are_not_too_deep() {
        let bytes = tar(&[('f', "a/b/c/x", ""), ('f', "a/b/d/x", "")]);
        for (free, fits) in [(6, true), (5, false)] {
            let folder = tempfile::tempdir().unwrap();
            let (progress, entries) = (&Progress::untold(), ENTRIES_MAX - free);
            let mut unpacker =
                Unpacker { name: "x", folder: folder.path(), entries, bytes_left: 9000, progress };
            assert_eq!(unpacker.tar(&bytes[..]).is_ok(), fits, "{free}");
        }
        let deep = |parts: usize| tar(&[('f', &"a/".repeat(parts)[..2 * parts - 1], "")]);
        // Of 100 bytes, which is as much as the plain header's field takes.
        let named = |name: &str| {
            let mut builder = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            builder.append_data(&mut header, name, &b""[..]).unwrap();
            builder.into_inner().unwrap()
        };
        unpacked(&deep(40)).unwrap();
        unpacked(&named(&["a"; DEPTH_MAX].join("/"))).unwrap();
        let refused = unpacked(&named(&["a"; DEPTH_MAX + 1].join("/"))).unwrap_err();
        assert!(refused.contains("too deep"), "{refused}");
        let refused = unpacked(&named(&"a".repeat(256))).unwrap_err();
        assert!(refused.contains("too long"), "{refused}");
    }

    /// A tar of one file whose header is behind these records.
    fn behind(records: &[(tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, data) in records {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, *data).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        // Without the two blocks that end it.
        [&bytes[..bytes.len() - 1024], &tar(&[('f', "x", "text")])].concat()
    }

    #[test]
    fn what_stands_between_entries_is_bounded() {
        use tar::EntryType::{GNULongLink, GNULongName, XGlobalHeader, XHeader};
        let attribute = |n: usize| {
            let value = "v".repeat(n);
            // Its length counts itself.
            let length = n + " c=\n".len();
            let digits = (length + length.to_string().len()).to_string().len();
            format!("{} c={value}\n", length + digits).into_bytes()
        };
        let small = attribute(100);
        let global = vec![(XGlobalHeader, &small[..]); 1000];
        unpacked(&behind(&global)).unwrap();
        unpacked(&behind(&[(XHeader, &attribute(900_000))])).unwrap();
        let long = vec![b'n'; BETWEEN_BYTES_MAX];
        let large = attribute(BETWEEN_BYTES_MAX);
        let many = vec![(XGlobalHeader, &small[..]); 1030];
        for records in [
            &[(GNULongName, &long[..])][..],
            &[(GNULongLink, &long)],
            &[(XHeader, &large)],
            &[(XGlobalHeader, &large)],
            &many,
            // What a folder should not have.
            &[(tar::EntryType::Directory, &long)],
        ] {
            let refused = unpacked(&behind(records)).unwrap_err();
            assert!(refused.contains("between two entries"), "{:?}: {refused}", records[0].0);
        }
        let refused = unpacked(&behind(&[(XHeader, b"12 path=a\0b\n")])).unwrap_err();
        assert!(refused.contains("NUL"), "{refused}");
    }
}
