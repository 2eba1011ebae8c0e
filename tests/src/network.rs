//! Several hosts on one machine: network namespaces, each with an address and a host name, joined by a switch (a
//! bridge in a namespace of its own), so that nothing of it touches the machine's own network. The switch cuts hosts
//! off: packets vanish, and nobody is told. Needs root, `ip` (iproute2) and `nft` (nftables).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

/// Namespaces of ours are called so, then the process that made them, the network of it, and the host.
const PREFIX: &str = "howdah-test-";
/// The namespace of the bridge.
const SWITCH: &str = "switch";
/// Run by a host's commands: a name and a list of hosts that only they see.
const AT_HOME: &str = "echo \"$0\" >/proc/sys/kernel/hostname && mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";

/// Hosts that reach one another and nobody else; gone with what runs there when dropped: what runs there must end first.
#[derive(Debug)]
pub struct Network {
    prefix: String,
    hosts: Vec<String>,
    files: TempDir,
}

/// What the switch lets vanish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All from and to a host.
    Full(String),
    /// All to a host; what it says arrives.
    Incoming(String),
    /// All from a host; what it is told arrives.
    Outgoing(String),
    /// All between two hosts; others reach both.
    Between(String, String),
}

impl Network {
    /// One of these hosts; `None`, and said, where that is not allowed.
    #[must_use]
    pub fn of(hosts: &[&str]) -> Option<Self> {
        match Self::make(hosts) {
            Ok(network) => Some(network),
            Err(error) => {
                crate::skipped(&format!("this needs network namespaces of its own: {error:#}"));
                None
            }
        }
    }

    fn make(hosts: &[&str]) -> anyhow::Result<Self> {
        static SWEPT: Once = Once::new();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        run(Command::new("nft").arg("--version"))?;
        let process = std::process::id();
        SWEPT.call_once(|| sweep(process));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        // From here on what there is of it goes with it.
        let network =
            Self { prefix: format!("{PREFIX}{process}-{number}"), hosts, files: TempDir::new()? };
        network.plug_in_all()?;
        Ok(network)
    }

    fn plug_in_all(&self) -> anyhow::Result<()> {
        let switch = self.namespace(SWITCH);
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "name", "bridge", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "bridge", "up"])?;
        let mut names = "127.0.0.1 localhost\n".to_owned();
        for host in &self.hosts {
            let (there, port) = (self.namespace(host), self.port(host));
            ip(&["netns", "add", &there])?;
            // No end of it is ever outside.
            let ends = ["netns", &switch, "type", "veth", "peer", "name", "eth0", "netns", &there];
            ip(&[&["link", "add", "name", &port][..], &ends].concat())?;
            ip(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"])?;
            let address = self.address(host);
            ip(&["-n", &there, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
            ip(&["-n", &there, "link", "set", "eth0", "up"])?;
            ip(&["-n", &there, "link", "set", "lo", "up"])?;
            names += &format!("{address} {host} {host}.example.org\n");
        }
        Ok(fs::write(self.names_file(), names)?)
    }

    /// What the hosts have for `/etc/hosts`: each is known by its name, and by that in `example.org`.
    #[must_use]
    pub fn names_file(&self) -> PathBuf {
        self.files.path().join("hosts")
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    fn index(&self, host: &str) -> usize {
        let index = self.hosts.iter().position(|it| it == host);
        index.unwrap_or_else(|| panic!("the network has no host {host}"))
    }

    /// Its port of the switch: interfaces have short names.
    fn port(&self, host: &str) -> String {
        format!("port-{}", self.index(host))
    }

    /// Another range for each process, though nobody can reach another's.
    ///
    /// # Panics
    /// When there is no such host.
    #[must_use]
    pub fn address(&self, host: &str) -> Ipv4Addr {
        let last = u8::try_from(self.index(host) + 1).expect("few hosts");
        let [.., high, low] = std::process::id().to_be_bytes();
        Ipv4Addr::new(10, 192 | (high & 63), low, last)
    }

    /// The same command, run on a host, where all hosts are known by name.
    #[must_use]
    pub fn on(&self, host: &str, command: &Command) -> Command {
        let mut there = Command::new("nsenter");
        there.arg(format!("--net={}", file_of(&self.namespace(host)).display()));
        there.args(["unshare", "--mount", "--uts", "--propagation", "slave"]);
        there.args(["sh", "-c", AT_HOME, host]).arg(self.names_file());
        there.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there
    }

    /// Lets this thread speak from a host, until what is returned is dropped. It does not know the hosts' names.
    ///
    /// # Panics
    /// When there is no such host.
    #[must_use]
    pub fn enter(&self, host: &str) -> Entered {
        let open = |path: &Path| File::open(path).expect("a namespace can be opened");
        let before = open(Path::new("/proc/thread-self/ns/net"));
        join(&open(&file_of(&self.namespace(host)))).expect("the namespace is ours");
        Entered { before, of_this_thread: PhantomData }
    }

    /// Processes that run on a host.
    ///
    /// # Panics
    /// When they can't be listed.
    #[must_use]
    pub fn processes(&self, host: &str) -> Vec<i32> {
        let said = ip(&["netns", "pids", &self.namespace(host)]).expect("the namespace is ours");
        said.lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    /// Lets packets vanish, besides those that vanish already.
    ///
    /// # Panics
    /// When the switch can't be told.
    pub fn cut(&self, cut: &Cut) {
        let from = |host: &str| format!("iifname \"{}\"", self.port(host));
        let to = |host: &str| format!("oifname \"{}\"", self.port(host));
        let rules = match cut {
            Cut::Full(host) => vec![from(host), to(host)],
            Cut::Incoming(host) => vec![to(host)],
            Cut::Outgoing(host) => vec![from(host)],
            Cut::Between(a, b) => vec![from(a) + " " + &to(b), from(b) + " " + &to(a)],
        };
        // Neighbours are still found: else the system itself would say after a while that there is no way.
        let rules: String = rules.iter().map(|it| format!("ether type ip {it} drop\n")).collect();
        self.tell_switch(&format!(
            "table bridge cut {{\nchain forward {{\ntype filter hook forward priority 0; policy accept;\n{rules}}}\n}}\n"
        ));
    }

    /// Lets everything through again.
    ///
    /// # Panics
    /// When the switch can't be told.
    pub fn heal(&self) {
        self.tell_switch("flush ruleset\n");
    }

    fn tell_switch(&self, rules: &str) {
        let mut nft = Command::new("nsenter");
        nft.arg(format!("--net={}", file_of(&self.namespace(SWITCH)).display()));
        nft.args(["nft", "-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = nft.spawn().expect("nsenter starts");
        let mut stdin = child.stdin.take().expect("its input is a pipe");
        stdin.write_all(rules.as_bytes()).expect("nft reads");
        drop(stdin);
        let ended = child.wait_with_output().expect("a child can be waited for");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "nft refuses {rules}: {said}");
    }
}

impl Drop for Network {
    /// Devices go with the namespaces that they are in.
    fn drop(&mut self) {
        for name in self.hosts.iter().map(String::as_str).chain([SWITCH]) {
            let namespace = self.namespace(name);
            if file_of(&namespace).exists()
                && let Err(error) = ip(&["netns", "delete", &namespace])
            {
                eprintln!("{error:#}");
            }
        }
    }
}

/// A thread that speaks from another host; it goes home when this is dropped.
#[derive(Debug)]
pub struct Entered {
    before: File,
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        join(&self.before).expect("this thread was there before");
    }
}

fn join(namespace: &File) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

fn file_of(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

/// Removes what killed runs have left, also one that had this process' number.
fn sweep(process: u32) {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let Some(owner) = owner(&name) else { continue };
        if owner == process || !Path::new("/proc").join(owner.to_string()).exists() {
            // Others may sweep too.
            let _gone = ip(&["netns", "delete", &name]);
        }
    }
}

/// The process that made a namespace of ours.
fn owner(namespace: &str) -> Option<u32> {
    namespace.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Runs `ip`, and returns what it says.
///
/// # Errors
/// With the reason, where it is not allowed or not installed.
pub fn ip(arguments: &[&str]) -> anyhow::Result<String> {
    run(Command::new("ip").args(arguments))
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ended = command.output().with_context(|| format!("`{program}` must be installed"))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    anyhow::ensure!(ended.status.success(), "{command:?} needs root: {}", said.trim());
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    const HOSTS: [&str; 3] = ["host-1", "host-2", "host-3"];

    /// Whether `from` gets an answer from `to`: one that nobody listens is one.
    fn reaches(network: &Network, from: &str, to: &str) -> bool {
        let _there = network.enter(from);
        let address = SocketAddr::from((network.address(to), 1));
        let tried = TcpStream::connect_timeout(&address, Duration::from_millis(300));
        tried.expect_err("nobody listens").kind() == io::ErrorKind::ConnectionRefused
    }

    fn silent(network: &Network) -> Vec<(&str, &str)> {
        let pairs = HOSTS.into_iter().flat_map(|from| HOSTS.map(|to| (from, to)));
        pairs.filter(|(from, to)| from != to && !reaches(network, from, to)).collect()
    }

    #[test]
    fn hosts_reach_one_another_unless_they_are_cut_off() {
        let Some(network) = Network::of(&HOSTS) else { return };
        assert_eq!(silent(&network), []);
        let host = || "host-1".to_owned();
        // A connection takes both ways.
        let alone = [
            ("host-1", "host-2"),
            ("host-1", "host-3"),
            ("host-2", "host-1"),
            ("host-3", "host-1"),
        ];
        for cut in [Cut::Full(host()), Cut::Incoming(host()), Cut::Outgoing(host())] {
            network.cut(&cut);
            assert_eq!(silent(&network), alone, "{cut:?}");
            network.heal();
        }
        network.cut(&Cut::Between(host(), "host-3".to_owned()));
        assert_eq!(silent(&network), [alone[1], alone[3]]);
        network.heal();
        assert_eq!(silent(&network), []);
    }

    #[test]
    fn one_way_of_a_connection_may_be_cut() {
        let Some(network) = Network::of(&HOSTS[..2]) else { return };
        let bound = |host| {
            let _there = network.enter(host);
            let socket = std::net::UdpSocket::bind((network.address(host), 9)).expect("it is free");
            socket.set_read_timeout(Some(Duration::from_millis(300))).expect("not zero");
            socket
        };
        let (one, two) = (bound("host-1"), bound("host-2"));
        let says = |from: &std::net::UdpSocket, to: &std::net::UdpSocket| {
            from.send_to(b"?", to.local_addr().expect("bound")).expect("the switch tells nobody");
            to.recv(&mut [0]).is_ok()
        };
        assert!(says(&one, &two) && says(&two, &one));
        network.cut(&Cut::Incoming("host-1".to_owned()));
        assert!(says(&one, &two) && !says(&two, &one));
        network.heal();
        network.cut(&Cut::Outgoing("host-1".to_owned()));
        assert!(!says(&one, &two) && says(&two, &one));
    }

    #[test]
    fn a_command_runs_on_its_host_and_knows_the_others_by_name() {
        let Some(network) = Network::of(&HOSTS) else { return };
        let script =
            "cat /proc/sys/kernel/hostname; getent ahostsv4 host-3 | cut -d' ' -f1 | head -n 1";
        let mut command = network.on("host-2", Command::new("sh").args(["-c", script]));
        let said = String::from_utf8(command.output().expect("it runs").stdout).expect("text");
        assert_eq!(said, format!("host-2\n{}\n", network.address("host-3")));
        let mine = fs::read_to_string("/proc/sys/kernel/hostname").expect("readable");
        assert_ne!(mine, "host-2\n", "others keep their name");
        assert!(!fs::read_to_string("/etc/hosts").expect("readable").contains("host-3"));
    }

    #[test]
    fn nothing_stays_of_it_and_nothing_of_a_killed_run() {
        let Some(network) = Network::of(&HOSTS[..1]) else { return };
        let listener = {
            let _there = network.enter("host-1");
            TcpListener::bind((network.address("host-1"), 7)).expect("it is this host's address")
        };
        let namespace = file_of(&network.namespace("host-1"));
        assert!(namespace.exists());
        drop((listener, network));
        assert!(!namespace.exists());
        // Above what the system numbers processes with.
        let left = format!("{PREFIX}4194305-0-host-1");
        ip(&["netns", "add", &left]).expect("a namespace can be made");
        let ours = Network::of(&HOSTS[..1]).expect("as before");
        sweep(0);
        assert!(!file_of(&left).exists(), "its process is gone");
        assert!(file_of(&ours.namespace("host-1")).exists(), "this process lives");
        assert_eq!(owner("howdah-test-12-3-host-1"), Some(12));
        assert_eq!(owner("somebody's"), None);
    }
}
