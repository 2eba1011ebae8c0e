//! How lists of servers, and why they are needed, read in the middle of a refusal's sentence. Used
//! by `error` alone.

use std::fmt;

use ids::HostName;

use super::error::{Unfit, UnfitReason};

/// Names in a message at most; the rest are only counted.
const SHOWN_MAX: usize = 20;

pub(super) struct Hosts<'a>(pub(super) &'a [HostName]);

impl fmt::Display for Hosts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, self.0, "no server")
    }
}

pub(super) struct Unfits<'a>(pub(super) &'a [Unfit]);

impl fmt::Display for Unfits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str(": ")?;
        join(f, self.0, "")
    }
}

pub(super) struct Live<'a>(pub(super) &'a [HostName]);

impl fmt::Display for Live<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("is none"),
            live => write!(f, "is {}", Hosts(live)),
        }
    }
}

/// Why a chunk needs more than one server.
pub(super) struct WhyNeeded(pub(super) u8);

impl fmt::Display for WhyNeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => Ok(()),
            n => write!(f, " (what is to have {n} replicas or more must be on {n} from the start)"),
        }
    }
}

pub(super) struct FewerReplicas(pub(super) u8);

impl fmt::Display for FewerReplicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => Ok(()),
            _ => f.write_str(", or ask for 1 replica"),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            UnfitReason::Dead { seconds } => write!(f, "{} is dead for {seconds} s", self.host),
            UnfitReason::Draining => write!(f, "{} is being drained", self.host),
            UnfitReason::NoRoom { free_bytes } => {
                write!(f, "{} has {free_bytes} bytes free beyond chunkserver.reserve", self.host)
            }
        }
    }
}

fn join<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], none: &str) -> fmt::Result {
    if items.is_empty() {
        return f.write_str(none);
    }
    for (n, item) in items.iter().take(SHOWN_MAX).enumerate() {
        write!(f, "{}{item}", if n == 0 { "" } else { ", " })?;
    }
    match items.len().checked_sub(SHOWN_MAX) {
        Some(more) if more > 0 => write!(f, " and {more} more"),
        Some(_) | None => Ok(()),
    }
}
