//! A daemon's listener: handed down by the supervisor as an open descriptor, or bound here.

use std::io;
use std::net::TcpListener;
use std::os::fd::{BorrowedFd, FromRawFd, RawFd};

use rustix::io::FdFlags;

use crate::predecessor::patiently;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// The address can't be listened on.
    #[error("cannot listen on {address}: {cause}; {}", remedy(cause))]
    Bind {
        /// The address.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The descriptor that was handed down is none, or not a listening socket.
    #[error("descriptor {descriptor}, handed down as a listener, is none: {cause}")]
    HandedDown {
        /// The descriptor.
        descriptor: RawFd,
        /// What the system said.
        cause: io::Error,
    },
}

/// What to do when an address can't be listened on.
pub(crate) fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            "stop what uses that port, or give this daemon another address in the configuration"
        }
        io::ErrorKind::PermissionDenied => {
            "give this daemon a port of 1024 or above in the configuration"
        }
        _ => {
            "give this daemon an address in the configuration that is this host's own, as a name that this \
             host can look up or as a number; or, where others reach it by an address that this host does not have, \
             say beside it where to listen (listen: 0.0.0.0:PORT)"
        }
    }
}

/// A listener on `address`; a predecessor that is just ending is waited for.
pub(crate) fn bind(address: &str) -> io::Result<TcpListener> {
    let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    patiently(|| TcpListener::bind(address), is_taken)
}

/// The listener `handed_down`, or a new one on `address`.
pub(super) fn listener(
    address: &str,
    handed_down: Option<RawFd>,
) -> Result<TcpListener, ListenError> {
    match handed_down {
        Some(descriptor) => adopt(descriptor)
            .map_err(|cause| ListenError::HandedDown { descriptor, cause: cause.into() }),
        None => {
            bind(address).map_err(|cause| ListenError::Bind { address: address.to_owned(), cause })
        }
    }
}

/// Takes the descriptor over. Called once, before anything else opens descriptors.
fn adopt(descriptor: RawFd) -> rustix::io::Result<TcpListener> {
    // SAFETY: the borrow ends with this function; a descriptor that is not open is answered with EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    if !rustix::net::sockopt::socket_acceptconn(borrowed)? {
        return Err(rustix::io::Errno::INVAL);
    }
    // The daemon's own children, the task processes, must not keep the port.
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, as checked above, and was handed down for this listener alone.
    Ok(unsafe { TcpListener::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_predecessor_that_is_ending_is_waited_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let mut dying = Some(taken);
        let mut tries = 0;
        let bound = patiently(
            || {
                tries += 1;
                let bound = TcpListener::bind(&address);
                dying = None;
                bound
            },
            |error| error.kind() == io::ErrorKind::AddrInUse,
        );
        assert!(bound.is_ok() && tries == 2);
    }

    #[test]
    fn a_taken_address_is_named_and_a_wrong_descriptor_refused() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = listener(&address, None).unwrap_err().to_string();
        assert!(error.contains(&address) && error.contains("stop what uses"), "{error}");
        for foreign in ["192.0.2.1:80", "no-such-host.invalid:7870"] {
            let error = listener(foreign, None).unwrap_err().to_string();
            assert!(error.contains(foreign) && error.contains("this host's own"), "{error}");
        }
        assert!(listener(&address, Some(9999)).is_err());
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let not_a_socket = std::os::fd::AsRawFd::as_raw_fd(&file);
        assert!(listener(&address, Some(not_a_socket)).is_err());
    }
}
