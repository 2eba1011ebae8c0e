//! `put`, `get` and `cp` where one end, or both, are in another store.

use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use chunkstore_client::stores::{StoreAccess, StoreUrl, Stores};
use chunkstore_client::{ChunkObjectStore, ChunkStore};
use chunkstore_protocol::{FileKind, StorePath};
use futures_util::StreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use tokio::sync::mpsc;

use super::super::expand;
use super::super::place::{Place, Places, UrlPattern};
use super::{Meant, Standing, name_of};
use crate::cli::Format;
use crate::copy::{self, Copied, CopyOptions, From, Sources, To, kind_at};
use crate::exit::{OrEarly as _, early};
use crate::failures::Failures;
use crate::session::Session;
use crate::signals::{Termination, termination};

/// Pieces of standard input that are read ahead.
const PIECES_AHEAD: usize = 4;

/// Something to copy: one object, or those below a folder.
struct Source {
    store: Arc<dyn ObjectStore>,
    /// The last part of its name.
    name: String,
    shown: String,
    path: Path,
    objects: Vec<ObjectMeta>,
    is_folder: bool,
}

/// Where something goes.
enum Target {
    Other(Meant),
    Own(ChunkStore, StorePath),
}

impl Source {
    fn of(meant: &Meant, standing: Standing) -> Self {
        let (objects, is_folder) = match standing {
            Standing::Object(meta) => (vec![meta], false),
            Standing::Folder(below) => (below, true),
        };
        let (name, shown) = (name_of(&meant.url).to_owned(), meant.url.to_string());
        let (store, path) = (meant.store.objects().clone(), meant.url.path().clone());
        Self { store, name, shown, path, objects, is_folder }
    }

    /// A file or folder of the chunk store.
    async fn own(store: &ChunkStore, path: &StorePath) -> anyhow::Result<Self> {
        let objects = ChunkObjectStore::new(store.clone(), StorePath::root());
        let location = Path::parse(path.as_str())?;
        let is_folder = matches!(store.stat(path).await?.kind, FileKind::Folder);
        let found = match is_folder {
            false => vec![objects.head(&location).await?],
            true => objects_of(&objects, &location).await?,
        };
        let name = path.name().unwrap_or_default().to_owned();
        let (shown, store) = (path.to_string(), Arc::new(objects));
        Ok(Self { store, name, shown, path: location, objects: found, is_folder })
    }

    /// A local file or folder.
    async fn local(stores: &Stores, path: &LocalPath) -> anyhow::Result<Self> {
        let url = url_of(path)?;
        let meant = Meant { store: stores.open(&url)?, url };
        let found = std::fs::metadata(path);
        let found = found.with_context(|| format!("cannot read {}", path.display())).or_early()?;
        let standing = match found.is_dir() {
            true => Standing::Folder(super::objects_below(&meant.store, &meant.url).await?),
            false => meant.standing().await?,
        };
        let shown = path.display().to_string();
        Ok(Self { shown, ..Self::of(&meant, standing) })
    }

    fn if_wanted(self, recursive: bool) -> anyhow::Result<Self> {
        if self.is_folder && !recursive {
            let shown = &self.shown;
            return Err(anyhow!("{shown} is a folder: add -r to copy it with what is in it"));
        }
        Ok(self)
    }

    /// Its objects with what their names have behind its own.
    fn parts(self) -> impl Iterator<Item = (From, String)> {
        let Self { store, path, shown, objects, is_folder, .. } = self;
        objects.into_iter().map(move |meta| {
            let below = meta.location.as_ref().strip_prefix(path.as_ref()).unwrap_or_default();
            let below = below.trim_start_matches('/').to_owned();
            let name = if is_folder { format!("{shown}/{below}") } else { shown.clone() };
            let (path, bytes, e_tag) = (meta.location, meta.size, meta.e_tag);
            (From { store: store.clone(), path, bytes, e_tag, name }, below)
        })
    }
}

async fn objects_of(store: &dyn ObjectStore, folder: &Path) -> anyhow::Result<Vec<ObjectMeta>> {
    use futures_util::TryStreamExt as _;
    let mut all: Vec<_> = store.list(Some(folder)).try_collect().await?;
    all.sort_unstable_by(|a, b| a.location.cmp(&b.location));
    Ok(all)
}

/// A local path as a URL.
fn url_of(path: &LocalPath) -> anyhow::Result<StoreUrl> {
    let absolute = std::path::absolute(path).or_early()?;
    let text = absolute.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", absolute.display()));
    let text = text.or_early()?.trim_end_matches('/');
    format!("file://{text}").parse::<StoreUrl>().or_early()
}

impl Target {
    async fn is_folder(&self) -> anyhow::Result<bool> {
        Ok(match self {
            Self::Own(store, path) => matches!(kind_at(store, path).await?, Some(FileKind::Folder)),
            Self::Other(meant) if meant.url.is_folder() => true,
            // An empty folder of this host is one; objects alone would not show it.
            Self::Other(meant) if meant.url.scheme() == chunkstore_client::stores::Scheme::File => {
                LocalPath::new("/").join(meant.url.path().as_ref()).is_dir()
            }
            Self::Other(meant) => matches!(meant.look().await?, Some(Standing::Folder(_))),
        })
    }

    /// The place `below` it, or its own.
    fn at(&self, below: &str) -> anyhow::Result<To> {
        Ok(match self {
            Self::Own(store, path) if below.is_empty() => To::Chunks(store.clone(), path.clone()),
            Self::Own(store, path) => To::Chunks(store.clone(), path.join(below)?),
            Self::Other(meant) => {
                let path = format!("{}/{below}", meant.url.path());
                let path = Path::parse(path.trim_matches('/'))?;
                let name = meant.url.with_path(path.clone()).to_string();
                if path.as_ref().is_empty() {
                    return Err(anyhow!("{name} is a whole bucket: name an object in it"));
                }
                To::Object(meant.store.objects().clone(), path, name)
            }
        })
    }

    fn shown(&self) -> String {
        match self {
            Self::Own(_, path) => path.to_string(),
            Self::Other(meant) => meant.url.to_string(),
        }
    }
}

/// Copies sources to a target, or into it if it is a folder.
async fn copy_all(
    verb: &'static str,
    (sources, n_named): (Vec<Source>, usize),
    target: &Target,
    options: &CopyOptions,
    end: &mut Termination,
) -> anyhow::Result<Copied> {
    let into_folder = target.is_folder().await?;
    // One that is left of several is not what gets the target's name.
    if n_named.max(sources.len()) > 1 && !into_folder {
        let to = target.shown();
        return Err(anyhow!(
            "{to} is no folder: add a slash, or make it, to have several things there"
        ));
    }
    let mut pairs = Vec::new();
    for source in sources {
        let name = if into_folder { source.name.clone() } else { String::new() };
        for (from, below) in source.parts() {
            let below = [name.as_str(), below.as_str()].join("/");
            pairs.push((from, target.at(below.trim_matches('/'))?));
        }
    }
    copy::refuse_clashes(pairs.iter().map(|(_, to)| to.name()))?;
    copy::copy_objects(verb, pairs, options, end).await
}

/// Those that there are. One that is missing, or a folder where none is wanted, is a failure, and the others go on.
async fn sources(
    session: &Session,
    from: &Places,
    recursive: bool,
    failures: &mut Failures,
) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    match from {
        Places::Urls(patterns) => {
            for meant in super::expand(session, patterns, failures).await? {
                let standing = meant.standing().await;
                let source = standing.map(|standing| Source::of(&meant, standing));
                sources.extend(failures.take(source.and_then(|it| it.if_wanted(recursive)))?);
            }
        }
        Places::Own(patterns) => {
            let store = session.store().await?;
            for path in expand::expand(&store, patterns, failures).await? {
                let source = Source::own(&store, &path).await;
                let source = source.and_then(|it| it.if_wanted(recursive));
                let source = source.with_context(|| format!("cannot copy {path}"));
                sources.extend(failures.take(source)?);
            }
        }
    }
    Ok(sources)
}

async fn target(session: &Session, to: &str) -> anyhow::Result<Target> {
    if ids::names_another_store(to) {
        let pattern: UrlPattern = to.parse().map_err(early)?;
        let store = super::stores(session, std::slice::from_ref(&pattern))?.open(&pattern.url);
        return Ok(Target::Other(Meant { store: store.or_early()?, url: pattern.url }));
    }
    let path = super::super::shown::store_path(StoreUrl::without_own_scheme(to)).or_early()?;
    Ok(Target::Own(session.store().await?, path))
}

pub(in super::super) async fn cp(
    session: &Session,
    from: &[String],
    to: &str,
    recursive: bool,
    options: &CopyOptions,
    format: Format,
) -> anyhow::Result<()> {
    let target = target(session, to).await?;
    let mut failures = Failures::default();
    let sources = sources(session, &Place::all(from)?, recursive, &mut failures).await?;
    // Both ends in one store: then that copies by itself, if it is the same handle.
    let sources = sources.into_iter().map(|source| match &target {
        Target::Other(meant) if source.shown.starts_with(&root_of(&meant.url)) => {
            Source { store: meant.store.objects().clone(), ..source }
        }
        _ => source,
    });
    let sources = (sources.collect(), from.len());
    let copied = copy_all("cp", sources, &target, options, &mut termination()?).await?;
    format.print(&copied)?;
    failures.end()
}

/// `s3://bucket/`.
fn root_of(url: &StoreUrl) -> String {
    format!("{}://{}/", url.scheme().as_str(), url.bucket())
}

pub(in super::super) async fn put(
    session: &Session,
    from: Sources<'_, PathBuf>,
    to: &str,
    options: &CopyOptions,
) -> anyhow::Result<Copied> {
    let stores = Stores::new(vec![StoreAccess::local_files()], std::time::Duration::ZERO);
    let mut sources = Vec::new();
    for path in from.paths {
        sources.push(Source::local(&stores, path).await?);
    }
    let (sources, target) = ((sources, from.n_named), target(session, to).await?);
    copy_all("put", sources, &target, options, &mut termination()?).await
}

/// Makes an object of standard input.
pub(in super::super) async fn put_stream(
    session: &Session,
    to: &str,
    options: &CopyOptions,
) -> anyhow::Result<Copied> {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    // Not the runtime's thread, which would wait at the end for what somebody may type yet.
    std::thread::spawn(move || read_input(&sender));
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let to = target(session, to).await?.at("")?;
    copy::copy_stream("put", pieces.boxed(), &to, options, &mut termination()?).await
}

fn read_input(sender: &mpsc::Sender<object_store::Result<Bytes>>) {
    use std::io::Read as _;
    let mut input = std::io::stdin().lock();
    loop {
        let mut piece = Vec::with_capacity(1 << 20);
        let read = input.by_ref().take(1 << 20).read_to_end(&mut piece);
        let piece = match read {
            Ok(0) => return,
            Ok(_) => Ok(piece.into()),
            Err(source) => {
                Err(object_store::Error::Generic { store: "standard input", source: source.into() })
            }
        };
        let is_last = piece.is_err();
        if sender.blocking_send(piece).is_err() || is_last {
            return;
        }
    }
}

pub(in super::super) async fn get(
    session: &Session,
    patterns: &[UrlPattern],
    to: &LocalPath,
    options: &CopyOptions,
    format: Format,
) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    let from = Places::Urls(patterns.to_vec());
    let sources = sources(session, &from, true, &mut failures).await?;
    let stores = Stores::new(vec![StoreAccess::local_files()], std::time::Duration::ZERO);
    let url = url_of(to)?;
    if to.as_os_str().as_encoded_bytes().ends_with(b"/") && !to.is_dir() {
        let to = to.display();
        return Err(early(anyhow!("{to} is no folder: make it first, or leave the slash off")));
    }
    let target = Target::Other(Meant { store: stores.open(&url)?, url });
    let sources = (sources, patterns.len());
    let copied = copy_all("get", sources, &target, options, &mut termination()?).await?;
    format.print(&copied)?;
    failures.end()
}
