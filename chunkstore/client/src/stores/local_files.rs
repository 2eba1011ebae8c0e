//! The files of this host (`file://`) through `object_store`, except those that are not objects:
//! pipes and devices, which may block forever when opened, and files of `/proc` and the like, which
//! have bytes but claim to have none, and would be read as empty. These are refused. A pipe or
//! device is not replaced by a file either.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path as LocalPath, PathBuf};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use rustix::fs::OFlags;

/// See the module.
#[derive(Debug)]
pub(super) struct LocalFiles(LocalFileSystem);

/// Why a file is not an object.
#[derive(Debug, thiserror::Error)]
enum NoObject {
    #[error(
        "{} is a pipe, socket or device, and no file: copy what it gives with `howdah fs put - PATH < {}`",
        path.display(), path.display()
    )]
    Special { path: PathBuf },
    #[error(
        "{} has bytes, but no length that could be known: copy what it gives with `howdah fs put - PATH < {}`",
        path.display(), path.display()
    )]
    NoLength { path: PathBuf },
    #[error(
        "{} is a pipe, socket or device, and a file would take its place: give it bytes with `howdah fs cat FILE > {}`",
        path.display(), path.display()
    )]
    Replaced { path: PathBuf },
}

impl LocalFiles {
    pub(super) fn new() -> Self {
        Self(LocalFileSystem::new().with_automatic_cleanup(true))
    }

    async fn refuse_what_is_no_object(&self, location: &Path) -> Result<()> {
        let path = self.0.path_to_filesystem(location)?;
        let looked = tokio::task::spawn_blocking(move || look(&path)).await?;
        looked.map_err(generic)
    }

    async fn refuse_to_replace(&self, location: &Path) -> Result<()> {
        let path = self.0.path_to_filesystem(location)?;
        let found = tokio::fs::metadata(&path).await;
        match found.is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            true => Err(generic(NoObject::Replaced { path })),
            false => Ok(()),
        }
    }
}

fn generic(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "file", source: Box::new(source) }
}

/// Removes a folder with everything in it, such as uncompleted uploads, which no listing shows; and
/// the folder above, if it is empty then.
pub(super) async fn remove_scratch(scratch: &Path) -> Result<()> {
    let path = LocalFileSystem::new().path_to_filesystem(scratch)?;
    let removed = tokio::task::spawn_blocking(move || {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Some(above) = path.parent() {
            // Another job may be writing there.
            fs::remove_dir(above).ok();
        }
        Ok(())
    });
    removed.await?.map_err(generic)
}

/// Checks that a file is an object. If it can't be examined, its file system will refuse it.
fn look(path: &LocalPath) -> Result<(), NoObject> {
    let Ok(found) = fs::metadata(path) else { return Ok(()) };
    if !found.is_file() && !found.is_dir() {
        return Err(NoObject::Special { path: path.to_owned() });
    }
    if found.is_file() && found.len() == 0 && has_a_byte(path).is_ok_and(|has| has) {
        return Err(NoObject::NoLength { path: path.to_owned() });
    }
    Ok(())
}

fn has_a_byte(path: &LocalPath) -> io::Result<bool> {
    // Reading some of the kernel's files would block.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    Ok(file.read(&mut [0])? > 0)
}

impl fmt::Display for LocalFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for LocalFiles {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.refuse_to_replace(location).await?;
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.refuse_to_replace(location).await?;
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.refuse_what_is_no_object(location).await?;
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.refuse_what_is_no_object(location).await?;
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.refuse_what_is_no_object(from).await?;
        self.refuse_to_replace(to).await?;
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.refuse_to_replace(to).await?;
        self.0.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;
    use object_store::ObjectStoreExt as _;

    use super::*;

    fn at(path: &LocalPath) -> Path {
        Path::from_absolute_path(path).unwrap()
    }

    #[tokio::test]
    async fn pipes_devices_and_files_without_a_length_are_refused_and_empty_files_are_read() {
        let (dir, files) = (tempfile::tempdir().unwrap(), LocalFiles::new());
        let pipe = dir.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let device = LocalPath::new("/dev/zero");
        for (path, said) in [
            (&*pipe, "no file"),
            (device, "no file"),
            (LocalPath::new("/proc/cpuinfo"), "no length"),
        ] {
            for error in [
                files.head(&at(path)).await.unwrap_err(),
                files.get(&at(path)).await.unwrap_err(),
                files.get_range(&at(path), 0..1).await.unwrap_err(),
                files.copy(&at(path), &at(&dir.path().join("copy"))).await.unwrap_err(),
            ] {
                let text = error.to_string();
                assert!(text.contains(said) && text.contains("howdah fs put -"), "{text}");
            }
        }
        for content in ["", "x"] {
            let path = dir.path().join("file");
            fs::write(&path, content).unwrap();
            assert_eq!(files.get(&at(&path)).await.unwrap().bytes().await.unwrap(), content);
        }
        assert!(!dir.path().join("copy").exists());
        let file = dir.path().join("full");
        fs::write(&file, "x").unwrap();
        for error in [
            files.put(&at(&pipe), PutPayload::from_static(b"x")).await.unwrap_err(),
            files.put_multipart(&at(&pipe)).await.map(drop).unwrap_err(),
            files.copy(&at(&file), &at(&pipe)).await.unwrap_err(),
            files.rename(&at(&file), &at(&pipe)).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains("howdah fs cat"), "{error}");
        }
        assert!(!pipe.symlink_metadata().unwrap().is_file(), "the pipe is still there");
        let missing = files.head(&at(&dir.path().join("missing"))).await.unwrap_err();
        assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    }

    #[tokio::test]
    async fn a_link_to_a_folder_that_it_lies_in_ends_a_listing_with_an_error() {
        let (dir, files) = (tempfile::tempdir().unwrap(), LocalFiles::new());
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("../..", root.join("a/b/loop")).unwrap();
        let listed: Result<Vec<_>> = files.list(Some(&at(&root))).try_collect().await;
        let error = listed.unwrap_err().to_string();
        assert!(error.contains("loop"), "{error}");
    }
}
