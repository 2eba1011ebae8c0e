//! The listeners of a supervised cluster. The supervisor binds them and hands them down, so that no
//! port is lost between its choice and a daemon's start.
//!
//! New ports are taken from below the range from which the system gives outgoing connections theirs: a
//! daemon that is restarted must find its port free, and a client that knocks at a dead daemon's port
//! must not meet itself there.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use crate::daemons::listen::{bind, remedy};

/// First port that is tried, and the end of the range where the system says nothing else.
const PORTS: std::ops::Range<u16> = 15_000..32_768;
const TRIES: u32 = 200;
const OUTGOING_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Why a listener can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    /// The address that the cluster keeps is in use.
    #[error(
        "{daemon} can't listen on {address}, which this cluster keeps for it in {file}: {cause}; {}",
        remedy(cause)
    )]
    Kept {
        /// The daemon.
        daemon: String,
        /// Its address.
        address: String,
        /// The configuration with the address.
        file: String,
        /// What the system said.
        cause: io::Error,
    },
    /// No port at all.
    #[error("no free port on loopback: {TRIES} tries failed, the last one with: {0}")]
    NoneFree(io::Error),
}

/// Listens on any free port of loopback outside the system's range for outgoing connections.
pub(crate) fn listen_anywhere() -> Result<TcpListener, PortError> {
    let range = PORTS.start..outgoing_first().unwrap_or(PORTS.end).max(PORTS.start + 1000);
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let offset = net::random_u64() % u64::from(range.end - range.start);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, range.start + offset as u16)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(PortError::NoneFree(last))
}

fn outgoing_first() -> Option<u16> {
    std::fs::read_to_string(OUTGOING_RANGE).ok()?.split_whitespace().next()?.parse().ok()
}

/// Listens on the address that a cluster keeps for a daemon.
pub(crate) fn listen_again(
    daemon: &str,
    address: &str,
    file: &std::path::Path,
) -> Result<TcpListener, PortError> {
    bind(address).map_err(|cause| PortError::Kept {
        daemon: daemon.to_owned(),
        address: address.to_owned(),
        file: file.display().to_string(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_daemon_and_file() {
        let taken = listen_anywhere().unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = listen_again("jobtracker", &address, "/d/cluster.yaml".as_ref()).unwrap_err();
        let text = error.to_string();
        for part in ["jobtracker", &address, "/d/cluster.yaml"] {
            assert!(text.contains(part), "{text}");
        }
        drop(taken);
        assert!(listen_again("jobtracker", &address, "/d/cluster.yaml".as_ref()).is_ok());
    }
}
