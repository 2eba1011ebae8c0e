//! The description of the JobTracker's interface: OpenAPI 3.1, generated from the routes. It is
//! served, and kept in `docs/openapi/jobtracker.json`, which a test compares.

use std::sync::LazyLock;

use ids::HostName;
use mapreduce_protocol::{AttemptId, JobId};
use net::api::{About, document, give_document};
use net::{Access, Routes};

use super::ServerState;

const ABOUT: About = About {
    title: "Howdah JobTracker",
    description: "Jobs, their attempts, hosts, pools, histories and, for browsers and `curl`, files. \
                  Every error is a problem document (RFC 9457) with a stable `type`. After a 4xx nothing has happened; after a \
                  time-out or a 5xx it may have, and a retry is safe (of a submission with an `Idempotency-Key`). A 500 is a flaw \
                  of this program, and stands with no operation. Each answer has the header `x-request-id`, which the logs of all \
                  daemons have too. `x-roles` says whose tokens an operation takes; what is `x-internal` is between daemons, and \
                  changes with releases. Beside these routes there are `/healthz`, `/readyz` and `/metrics`.",
    version: env!("CARGO_PKG_VERSION"),
    path_parameters: &[
        ("id", |schemas| schemas.subschema_for::<JobId>()),
        ("attempt", |schemas| schemas.subschema_for::<AttemptId>()),
        ("host", |schemas| schemas.subschema_for::<HostName>()),
    ],
};

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document(&super::routes(), &ABOUT));

/// The description of the JobTracker's interface, as `GET /v1/openapi.json` gives it.
#[must_use]
pub fn openapi() -> &'static str {
    &DOCUMENT
}

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new().route("/v1/openapi.json", Access::ANY_ROLE, give_document(openapi))
}
