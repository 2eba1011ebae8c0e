//! What a request without a token may change. A browser on this machine must not become a bridge
//! into the cluster, yet the daemon's own page, which is served without a token on loopback, must
//! be able to do what `curl` can.

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, header};

use crate::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The media types that a page may send to any other site without a preflight (the Fetch standard's
/// "CORS-safelisted").
const OF_FORMS: [&str; 3] =
    ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// Who caused a request, as far as its headers tell. Pages can't change these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// The page that this daemon serves.
    Own,
    /// A page of another site, or of another port.
    Stranger,
    /// Not a page: browsers name the origin in each request that may change something; other
    /// clients don't.
    Tool,
}

fn sender(headers: &HeaderMap) -> Sender {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text(SEC_FETCH_SITE);
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Sender::Stranger;
    }
    match text(header::ORIGIN) {
        Some(origin) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            let is_own = authority.is_some() && authority == text(header::HOST);
            if is_own { Sender::Own } else { Sender::Stranger }
        }
        None if site.is_some() => Sender::Stranger,
        None => Sender::Tool,
    }
}

/// Admits a request that no page of another site can have caused.
///
/// # Errors
/// A problem that says what to send instead.
pub(crate) fn check_change(request: &Request) -> Result<(), Problem> {
    match sender(request.headers()) {
        Sender::Own => Ok(()),
        Sender::Stranger => {
            let detail = "a page of another site had this sent: without a token nothing is changed for it; send \
                          `Authorization: Bearer <token>`, or ask from this daemon's own page";
            Err(Problem::new(403, "forbidden", detail))
        }
        Sender::Tool if is_of_no_form(request) => Ok(()),
        Sender::Tool => {
            let detail = "send a JSON body with `Content-Type: application/json`";
            Err(Problem::new(415, "invalid-request", detail))
        }
    }
}

/// Whether no form can have sent it. Old browsers name no origin: for another site's form they send
/// a `POST` with a media type of [`OF_FORMS`], or with none.
fn is_of_no_form(request: &Request) -> bool {
    if request.method() != Method::POST || request.body().is_end_stream() {
        return true;
    }
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let media = media.and_then(|media| media.split(';').next()).map(str::trim);
    media.is_some_and(|media| {
        !media.is_empty() && OF_FORMS.iter().all(|it| !it.eq_ignore_ascii_case(media))
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn status(method: &str, headers: &[(&str, &str)], body: &'static str) -> u16 {
        let mut request = Request::builder().method(method).uri("/v1/x").header("host", "[::1]:80");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        check_change(&request).map_or_else(|problem| problem.status, |()| 200)
    }

    #[test]
    fn a_page_of_another_site_changes_nothing_whatever_it_sends() {
        let json = ("content-type", "application/json");
        for headers in [
            &[("origin", "http://evil.example"), json][..],
            &[("origin", "http://[::1]:81"), json],
            &[("origin", "null"), json],
            &[("origin", "[::1]:80"), json],
            &[("sec-fetch-site", "cross-site"), json],
            &[("sec-fetch-site", "same-site"), json, ("origin", "http://[::1]:80")],
            &[("sec-fetch-site", "same-origin")],
        ] {
            for method in ["POST", "PUT", "DELETE"] {
                assert_eq!(status(method, headers, "{}"), 403, "{method} {headers:?}");
            }
        }
    }

    #[test]
    fn the_own_page_may_send_files_and_other_clients_what_no_form_can() {
        let own = [("origin", "http://[::1]:80"), ("sec-fetch-site", "same-origin")];
        assert_eq!(status("POST", &own, ""), 200);
        assert_eq!(status("PUT", &own, "bytes"), 200);
        let own_by_tls = [("origin", "https://[::1]:80")];
        assert_eq!(status("POST", &own_by_tls, ""), 200);
        for (method, media, body, expected) in [
            ("POST", "application/json", "{}", 200),
            ("POST", "application/yaml; charset=utf-8", "a: b", 200),
            ("POST", "Text/Plain;charset=utf-8", "{}", 415),
            ("POST", "application/x-www-form-urlencoded", "a=b", 415),
            ("POST", "multipart/form-data; boundary=x", "a", 415),
            ("POST", "", "{}", 415),
            ("POST", "text/plain", "", 200),
            ("PUT", "text/plain", "bytes", 200),
        ] {
            let answer = status(method, &[("content-type", media)], body);
            assert_eq!(answer, expected, "{method} {media}");
        }
        assert_eq!(status("POST", &[], "{}"), 415, "no media type at all");
    }
}
