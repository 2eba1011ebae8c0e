//! `fs checksum`: CRC32C of files. Of the chunk store's none is read: their chunks' checksums are known. Of this host's files, for
//! comparison, all bytes are.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use chunkstore_client::checksum::Crc32c;
use chunkstore_client::stores::{Scheme, StoreUrl};
use clap::Args;
use serde_json::{Value, json};

use super::expand::expand_files;
use super::place::{Place, Places, UrlPattern};
use super::transfer::is_dash;
use super::{Format, doing, shown};
use crate::exit::early;
use crate::failures::Failures;
use crate::progress::ByteProgress;
use crate::say::{plain, tell};
use crate::session::Session;

/// Bytes of a local file that are read at once.
const READ_BYTES: usize = 1 << 20;

/// Arguments of `fs checksum`.
#[derive(Debug, Args)]
pub(super) struct ChecksumArgs {
    /// The files; patterns are expanded. Files of this host are compared as file:///PATH, or by --local
    #[arg(required = true)]
    paths: Vec<String>,
    /// The paths are files of this host, - is standard input
    #[arg(long)]
    local: bool,
}

/// One line for each file: its CRC32C in hexadecimal, and its path.
pub(super) async fn checksum(
    session: &Session,
    args: &ChecksumArgs,
    format: Format,
) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    let sums = match args.local {
        true => of_local_files(args.paths.iter().map(PathBuf::from), &mut failures)?,
        false => match Place::all(&args.paths)? {
            Places::Urls(urls) => of_local_files(local_files(&urls)?, &mut failures)?,
            Places::Own(patterns) => {
                let (store, mut sums) = (session.store().await?, Vec::new());
                for path in expand_files(&store, &patterns, &mut failures).await? {
                    let sum = store.checksum(&path).await;
                    let sum = sum.with_context(|| doing("tell the checksum of", &path));
                    sums.extend(
                        failures.take(sum)?.map(|sum| (sum, shown::path(&path), json!(path))),
                    );
                }
                sums
            }
        },
    };
    if format.is_document() {
        let of = |(sum, _, path): &(u32, String, Value)| json!({"path": path, "crc32c": format!("{sum:08x}")});
        format.print(&json!({"checksums": sums.iter().map(of).collect::<Vec<_>>()}))?;
        return failures.end();
    }
    for (sum, shown, _) in sums {
        tell!("{sum:08x}  {shown}");
    }
    failures.end()
}

/// The files of this host that URLs name; other stores are refused.
fn local_files(urls: &[UrlPattern]) -> anyhow::Result<Vec<PathBuf>> {
    let file = |pattern: &UrlPattern| -> anyhow::Result<PathBuf> {
        let url: &StoreUrl = &pattern.url;
        match url.scheme() {
            Scheme::File if pattern.is_pattern() => Err(early(anyhow!(
                "{url} is a pattern: let the shell expand it, as in `howdah fs checksum --local FILES`"
            ))),
            Scheme::File => Ok(Path::new("/").join(url.path().as_ref())),
            _ => Err(early(anyhow!(
                "{url} is in another store, which keeps no CRC32C of whole objects: `howdah fs stat` shows an object's e-tag"
            ))),
        }
    };
    urls.iter().map(file).collect()
}

fn of_local_files(
    files: impl IntoIterator<Item = PathBuf>,
    failures: &mut Failures,
) -> anyhow::Result<Vec<(u32, String, Value)>> {
    let mut sums = Vec::new();
    for file in files {
        let sum = of_local_file(&file).with_context(|| format!("cannot read {}", file.display()));
        let name = file.to_string_lossy().into_owned();
        sums.extend(failures.take(sum)?.map(|sum| (sum, plain(&name), json!(name))));
    }
    Ok(sums)
}

fn of_local_file(path: &Path) -> io::Result<u32> {
    let (mut source, progress): (Box<dyn io::Read>, _) = match is_dash(path) {
        true => (Box::new(io::stdin()), ByteProgress::endless("checksum")),
        false => {
            let file = File::open(path)?;
            let bytes = file.metadata()?.len();
            (Box::new(file), ByteProgress::new("checksum", bytes))
        }
    };
    let (mut sum, mut buffer) = (Crc32c::default(), vec![0; READ_BYTES]);
    loop {
        let read = match source.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            progress.finish();
            return Ok(sum.value());
        }
        sum.update(&buffer[..read]);
        progress.add(read as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_file_has_the_checksum_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, b"123456789").unwrap();
        // The check value of CRC-32C.
        assert_eq!(of_local_file(&file).unwrap(), 0xe306_9283);
        let long = vec![7; READ_BYTES + 5];
        std::fs::write(&file, &long).unwrap();
        assert_eq!(of_local_file(&file).unwrap(), chunkstore_client::checksum::crc32c(&long));
        assert!(of_local_file(folder.path()).is_err());
    }

    #[test]
    fn other_stores_tell_no_checksums() {
        let files = |url: &str| local_files(&[url.parse().unwrap()]);
        assert_eq!(files("file:///a/b").unwrap(), [PathBuf::from("/a/b")]);
        assert!(files("s3://b/x").unwrap_err().to_string().contains("e-tag"));
        assert!(files("file:///a/*").unwrap_err().to_string().contains("--local"));
    }
}
