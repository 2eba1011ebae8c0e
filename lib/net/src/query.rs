//! The query of a URL.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use crate::Problem;

/// The parameters of a request, by name. If they do not match the route's, that is a 400 with a
/// problem document like any other.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // A lossy decoder would replace each invalid byte by the same character, so that one path
        // would stand for many.
        let text = parts.uri.query().unwrap_or_default();
        if percent_decode_str(text).decode_utf8().is_err() {
            let detail = "the URL's parameters are no UTF-8 once `%` is decoded";
            return Err(Problem::new(400, "invalid-request", detail));
        }
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(parameters)| Self(parameters))
            .map_err(|error| Problem::new(400, "invalid-request", error.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::http::Request;

    use super::*;

    #[tokio::test]
    async fn what_is_no_utf_8_is_refused_and_not_replaced() {
        for (query, expected) in [
            ("path=/a%20%C3%BC+b&n=%37", Some("/a ü b")),
            ("path=/a%FF", None),
            ("path=/a%C3", None),
            ("n=7", Some("")),
        ] {
            let request = Request::get(format!("/x?{query}")).body(()).unwrap();
            let mut parts = request.into_parts().0;
            let taken =
                Query::<BTreeMap<String, String>>::from_request_parts(&mut parts, &()).await;
            let path = taken.map(|Query(them)| them.get("path").cloned().unwrap_or_default());
            assert_eq!(path.as_deref().ok(), expected, "{query}");
        }
    }
}
