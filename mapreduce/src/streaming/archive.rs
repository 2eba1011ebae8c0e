//! Archives of a job, unpacked into a folder: tar (plain, gzip, zstd) and zip. What an archive says is not trusted: names
//! that leave the folder, links that do, devices, and what is out of proportion are refused.
//!
//! Nothing is written through a link: no entry may stand below one. And a link may go up first and then down, never up
//! again, so that where it leads is known from its text, whatever other links it passes.

use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use mapreduce_protocol::{Failure, FailureKind};

use super::workplace::starts;
use crate::task::failure::{bad_job, disk, failure};

/// Files, folders and links of one archive, at most.
const ENTRIES_MAX: usize = 200_000;

/// Bytes that any archive may hold.
const BYTES_FREE: u64 = 256 << 20;

/// Bytes that an archive may hold for each of its own: text shrinks by a factor of ten, a bomb by a thousand.
const BYTES_PER_BYTE: u64 = 100;

const COPY_BYTES: usize = 128 << 10;

/// Length of a link's text in a zip, at most.
const LINK_BYTES_MAX: u64 = 4096;

/// Unpacks the archive at `from`, which people know by `name`, into the new folder `to`.
pub(super) fn unpack(from: &Path, name: &str, to: &Path) -> Result<(), Failure> {
    let unreadable = |error: io::Error| {
        let message =
            format!("the job's archive {name} can't be read from {}: {error}", from.display());
        failure(FailureKind::ProgramUnavailable, message)
    };
    let mut file = File::open(from).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut magic = Vec::new();
    (&file).take(512).read_to_end(&mut magic).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    fs::create_dir(to).map_err(|error| disk(&error, "create", to))?;
    let mut unpacker = Unpacker {
        name,
        folder: to,
        entries: 0,
        bytes_left: BYTES_FREE.saturating_add(length.saturating_mul(BYTES_PER_BYTE)),
    };
    let file = BufReader::with_capacity(COPY_BYTES, file);
    if magic.starts_with(b"\x1f\x8b") {
        unpacker.tar(flate2::bufread::MultiGzDecoder::new(file))
    } else if magic.starts_with(b"\x28\xb5\x2f\xfd") {
        let decoder = zstd::Decoder::with_buffer(file);
        unpacker.tar(decoder.map_err(|error| unpacker.broken(&error))?)
    } else if magic.starts_with(b"PK") {
        unpacker.zip(file)
    } else if magic.get(257..262) == Some(b"ustar") {
        unpacker.tar(file)
    } else {
        let known = "tar, tar.gz, tar.zst or zip";
        Err(bad_job(format!("the job's archive {name} is no {known}: pack it as one of them")))
    }
}

/// A folder into which entries go.
struct Unpacker<'a> {
    name: &'a str,
    folder: &'a Path,
    entries: usize,
    bytes_left: u64,
}

impl Unpacker<'_> {
    fn tar(&mut self, from: impl Read) -> Result<(), Failure> {
        let mut archive = tar::Archive::new(from);
        let entries = archive.entries().map_err(|error| self.broken(&error))?;
        for entry in entries {
            let mut entry = entry.map_err(|error| self.broken(&error))?;
            let header = entry.header();
            let (kind, mode) = (header.entry_type(), header.mode().unwrap_or(0o644));
            let path = entry.path().map_err(|error| self.broken(&error))?.into_owned();
            let target = entry.link_name().map_err(|error| self.broken(&error))?;
            let target = target.map(std::borrow::Cow::into_owned).unwrap_or_default();
            match kind {
                tar::EntryType::Directory => self.directory(&path)?,
                tar::EntryType::Regular
                | tar::EntryType::Continuous
                | tar::EntryType::GNUSparse => self.file(&path, mode, &mut entry)?,
                tar::EntryType::Symlink => self.symlink(&path, &target)?,
                tar::EntryType::Link => self.hard_link(&path, &target)?,
                // Facts about the entries behind it.
                tar::EntryType::XGlobalHeader => {}
                _ => return Err(self.refused(&path, "it is neither a file, a folder nor a link")),
            }
        }
        Ok(())
    }

    fn zip(&mut self, from: BufReader<File>) -> Result<(), Failure> {
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
                self.file(&path, mode, &mut entry)?;
            }
        }
        Ok(())
    }

    /// Where an entry goes, its folder made; `None` for the folder of all.
    fn place(&mut self, path: &Path) -> Result<Option<PathBuf>, Failure> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            let name = self.name;
            return Err(bad_job(format!(
                "the job's archive {name} has more than {ENTRIES_MAX} entries"
            )));
        }
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
        let Some(last) = parts.pop() else { return Ok(None) };
        let mut place = self.folder.to_owned();
        for part in parts {
            place.push(part);
            match fs::symlink_metadata(&place) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(self.refused(path, "it stands below a file or a link")),
                Err(_) => fs::create_dir(&place).map_err(|error| disk(&error, "create", &place))?,
            }
        }
        place.push(last);
        Ok(Some(place))
    }

    /// As [`Self::place`], for what is no folder: an earlier entry of that name goes.
    fn new_place(&mut self, path: &Path) -> Result<PathBuf, Failure> {
        let place = self.place(path)?;
        let place = place.ok_or_else(|| self.refused(path, "it has no name"))?;
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(disk(&error, "replace", &place))
            }
            _ => Ok(place),
        }
    }

    fn directory(&mut self, path: &Path) -> Result<(), Failure> {
        let Some(place) = self.place(path)? else { return Ok(()) };
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(self.refused(path, "another entry has its name")),
            Err(_) => fs::create_dir(&place).map_err(|error| disk(&error, "create", &place)),
        }
    }

    fn file(&mut self, path: &Path, mode: u32, from: &mut dyn Read) -> Result<(), Failure> {
        let place = self.new_place(path)?;
        // Executable or not; who else may do what is not the archive's to say.
        let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
        let _alone = starts();
        let created = File::create_new(&place)
            .and_then(|file| file.set_permissions(Permissions::from_mode(mode)).map(|()| file));
        let mut file = created.map_err(|error| disk(&error, "create", &place))?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let n = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(&error)),
            };
            self.bytes_left = self.bytes_left.checked_sub(n as u64).ok_or_else(|| {
                self.refused(path, "the archive holds far more than its length can mean")
            })?;
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
        let place = self.new_place(path)?;
        std::os::unix::fs::symlink(target, &place).map_err(|error| disk(&error, "create", &place))
    }

    /// A second name of an earlier entry.
    fn hard_link(&mut self, path: &Path, target: &Path) -> Result<(), Failure> {
        let earlier = self
            .place(target)?
            .filter(|earlier| fs::symlink_metadata(earlier).is_ok_and(|found| found.is_file()));
        let earlier =
            earlier.ok_or_else(|| self.refused(path, "it is a link to what is no earlier file"))?;
        let place = self.new_place(path)?;
        fs::hard_link(&earlier, &place).map_err(|error| disk(&error, "create", &place))
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
        let done = unpack(&from, "the-archive", &folder.path().join("to"));
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
        for (entries, bytes_left, expected) in [
            (0, 20, None),
            (0, 19, Some("far more than its length")),
            (ENTRIES_MAX - 2, 20, None),
            (ENTRIES_MAX - 1, 20, Some("entries")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut unpacker = Unpacker { name: "x", folder: folder.path(), entries, bytes_left };
            let refused = unpacker.tar(&bytes[..]).err().map(|failure| failure.message);
            match expected {
                None => assert_eq!(refused, None),
                Some(expected) => assert!(refused.unwrap().contains(expected), "{expected}"),
            }
        }
    }
}
