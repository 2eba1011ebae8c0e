//! What keeps tasks from what is not theirs, where they run as the daemon's own user too: a mount namespace in which the
//! cluster's secret, chunks, journals and the TaskTracker's own files are covered (`maker` makes it, `layout` says
//! what is where, and `child` is how a task comes in), for the superuser a few capabilities instead of all, and a
//! Landlock domain, from which no other process can be looked into or signalled.
//!
//! A namespace is one attempt's at a time, and used again after it.

mod child;
mod layout;
mod maker;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landlock::{CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetError, Scope};
use mapreduce_protocol::CHANNEL_ARGUMENT;
use rustix::thread::{CapabilitySet, capabilities};
use tasktracker_core::Limits;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::process::{CHANNEL_FD, Executable, Process, Spawner};
use crate::tree;
pub(crate) use child::Walls;
pub(crate) use layout::Layout;
pub use maker::make_namespace;

/// How a maker is told what to make, after the subcommand `task`.
const NAMESPACE_ARGUMENT: &str = "--howdah-namespace=";

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a look at what is hidden may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// What the superuser's tasks keep: what concerns files and users. Not what would let them change mounts, trace the
/// daemons, load modules or read disks.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// How tasks are kept apart.
#[derive(Clone, Debug)]
pub struct IsolationSettings {
    /// Whether tasks may run only where they are.
    pub required: bool,
    /// Files and folders that they are not to see, as far as they are on this host.
    pub hidden: Vec<PathBuf>,
    /// The executable whose subcommand `task` makes namespaces.
    pub maker: PathBuf,
}

/// What this host allows.
#[derive(Debug)]
pub(crate) struct Isolation {
    /// Or why there are none.
    namespaces: Result<Namespaces, String>,
    landlock: Option<Arc<OwnedFd>>,
    capabilities: Capabilities,
    /// Common folders that all attempts share, and what lies there that they need.
    shared: Vec<(PathBuf, PathBuf)>,
}

/// Of a superuser's task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capabilities {
    kept: CapabilitySet,
    dropped: CapabilitySet,
}

/// What one attempt is confined by.
#[derive(Debug)]
pub(crate) struct Confinement {
    namespace: Option<Lent>,
    landlock: Option<Arc<OwnedFd>>,
    capabilities: Capabilities,
}

impl Confinement {
    /// Makes what takes the place of common folders in an attempt's `folder`, which is `uid`'s, or this process' own.
    ///
    /// # Errors
    /// When the disk says no.
    pub(crate) fn furnish(&self, folder: &Path, uid: Option<u32>) -> io::Result<()> {
        let namespace = self.namespace.as_ref().map(Lent::lent);
        for private in namespace.map_or(&[][..], |it| it.layout.private()) {
            let path = folder.join(&private.name);
            std::fs::create_dir(&path)?;
            if uid.is_some() {
                std::os::unix::fs::chown(&path, uid, uid)?;
            }
            // Programs look for that. Nobody else comes through the attempt's folder.
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o1777))?;
        }
        Ok(())
    }
}

#[cfg(test)]
impl Confinement {
    /// One with rules that are none.
    pub(crate) fn broken() -> Self {
        let rules = Some(Arc::new(File::open("/dev/null").unwrap().into()));
        Self { namespace: None, landlock: rules, capabilities: Capabilities::of_tasks() }
    }
}

impl Isolation {
    /// Tries what this host allows. `own` are the TaskTracker's own folders; `need` are executables beside programs.
    pub(crate) async fn open(
        settings: Option<&IsolationSettings>,
        spawner: &Spawner,
        own: Layout,
        need: &[PathBuf],
    ) -> Self {
        let (own, shared) = own.with_private(need);
        let mut isolation = Self {
            namespaces: Err("it was not asked for".to_owned()),
            landlock: rules().unwrap_or_default().map(Arc::new),
            capabilities: Capabilities::of_tasks(),
            shared,
        };
        if let Some(settings) = settings {
            let namespaces = Namespaces::new(settings, spawner.clone(), own);
            isolation.namespaces = Ok(namespaces);
            if let Err(error) = isolation.try_out(settings, spawner).await {
                isolation.namespaces = Err(error.to_string());
            }
        }
        isolation
    }

    /// Why tasks see more than what is theirs, if they do.
    pub(crate) fn missing(&self) -> Option<&str> {
        self.namespaces.as_ref().err().map(String::as_str)
    }

    /// The common folders, like /tmp, that attempts share with the host where namespaces can be made, and what lies there
    /// that they need.
    pub(crate) fn shared(&self) -> &[(PathBuf, PathBuf)] {
        if self.namespaces.is_ok() { &self.shared } else { &[] }
    }

    /// From now on, attempts work on these disks alone.
    pub(crate) fn work_on(&self, disks: Vec<PathBuf>) {
        if let Ok(namespaces) = &self.namespaces {
            namespaces.work_on(disks);
        }
    }

    /// Whether tasks can't look into other processes, or signal them.
    pub(crate) fn closes_others(&self) -> bool {
        self.landlock.is_some()
    }

    /// What the next attempt is to be confined by. Where namespaces can be made, none goes without.
    ///
    /// # Errors
    /// When no namespace can be made just now.
    pub(crate) async fn confine(&self) -> io::Result<Arc<Confinement>> {
        let namespace = match &self.namespaces {
            Ok(namespaces) => Some(namespaces.lend().await?),
            Err(_) => None,
        };
        let landlock = self.landlock.clone();
        Ok(Arc::new(Confinement { namespace, landlock, capabilities: self.capabilities }))
    }

    /// Runs something that is confined as an attempt is.
    async fn try_out(&self, settings: &IsolationSettings, spawner: &Spawner) -> io::Result<()> {
        let Ok(namespaces) = &self.namespaces else { return Ok(()) };
        let attempts = namespaces.layout().attempts().next().ok_or(io::ErrorKind::NotFound)?;
        let folder = attempts.join("trial");
        let trial = async {
            let confinement = self.confine().await?;
            std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
            confinement.furnish(&folder, None)?;
            let executable = Executable {
                arguments: vec!["--version".to_owned()],
                confinement: Some(confinement),
                ..maker(settings.maker.clone(), &folder)
            };
            let mut process = spawner.spawn(executable).await?;
            let exit = timeout(PATIENCE, &mut process.exit).await?;
            match exit.map_err(io::Error::other)? {
                status if status.success() => Ok(()),
                status => Err(io::Error::other(format!("a trial of it ended with {status}"))),
            }
        };
        let tried = trial.await;
        tree::remove(&folder)?;
        tried
    }
}

impl Capabilities {
    /// What this process can take from tasks that are root: nothing, if it is not.
    fn of_tasks() -> Self {
        let none = Self { kept: CapabilitySet::empty(), dropped: CapabilitySet::empty() };
        let Ok(own) = capabilities(None) else { return none };
        let may = own.effective.contains(CapabilitySet::SETPCAP);
        if !rustix::process::geteuid().is_root() || !may {
            return none;
        }
        Self { kept: own.permitted & KEPT, dropped: own.permitted - KEPT }
    }
}

/// The rules of a Landlock domain; none where the system knows none of that.
fn rules() -> Result<Option<OwnedFd>, RulesetError> {
    let rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    Ok(rules.scope(Scope::Signal)?.create()?.into())
}

fn maker(path: PathBuf, folder: &Path) -> Executable {
    Executable {
        path,
        arguments: Vec::new(),
        folder: folder.to_owned(),
        environment: Vec::new(),
        group: None,
        limits: Limits::NONE,
        uid: None,
        disk: None,
        confinement: None,
    }
}

/// A namespace, as long as it is open here.
#[derive(Debug)]
pub(crate) struct Namespace {
    /// What allowed to make it, where this process is not the superuser.
    user: Option<File>,
    mounts: File,
    layout: Arc<Layout>,
    /// What was hidden, at its making.
    seen: Vec<Identity>,
}

/// Device and number of a file; none if it is not there.
type Identity = Option<(u64, u64)>;

/// Namespaces that nobody uses, and how to make more.
#[derive(Debug)]
struct Namespaces {
    pool: Arc<Mutex<Pool>>,
    hidden: Arc<[PathBuf]>,
    last: tokio::sync::Mutex<Look>,
    maker: PathBuf,
    spawner: Spawner,
}

/// Namespaces of one layout.
#[derive(Debug)]
struct Pool {
    layout: Arc<Layout>,
    free: Vec<Namespace>,
}

/// The last look at what is hidden.
#[derive(Debug, Default)]
struct Look {
    seen: Vec<Identity>,
    /// The one that has not answered in time: another would only hang beside it.
    late: Option<JoinHandle<Vec<Identity>>>,
}

/// A namespace that is one attempt's.
#[derive(Debug)]
struct Lent {
    /// Absent only while it is dropped.
    namespace: Option<Namespace>,
    pool: Arc<Mutex<Pool>>,
}

impl Lent {
    fn lent(&self) -> &Namespace {
        self.namespace.as_ref().expect("it is there until it is dropped")
    }
}

/// It is given back, unless it shows disks that are worked on no more.
impl Drop for Lent {
    fn drop(&mut self) {
        let mut pool = lock(&self.pool);
        let namespace = self.namespace.take_if(|it| Arc::ptr_eq(&it.layout, &pool.layout));
        pool.free.extend(namespace);
    }
}

fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Namespaces {
    fn new(settings: &IsolationSettings, spawner: Spawner, own: Layout) -> Self {
        let roots: Vec<PathBuf> = own.roots().map(Path::to_owned).collect();
        let mut hidden = settings.hidden.clone();
        // By whatever name the configuration knows it, the own folder stays.
        let is_own = |path: &PathBuf| path.canonicalize().is_ok_and(|path| roots.contains(&path));
        hidden.retain(|path| !is_own(path));
        // What lies in another one is covered with it.
        hidden.sort();
        hidden.dedup();
        Self {
            pool: Arc::new(Mutex::new(Pool { layout: Arc::new(own), free: Vec::new() })),
            hidden: hidden.into(),
            last: tokio::sync::Mutex::default(),
            maker: settings.maker.clone(),
            spawner,
        }
    }

    /// One that nobody uses. What was put in the place of a hidden file since it was made, it would show: then it is
    /// given up for a new one.
    async fn lend(&self) -> io::Result<Lent> {
        let seen = self.look().await;
        let free = loop {
            let free = lock(&self.pool).free.pop();
            match free {
                Some(namespace) if namespace.seen != seen => {}
                free => break free,
            }
        };
        let namespace = match free {
            Some(namespace) => namespace,
            None => self.make(seen).await?,
        };
        Ok(Lent { namespace: Some(namespace), pool: Arc::clone(&self.pool) })
    }

    fn layout(&self) -> Arc<Layout> {
        Arc::clone(&lock(&self.pool).layout)
    }

    /// Of the namespaces that were made for other disks, none is lent again: each keeps the file systems of those.
    fn work_on(&self, disks: Vec<PathBuf>) {
        let mut pool = lock(&self.pool);
        let layout = Arc::new(pool.layout.on(disks));
        let old = std::mem::replace(&mut *pool, Pool { layout, free: Vec::new() });
        drop(pool);
        drop(old);
    }

    /// What there is of the hidden ones. On a disk that hangs it is as it was.
    async fn look(&self) -> Vec<Identity> {
        let mut last = self.last.lock().await;
        let mut looking = last.late.take().unwrap_or_else(|| {
            let hidden = Arc::clone(&self.hidden);
            tokio::task::spawn_blocking(move || look(&hidden))
        });
        match timeout(LOOK_PATIENCE, &mut looking).await {
            Ok(Ok(seen)) => last.seen = seen,
            Ok(Err(error)) => tracing::warn!(%error, "what is hidden from tasks was not looked at"),
            Err(_) => last.late = Some(looking),
        }
        last.seen.clone()
    }

    async fn make(&self, seen: Vec<Identity>) -> io::Result<Namespace> {
        let layout = self.layout();
        let order = maker::Order {
            layout: (*layout).clone(),
            hidden: self.hidden.to_vec(),
            with_users: !rustix::process::geteuid().is_root(),
        };
        let home = layout.roots().next().unwrap_or(Path::new("/"));
        let order_text = serde_json::to_string(&order)?;
        let channel = format!("{CHANNEL_ARGUMENT}{CHANNEL_FD}");
        let executable = Executable {
            arguments: vec![
                "task".to_owned(),
                channel,
                format!("{NAMESPACE_ARGUMENT}{order_text}"),
            ],
            ..maker(self.maker.clone(), home)
        };
        let process = self.spawner.spawn(executable).await?;
        let layout = Arc::clone(&layout);
        let take = move || take(&process, layout, order.with_users, seen);
        tokio::task::spawn_blocking(take).await.map_err(io::Error::other)?
    }
}

fn look(hidden: &[PathBuf]) -> Vec<Identity> {
    let look =
        |path: &PathBuf| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    hidden.iter().map(look).collect()
}

/// Takes what the maker has made, once it says so; it ends with that.
fn take(
    process: &Process,
    layout: Arc<Layout>,
    with_users: bool,
    seen: Vec<Identity>,
) -> io::Result<Namespace> {
    let mut channel = &process.channel;
    channel.set_nonblocking(false)?;
    channel.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    channel.read_to_string(&mut answer)?;
    match answer.as_str() {
        maker::READY => {
            let of = |name| File::open(process.leash.killer().namespace(name));
            let user = with_users.then(|| of("user")).transpose()?;
            Ok(Namespace { user, mounts: of("mnt")?, layout, seen })
        }
        "" => Err(io::Error::other("what was to make a namespace ended without a word")),
        why => Err(io::Error::other(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(home: &Path, disks: &[PathBuf], hidden: Vec<PathBuf>) -> Namespaces {
        let settings = IsolationSettings { required: false, hidden, maker: PathBuf::new() };
        let layout = Layout::new(home.to_owned(), disks.to_vec());
        Namespaces::new(&settings, Spawner::start().unwrap(), layout)
    }

    #[tokio::test]
    async fn namespaces_of_disks_that_are_left_are_not_lent_again() {
        let place = tempfile::tempdir().unwrap();
        let namespaces = namespaces(place.path(), &["/mnt/1".into(), "/mnt/2".into()], Vec::new());
        let lend = || {
            let mounts = File::open("/dev/null").unwrap();
            let made =
                Namespace { user: None, mounts, layout: namespaces.layout(), seen: Vec::new() };
            Lent { namespace: Some(made), pool: Arc::clone(&namespaces.pool) }
        };
        let n_free = || lock(&namespaces.pool).free.len();
        let (free, lent) = (lend(), lend());
        drop(free);
        assert_eq!(n_free(), 1);
        namespaces.work_on(vec!["/mnt/2".into()]);
        assert_eq!(n_free(), 0, "the free ones are of the old layout");
        drop(lent);
        assert_eq!(n_free(), 0, "so is the one that comes back");
        drop(lend());
        assert_eq!(n_free(), 1);
    }

    #[tokio::test]
    async fn the_own_folders_are_not_hidden_by_whatever_name_they_are_known() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        let (own, link, other) = (place.join("own"), place.join("link"), place.join("other"));
        std::fs::create_dir(&own).unwrap();
        std::os::unix::fs::symlink(&own, &link).unwrap();
        let hidden = vec![link, own.clone(), other.clone(), other.clone()];
        let namespaces = namespaces(&own, std::slice::from_ref(&own), hidden);
        assert_eq!(*namespaces.hidden, *std::slice::from_ref(&other));
        let before = namespaces.look().await;
        std::fs::write(&other, "").unwrap();
        assert_ne!(namespaces.look().await, before, "what appears is noticed");
        let late = tokio::spawn(std::future::pending());
        namespaces.last.lock().await.late = Some(late);
        std::fs::remove_file(&other).unwrap();
        assert_ne!(namespaces.look().await, before, "a disk that hangs keeps nobody");
    }
}
