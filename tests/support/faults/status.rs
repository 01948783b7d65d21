//! The answers that an API server would give for a status code, word for word where clients look.

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

/// The answer of an API server that says no.
pub fn refusal(code: u16, retry_after: Option<u32>) -> Response<Full<Bytes>> {
    let code = StatusCode::from_u16(code).expect("tests name real status codes");
    let mut answer = json_answer(code, &status(code, retry_after));
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}

/// A watch whose resource version is too old for the server.
pub fn gone() -> Response<Full<Bytes>> {
    json_answer(StatusCode::OK, &json!({ "type": "ERROR", "object": status(StatusCode::GONE, None) }))
}

/// As apimachinery's `api/errors` words them: clients go by reason and code.
fn status(code: StatusCode, retry_after: Option<u32>) -> Value {
    let reason = match code.as_u16() {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    };
    let mut status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": format!("{code}, says the test's fault proxy"),
        "reason": reason,
        "code": code.as_u16(),
    });
    if let Some(seconds) = retry_after {
        status["details"] = json!({ "retryAfterSeconds": seconds });
    }
    status
}

fn json_answer(code: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{value}\n"))));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
