//! The body of a submission: JSON, or YAML as in job files. Parse errors name line, column and key.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::header;
use mapreduce_protocol::{JobSpec, is_argument};
use net::api::{Draft, Takes};
use net::{Json, Problem, schema_words};

use super::error::{late_job, long_job, no_job};

/// The media type of job files (RFC 9512), and its former name.
const YAML: [&str; 2] = ["application/yaml", "application/x-yaml"];
/// Length limit of a job file, bytes.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Time limit for it to arrive completely.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A submitted job.
pub(super) struct JobBody(pub(super) JobSpec);

impl<S: Send + Sync> FromRequest<S> for JobBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media = request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let media = media.and_then(|media| media.split(';').next()).map(str::trim);
        if !media.is_some_and(|media| YAML.iter().any(|yaml| yaml.eq_ignore_ascii_case(media))) {
            return Json::from_request(request, state).await.map(|Json(spec)| Self(spec));
        }
        let whole = axum::body::to_bytes(request.into_body(), FILE_BYTES_MAX);
        let body = tokio::time::timeout(BODY_TIMEOUT, whole).await;
        let body = body.map_err(|_late| late_job(BODY_TIMEOUT))?;
        let body = body.map_err(|error| long_job(FILE_BYTES_MAX, &error))?;
        parse(&body).map(Self).map_err(|why| no_job(&why))
    }
}

impl Takes for JobBody {
    fn take(draft: &mut Draft<'_>) {
        draft.takes_body::<JobSpec>(&["application/json", YAML[0]]);
    }
}

fn parse(text: &[u8]) -> Result<JobSpec, String> {
    let why = |error: serde_yaml::Error| schema_words(&error.to_string());
    let job = serde_yaml::from_slice(text).map_err(why)?;
    let read = serde_yaml::from_slice(text).map_err(why)?;
    let rewritten = net::rewritten(&read, serde_yaml::Deserializer::from_slice(text));
    match rewritten.map_err(why)?.into_iter().find(|it| is_argument(&it.path)) {
        None => Ok(job),
        Some(rewritten) => Err(rewritten.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_file_is_taken_as_it_is_written() {
        let text =
            "name: count\ninput: [/in]\noutput: /out\nprogram:\n  builtin: {name: wordcount}\n";
        let job = parse(text.as_bytes()).unwrap();
        assert_eq!((job.name.as_str(), job.input.as_slice()), ("count", &["/in".to_owned()][..]));
    }

    #[test]
    fn an_argument_that_would_become_another_one_is_refused() {
        let job = |n: &str| {
            let text = format!(
                "name: n\ninput: [/in]\noutput: /out\nreduces: 0x2\nprogram: {{builtin: {{name: topn, args: {{n: {n}}}}}}}\n"
            );
            parse(text.as_bytes())
        };
        let refused = job("0x1F").unwrap_err();
        assert!(refused.contains("program.builtin.args.n: 0x1F would become 31"), "{refused}");
        assert_eq!(job("31").unwrap().reduces, Some(2));
        assert!(job("'0x1F'").is_ok());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let text = "name: count\ninput: [/in]\noutput: /out\nprogramm: {}\n";
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.contains("programm") && error.contains("line 4"), "{error}");
        let error = parse(b"name: [").unwrap_err();
        assert!(error.contains("line"), "{error}");
    }
}
