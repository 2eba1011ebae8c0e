//! The description of the chunk master's interface: OpenAPI 3.1, generated from the routes. It is
//! served, and also kept in `docs/openapi/chunkmaster.json`, which a test compares with it.

use std::sync::LazyLock;

use net::api::{About, document, give_document};
use net::{Access, Routes};

use super::ServerState;

const ABOUT: About = About {
    title: "Howdah chunk master",
    description: "Files and folders, and the servers that keep their chunks. Each request is a `POST` of JSON. A `stamp` makes a \
                  retry safe: `sequence` is one more for each new request of a client's slot, and the same for a retry, which gets \
                  the first answer. Every error is a problem document (RFC 9457) with a stable `type`. After a 4xx nothing has \
                  happened; after a time-out or a 5xx it may have. A 500 is a flaw of this program, and stands with no operation. \
                  Each answer has the header `x-request-id`, which the logs of all daemons have too. `x-roles` says whose tokens \
                  an operation takes; what is `x-internal` is between daemons, and changes with releases. The bytes of files go to \
                  and from the chunkservers in a format of their own; for browsers and `curl` the JobTracker passes them on. \
                  Beside these routes there are `/healthz`, `/readyz` and `/metrics`.",
    version: env!("CARGO_PKG_VERSION"),
    path_parameters: &[],
};

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document(&super::routes(), &ABOUT));

/// The description of the chunk master's interface, as served by `GET /v1/openapi.json`.
#[must_use]
pub fn openapi() -> &'static str {
    &DOCUMENT
}

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new().route("/v1/openapi.json", Access::ANY_ROLE, give_document(openapi))
}
