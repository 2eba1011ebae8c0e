//! Problem documents (RFC 9457): every error of every daemon has this form. Which status and which
//! `type` an error gets is decided in each daemon's `http/error.rs`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, for programs (`type`) and people (`detail`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// Stable kebab-case name of the cause.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status' standard phrase.
    #[serde(default)]
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// A sentence: what is wrong, with what, and what to do.
    pub detail: String,
    /// Seconds after which another try may succeed; sent as `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
    /// What is wrong and what to do, told apart. In a box: most problems have none, and they are passed around a lot.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Box<Advice>>,
}

/// A problem's cause and its remedies, for programs that say them in words of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// What is wrong, without what to do: `detail` is this and, behind it, `remedies` in words.
    pub cause: String,
    /// What to do; one of these is enough.
    pub remedies: Vec<Remedy>,
}

/// One thing to do about a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    /// Stable kebab-case name; there may be new ones.
    #[serde(rename = "type")]
    pub kind: String,
    /// The path that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(status: u16, kind: &str, detail: impl Into<String>) -> Self {
        let title = StatusCode::from_u16(status)
            .ok()
            .and_then(|s| s.canonical_reason())
            .unwrap_or("Error")
            .to_owned();
        Self {
            kind: kind.to_owned(),
            title,
            status,
            detail: detail.into(),
            retry_after: None,
            advice: None,
        }
    }

    /// The same, with what to do: `words` say it at the end of `detail`.
    #[must_use]
    pub fn with_remedies(mut self, remedies: Vec<Remedy>, words: &str) -> Self {
        if !remedies.is_empty()
            && let Some(cause) = self.detail.strip_suffix(words)
        {
            let cause = cause.trim_end_matches([';', ' ']).to_owned();
            self.advice = Some(Box::new(Advice { cause, remedies }));
        }
        self
    }

    /// Adds a hint when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem is plain data");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
