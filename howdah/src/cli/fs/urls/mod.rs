//! The verbs on URLs of other stores. An object store has no folders: one is there as long as objects lie below it.

mod change;
mod copy;
mod list;
mod read;

use std::collections::BTreeSet;

use anyhow::{Context as _, anyhow};
use chunkstore_client::stores::{OtherStore, OtherStoreError, StoreUrl, Stores};
use futures_util::TryStreamExt as _;
use object_store::ObjectMeta;
use object_store::path::Path;

pub(super) use change::{mv, rm};
pub(super) use copy::{cp, get, put, put_stream};
pub(super) use list::{count, du, ls, stat, test};
pub(super) use read::{cat, head, tail};

use super::place::UrlPattern;
use crate::exit::OrEarly as _;
use crate::failures::Failures;
use crate::session::Session;

/// Objects that one command looks at, at most.
const OBJECTS_MAX: usize = 10_000_000;

/// A place that was meant, in its store.
#[derive(Clone, Debug)]
pub(super) struct Meant {
    pub(super) store: OtherStore,
    pub(super) url: StoreUrl,
}

/// What stands at a place.
#[derive(Clone, Debug)]
enum Standing {
    /// One object.
    Object(ObjectMeta),
    /// Objects below it, sorted.
    Folder(Vec<ObjectMeta>),
}

/// The stores that URLs of a command are in.
fn stores(session: &Session, urls: &[UrlPattern]) -> anyhow::Result<Stores> {
    session.other_stores(&urls.iter().map(|pattern| &pattern.url).collect::<Vec<_>>())
}

/// The places that patterns mean, each once; of a plain URL nothing is asked. A pattern that matches nothing is a failure,
/// and the others go on.
pub(super) async fn expand(
    session: &Session,
    patterns: &[UrlPattern],
    failures: &mut Failures,
) -> anyhow::Result<Vec<Meant>> {
    let stores = stores(session, patterns)?;
    let mut all = Vec::new();
    let mut before = BTreeSet::new();
    for pattern in patterns {
        let store = stores.open(&pattern.url).or_early()?;
        let urls = match pattern.is_pattern() {
            true => failures.take(matches_of(&store, pattern).await)?.unwrap_or_default(),
            false => vec![pattern.url.clone()],
        };
        let new = urls.into_iter().filter(|url| before.insert(url.clone()));
        all.extend(new.map(|url| Meant { store: store.clone(), url }));
    }
    Ok(all)
}

/// What a pattern matches: something.
async fn matches_of(store: &OtherStore, pattern: &UrlPattern) -> anyhow::Result<Vec<StoreUrl>> {
    let urls = matches(store, pattern).await?;
    match urls.is_empty() {
        true => Err(anyhow!(
            "nothing matches {}: list the folder above to see what there is",
            pattern.url
        )),
        false => Ok(urls),
    }
}

async fn matches(store: &OtherStore, pattern: &UrlPattern) -> anyhow::Result<Vec<StoreUrl>> {
    // What exists by the letter wins over what it means as a pattern.
    if store.find(pattern.url.path()).await?.is_some() {
        return Ok(vec![pattern.url.clone()]);
    }
    let folder = Path::parse(pattern.fixed().join("/"))?;
    let mut found = BTreeSet::new();
    for meta in objects_below(store, &pattern.url.with_path(folder)).await? {
        let parts: Vec<_> = meta.location.as_ref().split('/').collect();
        for length in pattern.matched(&parts) {
            found.insert(pattern.url.with_path(Path::parse(parts[..length].join("/"))?));
        }
    }
    Ok(found.into_iter().collect())
}

/// All objects below a folder, sorted.
async fn objects_below(store: &OtherStore, url: &StoreUrl) -> anyhow::Result<Vec<ObjectMeta>> {
    let listing = || format!("cannot list {url}");
    let mut listed = store.objects().list(Some(url.path()));
    let mut all = Vec::new();
    while let Some(meta) = listed.try_next().await.with_context(listing)? {
        all.push(meta);
        if all.len() > OBJECTS_MAX {
            let (url, limit) = (url.clone(), OBJECTS_MAX);
            return Err(OtherStoreError::TooMany { url, limit }.into());
        }
    }
    all.sort_unstable_by(|a, b| a.location.cmp(&b.location));
    Ok(all)
}

impl Meant {
    /// What stands there, if anything does.
    async fn look(&self) -> anyhow::Result<Option<Standing>> {
        if !self.url.is_folder()
            && let Some(meta) = self.head().await?
        {
            return Ok(Some(Standing::Object(meta)));
        }
        let below = objects_below(&self.store, &self.url).await?;
        Ok((!below.is_empty()).then_some(Standing::Folder(below)))
    }

    /// The same, where it must be something.
    async fn standing(&self) -> anyhow::Result<Standing> {
        let url = || self.url.clone();
        self.look().await?.ok_or_else(|| OtherStoreError::Missing { url: url() }.into())
    }

    /// The object there, if there is one.
    async fn head(&self) -> anyhow::Result<Option<ObjectMeta>> {
        use object_store::ObjectStoreExt as _;
        match self.store.objects().head(self.url.path()).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot look at {}", self.url)),
        }
    }

    /// One object, and nothing else.
    pub(super) async fn object(&self) -> anyhow::Result<ObjectMeta> {
        match self.standing().await? {
            Standing::Object(meta) => Ok(meta),
            Standing::Folder(_) => Err(anyhow!("{} is a folder: name an object", self.url)),
        }
    }

    /// A URL as it may stand on a terminal.
    fn shown(&self, location: &Path) -> String {
        crate::say::plain(&self.url.with_path(location.clone()).to_string())
    }
}

/// How a place is called where another store's name is needed: the last part of its path.
fn name_of(url: &StoreUrl) -> &str {
    url.path().filename().unwrap_or_else(|| url.bucket())
}
