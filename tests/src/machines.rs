//! Hosts as people have them: each with a network address and name, files and processes of its own, and a shell for root,
//! which tests give a page's commands to, letter by letter. Only ssh, scp and systemctl are stand-ins (see
//! `tests/programs/hosts`): no sshd and no systemd run there.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::statfs;
use tempfile::TempDir;

use crate::binary::root;
use crate::cluster::end_with_this_process;
use crate::network::Network;

/// A block of commands that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Printed when a block's commands have all succeeded.
const DONE: &str = "==== the block is done ====";
/// What `statfs` calls an overlay, on which none can be laid.
const OVERLAY: i64 = 0x794c_7630;
/// Units whose word that they are ready is heard.
const UNITS: [&str; 4] = ["chunkmaster", "chunkserver", "jobtracker", "tasktracker"];

/// Hosts on one switch; all that runs there ends with them.
pub struct Machines {
    machines: Vec<Machine>,
    listener: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
    network: Network,
    folder: TempDir,
}

/// One that is switched on.
struct Machine {
    name: String,
    /// Its process 1's parent, which takes it along.
    process: Child,
    orders: ChildStdin,
    said: Receiver<String>,
    n_blocks: usize,
}

impl Machines {
    /// Switched on; `None`, and said, where there can be no such hosts.
    ///
    /// # Panics
    /// When one does not begin.
    #[must_use]
    pub fn start(names: &[&str]) -> Option<Self> {
        let network = Network::of(names)?;
        let folder = a_folder();
        let everyone = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), everyone).expect("the folder is ours");
        for part in ["notify", "ready"] {
            fs::create_dir(folder.path().join(part)).expect("a folder can be made");
        }
        let is_over = Arc::<AtomicBool>::default();
        let mut sockets = vec![];
        for (name, unit) in names.iter().flat_map(|name| UNITS.map(|unit| (name, unit))) {
            let unit = format!("{name}-howdah-{unit}");
            let path = folder.path().join("notify").join(&unit);
            let socket = UnixDatagram::bind(&path).expect("a socket can be made");
            let everyone = fs::Permissions::from_mode(0o777);
            fs::set_permissions(path, everyone).expect("the socket is ours");
            socket.set_read_timeout(Some(Duration::from_millis(1))).expect("not zero");
            sockets.push((socket, folder.path().join("ready").join(unit)));
        }
        let over = Arc::clone(&is_over);
        let listener = std::thread::spawn(move || hear(&sockets, &over));
        let listener = Some(listener);
        let mut all = Self { machines: vec![], listener, is_over, network, folder };
        names.iter().for_each(|name| all.switch_on(name));
        Some(all)
    }

    /// A folder that all of them see at the same place.
    #[must_use]
    pub fn shared(&self) -> &Path {
        self.folder.path()
    }

    /// The folder in which a host's commands are run.
    #[must_use]
    pub fn work(&self, host: &str) -> PathBuf {
        self.folder.path().join("homes").join(host).join("work")
    }

    /// Switches a host on, again after it was off.
    ///
    /// # Panics
    /// When it can't begin.
    pub fn switch_on(&mut self, host: &str) {
        self.machines.retain(|machine| machine.name != host);
        let home = self.folder.path().join("homes").join(host);
        fs::create_dir_all(&home).expect("a host's folder can be made");
        let stand_ins = root().join("tests/programs/hosts");
        let mut boot = Command::new("unshare");
        boot.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        boot.arg(stand_ins.join("boot")).arg(&home).arg(self.network.names_file()).arg(&stand_ins);
        boot.env("WIRE", self.folder.path()).env_remove("HOWDAH_CONFIG");
        let mut boot = self.network.on(host, &boot);
        end_with_this_process(&mut boot);
        let log = fs::File::create(home.join("boot.log")).expect("a log can be made");
        let pipes = boot.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut process = pipes.spawn().expect("a host begins");
        let orders = process.stdin.take().expect("a pipe");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let (tell, said) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _nobody_listens = tell.send(line);
            }
        });
        let name = host.to_owned();
        self.machines.push(Machine { name, process, orders, said, n_blocks: 0 });
        let _ = self.run(host, "true");
    }

    /// Runs a block of commands on a host, in the shell that has run those before, and returns what they said.
    ///
    /// # Panics
    /// When one of them fails: with all that was said, and the logs of the host's daemons.
    pub fn run(&mut self, host: &str, block: &str) -> String {
        let home = self.folder.path().join("homes").join(host);
        let machine = self.machines.iter_mut().find(|machine| machine.name == host);
        let machine = machine.unwrap_or_else(|| panic!("no host {host} is on"));
        machine.n_blocks += 1;
        let order = home.join(format!("block-{}", machine.n_blocks));
        fs::write(&order, format!("{block}\necho '{DONE}'\n")).expect("a block can be written");
        let told = writeln!(machine.orders, "{}", order.display());
        let mut said = String::new();
        while told.is_ok() {
            match machine.said.recv_timeout(PATIENCE) {
                Ok(line) if line == DONE => return said,
                Ok(line) => said += &(line + "\n"),
                Err(_) => break,
            }
        }
        let boot = fs::read_to_string(home.join("boot.log")).unwrap_or_default();
        panic!("on {host}:\n{block}\nfailed, and said:\n{said}{boot}{}", self.logs());
    }

    /// What all daemons have logged.
    fn logs(&self) -> String {
        let of_host = |machine: &Machine| {
            let folder = self.folder.path().join("homes").join(&machine.name).join("var/upper/log");
            let files = fs::read_dir(folder).into_iter().flatten().flatten();
            let texts = files.filter_map(|file| {
                let text = fs::read_to_string(file.path()).ok()?;
                Some(format!("==== {} of {} ====\n{text}", file.path().display(), machine.name))
            });
            texts.collect::<String>()
        };
        self.machines.iter().map(of_host).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.machines.clear();
        self.is_over.store(true, Ordering::Relaxed);
        self.listener.take().map(JoinHandle::join);
    }
}

/// Files of a host lie over those of this machine, which takes a file system that is none of overlays itself.
fn a_folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let kind = statfs(folder.path()).expect("it stands").f_type;
    match kind == OVERLAY {
        true => TempDir::new_in("/dev/shm").expect("a folder in memory"),
        false => folder,
    }
}

/// Notes which daemons have said that they are ready, until it is over.
fn hear(sockets: &[(UnixDatagram, PathBuf)], is_over: &AtomicBool) {
    let mut word = [0; 200];
    while !is_over.load(Ordering::Relaxed) {
        for (socket, ready) in sockets {
            let heard = socket.recv(&mut word).unwrap_or_default();
            if word[..heard].starts_with(b"READY=1") {
                fs::write(ready, "").expect("a file can be made");
            }
        }
    }
}
