//! The web page, whose files are in `jobtracker/web/` and are compiled into the binary. They need
//! no token, as they contain no data; the page is a client of `/v1` like any other, and asks for
//! the token that those routes require. The headers here restrict what a browser may do for it:
//! nothing from elsewhere, no inline scripts or styles, no framing.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use net::api::get;
use net::{Access, Path, Routes};
use xxhash_rust::xxh3::xxh3_128;

use super::ServerState;
use super::error::{NO_SUCH, no_page_file};

/// What the page may load, and from where. With trusted types, no text can become HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The headers of each file.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // Tomorrow another JobTracker may serve its page from the same address.
    (header::CACHE_CONTROL, "no-cache"),
];

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../web/", $name)).as_slice())),*]
    };
}

/// All files of the page.
static FILES: &[(&str, &[u8])] = &files![
    "api.js",
    "charts.js",
    "cluster.js",
    "dom.js",
    "files.js",
    "format.js",
    "history.js",
    "icon.svg",
    "index.html",
    "job.js",
    "jobs.js",
    "log.js",
    "main.js",
    "style.css",
    "submit.js",
    "tables.js",
    "timeline.js",
];

/// The entity tags of [`FILES`], computed once.
static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    let tag = |bytes: &[u8]| format!("\"{:032x}\"", xxh3_128(bytes));
    let tags = FILES.iter().map(|(_, bytes)| HeaderValue::try_from(tag(bytes)));
    tags.map(|tag| tag.expect("digits and quotes are a header's value")).collect()
});

pub(super) fn routes() -> Routes<ServerState> {
    Routes::new()
        .route(
            "/",
            Access::Public,
            get(page)
                .summary("Gives the web page.")
                .gives_text(200, "text/html", "The page.")
                .gives_nothing(304),
        )
        .route(
            "/web/{file}",
            Access::Public,
            get(file)
                .summary("Gives a file of the web page.")
                .gives_text(200, "*/*", "The file.")
                .gives_nothing(304)
                .problems(NO_SUCH),
        )
}

async fn page(headers: HeaderMap) -> Response {
    serve("index.html", &headers)
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    serve(&name, &headers)
}

fn serve(name: &str, request: &HeaderMap) -> Response {
    let Some(at) = FILES.iter().position(|(known, _)| *known == name) else {
        return no_page_file(name).into_response();
    };
    let tag = &TAGS[at];
    let is_known = request.get_all(header::IF_NONE_MATCH).iter().any(|known| {
        let known = known.to_str().unwrap_or_default().split(',');
        known.map(|one| one.trim().trim_start_matches("W/")).any(|one| one == "*" || tag == one)
    });
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, media_type(name))], FILES[at].1).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag.clone());
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served_with_its_media_type() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/web");
        let entries = std::fs::read_dir(folder).unwrap();
        let there: BTreeSet<String> =
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        let served: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(served, there);
        assert!(served.iter().all(|name| media_type(name) != "application/octet-stream"));
    }

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        let first = serve("style.css", &HeaderMap::new());
        assert_eq!(first.status(), 200);
        let tag = first.headers()[header::ETAG].clone();
        for (known, status) in [
            (tag.to_str().unwrap().to_owned(), 304),
            (format!("W/{}", tag.to_str().unwrap()), 304),
            (format!("\"other\", {}", tag.to_str().unwrap()), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, known.parse().unwrap());
            assert_eq!(serve("style.css", &headers).status(), status, "{known}");
        }
        assert_ne!(serve("main.js", &HeaderMap::new()).headers()[header::ETAG], tag);
    }

    #[test]
    fn the_page_may_load_nothing_from_elsewhere_and_be_in_no_frame() {
        for name in ["index.html", "main.js"] {
            let response = serve(name, &HeaderMap::new());
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            for part in ["default-src 'none'", "frame-ancestors 'none'", "script-src 'self';"] {
                assert!(policy.contains(part), "{policy}");
            }
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(response.headers()[header::REFERRER_POLICY], "no-referrer");
            assert_eq!(response.headers()[header::X_FRAME_OPTIONS], "DENY");
        }
        assert_eq!(serve("../Cargo.toml", &HeaderMap::new()).status(), 404);
    }

    /// A browser would refuse what the policy forbids; and no request may go to another host.
    #[test]
    fn no_file_holds_what_its_own_policy_forbids() {
        for (name, bytes) in FILES {
            let text = std::str::from_utf8(bytes).unwrap();
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for forbidden in
                ["http://", "https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval("]
            {
                assert!(!text.contains(forbidden), "{name} holds {forbidden}");
            }
            if *name == "index.html" {
                for inline in ["<style", " style=", " onclick=", " onload=", "<script>"] {
                    assert!(!text.contains(inline), "{name} holds {inline}");
                }
            }
        }
    }
}
