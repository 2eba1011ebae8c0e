//! Notifies the service manager that started this process, if it wants that (`Type=notify` of
//! systemd, `sd_notify(3)`), by a datagram to the socket that it named. Best effort: whether
//! somebody listens makes no difference here.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::OnceLock;

static NOTIFIED: OnceLock<Notified> = OnceLock::new();

/// The service manager's socket.
#[derive(Debug)]
struct Notified {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Notified {
    /// At a path or, after an `@`, at a name of the abstract namespace.
    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes().split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(name),
        };
        Ok(Self { socket: UnixDatagram::unbound()?, address: address? })
    }

    fn tell(&self, what: &str) -> io::Result<()> {
        self.socket.send_to_addr(what.as_bytes(), &self.address).map(drop)
    }
}

/// From now on notifies the manager at this address (`NOTIFY_SOCKET`) of the daemon's state. Once
/// per process.
///
/// # Errors
/// The address is not valid.
pub fn report_to(address: &OsStr) -> io::Result<()> {
    let _first_one_stays = NOTIFIED.set(Notified::at(address)?);
    Ok(())
}

/// The daemon can do its work.
pub(crate) fn tell_ready() {
    tell("READY=1\nSTATUS=ready");
}

/// The daemon is about to end.
pub(crate) fn tell_stopping() {
    tell("STOPPING=1\nSTATUS=stopping");
}

fn tell(what: &str) {
    if let Some(notified) = NOTIFIED.get()
        && let Err(error) = notified.tell(what)
    {
        tracing::debug!(%error, "the service manager hears nothing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(listener: &UnixDatagram) -> String {
        let mut word = [0; 100];
        let n_bytes = listener.recv(&mut word).unwrap();
        String::from_utf8_lossy(&word[..n_bytes]).into_owned()
    }

    #[test]
    fn it_is_told_at_a_path_and_at_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        Notified::at(path.as_os_str()).unwrap().tell("READY=1").unwrap();
        assert_eq!(heard(&listener), "READY=1");
        let name = format!("howdah-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        Notified::at(OsStr::new(&format!("@{name}"))).unwrap().tell("STOPPING=1").unwrap();
        assert_eq!(heard(&listener), "STOPPING=1");
    }

    #[test]
    fn whoever_is_gone_who_was_to_hear_it_is_no_failure_of_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let notified = Notified::at(dir.path().join("nobody").as_os_str()).unwrap();
        assert!(notified.tell("READY=1").is_err());
        tell_ready();
    }
}
