//! A network namespace of its own, joined with this one by a pair of virtual devices, and by nothing more that would cost
//! time; both go with it. Needs root and `ip`. (`tests::network` has hosts that can be cut off, behind a bridge.)

use std::process::Command;

use tests::network::ip;

/// One of them.
pub(super) struct Namespace {
    name: String,
    /// Our end's.
    address: String,
}

/// Addresses of both ends, of a range that is not routed: other ones for each process, so that what a killed one
/// left behind leads nobody astray.
fn addresses(process: u32) -> [String; 2] {
    let [_, _, high, low] = process.to_be_bytes();
    let fourth = (low & 63) << 2;
    let third = (high & 63) << 2 | low >> 6;
    [1, 2].map(|end| format!("10.219.{third}.{}", fourth + end))
}

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// With the reason, where that is not allowed.
    pub(super) fn new() -> anyhow::Result<Self> {
        let id = std::process::id();
        let (name, near, far) = (format!("howdah-{id}"), format!("hb{id}n"), format!("hb{id}f"));
        ip(&["netns", "add", &name])?;
        // From here on it goes with what is returned, or with the error.
        let [address, other] = addresses(id);
        let made = Self { name, address };
        let name = made.name.as_str();
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", name])?;
        ip(&["addr", "add", &format!("{}/30", made.address), "dev", &near])?;
        ip(&["link", "set", &near, "up"])?;
        ip(&["-n", name, "addr", "add", &format!("{other}/30"), "dev", &far])?;
        ip(&["-n", name, "link", "set", &far, "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(made)
    }

    /// Where those within reach this side.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A command as one that is run within.
    pub(super) fn within(&self, command: &Command) -> Command {
        let mut within = Command::new("ip");
        within.args(["netns", "exec", &self.name]).arg(command.get_program());
        within.args(command.get_args());
        within
    }
}

impl Drop for Namespace {
    /// The devices go with the namespace that one of them is in.
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            eprintln!("{error:#}");
        }
    }
}
