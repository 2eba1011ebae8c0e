//! Creates: an empty file a request, answered when it is on disk. Compared with a handler that journals a
//! record of the same length through the same loop and journal, and does nothing else.

use anyhow::Context as _;

use super::StoreArgs;
use super::load::{self, Template};
use super::master::Master;
use super::opens::CONNECTIONS;
use super::population::{bytes_of_create, digits};
use crate::measure::Rates;
use crate::peer::Running;
use crate::report::Report;

const RATIO_MIN: f64 = 0.5;
/// Digits of a number: it begins with a 1, so that it is one in JSON too.
const NUMBER_MARK: &str = "9999999999999";
const NUMBERS_FROM: u64 = 1_000_000_000_000;

/// Adds the row of creates.
pub(super) async fn measure(
    master: &Master,
    args: &StoreArgs,
    report: &mut Report,
) -> anyhow::Result<()> {
    let _made = master.cluster.run(&["fs", "mkdir", "/creates"]).success();
    let token = master.user_token();
    let record_bytes = bytes_of_create(&master.servers);
    let folder = tempfile::tempdir_in(master.cluster.scratch())?;
    let dir = folder.path().join("journal");
    let dir = dir.to_str().context("the scratch folder's name is no UTF-8")?;
    let peer = Running::start(&["journal", dir, &record_bytes.to_string()])?;
    let (mut creates, mut journals, mut first) = (Rates::default(), Rates::default(), 0);
    for run in 0..=args.runs {
        let load = async |address: &str, route: &str, first| {
            let template = |n| template(address, route, &token, n);
            load::run(address, template, CONNECTIONS, args.time(), first, write).await
        };
        let journaling = load(&peer.address, "/journal", 0).await?;
        let own = load(&master.address, "/v1/files/create", first).await?;
        // A request takes two numbers.
        first += 2 * own.requests + 2 * CONNECTIONS as u64;
        if run > 0 {
            creates.push(own.rate());
            journals.push(journaling.rate());
        }
    }
    let ratio = creates.ratio_to(&journals);
    report.row(
        format!("creates of empty files, one a request, {CONNECTIONS} connections"),
        format!(
            "{creates}; a handler that journals {record_bytes} bytes {journals}; ratio {ratio:.2}"
        ),
        format!("≥ {RATIO_MIN} × a handler that journals"),
        ratio >= RATIO_MIN,
    );
    Ok(())
}

/// Each connection is a client of its own: its requests are in one chain.
fn template(address: &str, route: &str, token: &str, connection: usize) -> Template {
    let body = format!(
        r#"{{"stamp":{{"client":"bench-{connection:03}","slot":0,"sequence":{NUMBER_MARK}}},"path":"/creates/f{NUMBER_MARK}","replication":3}}"#
    );
    Template::new(address, route, token, &body, NUMBER_MARK)
}

fn write(n: u64, place: &mut [u8]) {
    digits(NUMBERS_FROM + n, place);
}
