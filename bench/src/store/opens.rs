//! Opens: where the chunks of a file are, asked for one file or a thousand at a time. One by one they are
//! compared with an empty handler that gets the same requests.

use chunkstore_protocol::LOCATE_PATHS_MAX;

use super::StoreArgs;
use super::load::{self, Template};
use super::master::Master;
use super::population::{PATH_BYTES, write_path};
use crate::measure::Rates;
use crate::peer::Running;
use crate::report::Report;

/// Kept connections of readers that ask for one file at a time.
pub(super) const CONNECTIONS: usize = 64;
/// And of those that ask for many.
const BATCH_CONNECTIONS: usize = 4;
/// Share of an empty handler's rate.
const RATIO_MIN: f64 = 0.6;
const BATCH_PATHS_MIN: f64 = 150_000.0;

/// A step through all files that looks like chance: prime, and no divisor of any number of files used.
const STRIDE: u64 = 611_953;

/// Opens single files.
pub(super) async fn one_by_one(
    master: &Master,
    args: &StoreArgs,
    report: &mut Report,
) -> anyhow::Result<()> {
    let body = format!(r#"{{"path":"{}"}}"#, mark());
    let empty = Running::start(&["empty"])?;
    let token = master.user_token();
    let request =
        |address: &str, route: &str| Template::new(address, route, &token, &body, &mark());
    let (ours, theirs) =
        (request(&master.address, "/v1/files/locate"), request(&empty.address, "/empty"));
    let (mut opens, mut nothing, mut bytes) = (Rates::default(), Rates::default(), 0);
    let mut first = 0;
    for run in 0..=args.runs {
        let load = async |address: &str, template: &Template, first| {
            let template = |_| template.clone();
            load::run(address, template, CONNECTIONS, args.time(), first, write(args.files)).await
        };
        let peer = load(&empty.address, &theirs, 0).await?;
        let own = load(&master.address, &ours, first).await?;
        first += own.requests;
        // The first run warms both up.
        if run > 0 {
            opens.push(own.rate());
            nothing.push(peer.rate());
        }
        bytes = own.body_bytes;
    }
    let ratio = opens.ratio_to(&nothing);
    report.row(
        format!("opens, one of {} files a request, {CONNECTIONS} connections", args.files),
        format!("{opens} of {bytes} bytes; an empty handler {nothing}; ratio {ratio:.2}"),
        format!("≥ {RATIO_MIN} × an empty handler"),
        ratio >= RATIO_MIN,
    );
    Ok(())
}

/// Opens a thousand at a time.
pub(super) async fn in_batches(
    master: &Master,
    args: &StoreArgs,
    report: &mut Report,
) -> anyhow::Result<()> {
    let quoted = vec![format!("\"{}\"", mark()); LOCATE_PATHS_MAX].join(",");
    let body = format!(r#"{{"paths":[{quoted}]}}"#);
    let token = master.user_token();
    let template = Template::new(&master.address, "/v1/files/locate_many", &token, &body, &mark());
    let (mut paths, mut first) = (Rates::default(), 0);
    for run in 0..=args.runs {
        let write = write(args.files);
        let template = |_| template.clone();
        let own =
            load::run(&master.address, template, BATCH_CONNECTIONS, args.time(), first, write)
                .await?;
        first += own.requests * LOCATE_PATHS_MAX as u64;
        if run > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a thousand")]
            paths.push(own.rate() * LOCATE_PATHS_MAX as f64);
        }
    }
    let met = paths.median() >= BATCH_PATHS_MIN;
    report.row(
        format!("opens, {LOCATE_PATHS_MAX} of {} files a request", args.files),
        format!("{paths}"),
        format!("≥ {BATCH_PATHS_MIN:.0} paths/s"),
        met,
    );
    Ok(())
}

fn mark() -> String {
    "#".repeat(PATH_BYTES)
}

/// Number `n` of a walk through `files` files that meets each once before it meets one again.
fn write(files: u64) -> impl Fn(u64, &mut [u8]) + Clone + Send + 'static {
    move |n, place: &mut [u8]| write_path(n.wrapping_mul(STRIDE) % files.max(1), place)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_walk_meets_every_file_once() {
        for files in [1000, 2000, 100_000] {
            let write = write(files);
            let met: BTreeSet<_> = (0..files)
                .map(|n| {
                    let mut place = [0; PATH_BYTES];
                    write(n, &mut place);
                    place
                })
                .collect();
            assert_eq!(met.len() as u64, files);
        }
    }
}
