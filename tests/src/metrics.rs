//! What daemons count, as Prometheus would read it.

use crate::Dev;

/// The sum of a daemon's metrics whose lines begin with `name`; `None` if it does not answer. A name with a space
/// behind it is that metric alone; one without is it with all its labels.
#[must_use]
pub fn metric(dev: &Dev, daemon: &str, name: &str) -> Option<f64> {
    let page = dev.page_of(&dev.address_of(daemon), "/metrics").ok()?.text;
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}
