//! The parameters in a route's path, as text.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::Problem;

/// The values in place of the route's braces. Invalid UTF-8 is a 400 with a problem document like
/// any other.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(names)| Self(names)).map_err(|error| {
            let detail = format!("the path of the URL can't be read: {}", error.body_text());
            Problem::new(400, "invalid-request", detail)
        })
    }
}
