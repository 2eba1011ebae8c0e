//! `scheme://bucket/path`: names an object, or the objects below a folder, in a store other than
//! the chunk store.

use std::fmt;
use std::str::FromStr;

use ids::OWN_SCHEME;
use object_store::path::Path;

/// Maximum length of a URL: object stores accept keys of 1024 bytes.
const BYTES_MAX: usize = 2048;

/// The kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Amazon S3 and compatible stores.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
    /// Files of the host.
    File,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::S3, Self::Gs, Self::Az, Self::File];

    /// Its spelling in URLs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
            Self::File => "file",
        }
    }
}

/// A place in a store other than the chunk store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreUrl {
    scheme: Scheme,
    bucket: String,
    path: Path,
    is_folder: bool,
}

/// Why a text is not the URL of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Unknown scheme.
    #[error(
        "{url:?} has the scheme {scheme:?}: accepted are s3://BUCKET/…, gs://BUCKET/…, az://CONTAINER/… and \
         file:///…, and of the chunk store howdah:///… or a bare path"
    )]
    Scheme {
        /// The text, cut short.
        url: String,
        /// The text before `://`.
        scheme: String,
    },
    /// No bucket, or one with characters that buckets don't have.
    #[error("{url:?} names no bucket: write it like {scheme}://BUCKET/FOLDER/OBJECT")]
    Bucket {
        /// The text, cut short.
        url: String,
        /// Its scheme.
        scheme: &'static str,
    },
    /// A `file://` URL with something before its path.
    #[error(
        "{url:?} names a host: files are those of the host itself, written file:///FOLDER/FILE"
    )]
    Host {
        /// The text, cut short.
        url: String,
    },
    /// The path is not accepted by all stores.
    #[error(
        "{url:?} has a path with empty, '.' or '..' parts, or control characters: write it without"
    )]
    Path {
        /// The text, cut short.
        url: String,
    },
    /// Longer than any store accepts.
    #[error("the URL has {given} bytes, at most {BYTES_MAX} are taken: name the folder above")]
    TooLong {
        /// Its bytes.
        given: usize,
    },
}

impl StoreUrl {
    /// Strips the optional `howdah://` from a path of the chunk store.
    #[must_use]
    pub fn without_own_scheme(text: &str) -> &str {
        text.strip_prefix(OWN_SCHEME).filter(|path| path.starts_with('/')).unwrap_or(text)
    }

    /// The kind of store.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The bucket or container; empty for files.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The path within the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was written with a trailing slash, or is a whole bucket.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.is_folder || self.path.as_ref().is_empty()
    }

    /// Another place in the same store.
    #[must_use]
    pub fn with_path(&self, path: Path) -> Self {
        Self { path, is_folder: false, ..self.clone() }
    }

    /// The place with that name below it; slashes separate the parts of the name.
    #[must_use]
    pub fn below(&self, name: &str) -> Path {
        name.split('/').fold(self.path.clone(), Path::join)
    }

    /// Whether both are in the same store.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        (self.scheme, &self.bucket) == (other.scheme, &other.bucket)
    }
}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url = || text.chars().take(200).collect::<String>();
        if text.len() > BYTES_MAX {
            return Err(UrlError::TooLong { given: text.len() });
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let Some(scheme) = Scheme::ALL.into_iter().find(|known| known.as_str() == scheme) else {
            return Err(UrlError::Scheme { url: url(), scheme: scheme.to_owned() });
        };
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_bucket = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        match scheme {
            Scheme::File if !bucket.is_empty() => return Err(UrlError::Host { url: url() }),
            Scheme::File => {}
            _ if bucket.is_empty() || !bucket.bytes().all(is_bucket) => {
                return Err(UrlError::Bucket { url: url(), scheme: scheme.as_str() });
            }
            _ => {}
        }
        // `Path::parse` tolerates leading and trailing slashes.
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        let is_plain = !trimmed.starts_with('/') && !trimmed.ends_with('/');
        let is_plain = is_plain && !trimmed.chars().any(char::is_control);
        let parsed = Path::parse(trimmed).ok().filter(|_| is_plain);
        let parsed = parsed.ok_or_else(|| UrlError::Path { url: url() })?;
        let (bucket, is_folder) = (bucket.to_owned(), path.ends_with('/'));
        Ok(Self { scheme, bucket, path: parsed, is_folder })
    }
}

/// Without a trailing slash.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.bucket)?;
        match self.path.as_ref() {
            "" if self.scheme != Scheme::File => Ok(()),
            path => write!(f, "/{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_written_alike_but_for_the_slash_at_its_end() {
        for (text, bucket, path, shown) in [
            ("s3://b/in/a.txt", "b", "in/a.txt", "s3://b/in/a.txt"),
            ("s3://b/in/", "b", "in", "s3://b/in"),
            ("s3://b", "b", "", "s3://b"),
            ("gs://b.c_d-1/x y/ü", "b.c_d-1", "x y/ü", "gs://b.c_d-1/x y/ü"),
            ("az://c/*", "c", "*", "az://c/*"),
            ("file:///tmp/a", "", "tmp/a", "file:///tmp/a"),
            ("file:///", "", "", "file:///"),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!((url.bucket(), url.path().as_ref()), (bucket, path), "{text}");
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.is_folder(), text.ends_with('/') || path.is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_what_would_be_one() {
        let long = format!("s3://b/{}", "x".repeat(2100));
        for (text, needle) in [
            ("ftp://h/x", "accepted are s3://"),
            ("S3://b/x", "accepted are s3://"),
            ("howdah://b/x", "howdah:///"),
            ("s3:///x", "names no bucket"),
            ("s3://a b/x", "names no bucket"),
            ("s3://user:secret@b/x", "names no bucket"),
            ("file://host/x", "file:///FOLDER"),
            ("s3://b//x", "empty"),
            ("s3://b/x//", "empty"),
            ("s3://b/a/../x", "'..'"),
            ("s3://b/./x", "'.'"),
            ("s3://b/a\nb", "control"),
            (&long, "at most 2048"),
        ] {
            let error = text.parse::<StoreUrl>().expect_err(text).to_string();
            assert!(error.contains(needle), "{text}: {error}");
        }
    }

    #[test]
    fn the_chunk_stores_own_paths_are_written_without_a_scheme() {
        assert_eq!(StoreUrl::without_own_scheme("howdah:///in/a"), "/in/a");
        assert_eq!(StoreUrl::without_own_scheme("/in/a"), "/in/a");
    }
}
