//! What the stand-in answers: JSON as Portainer words it, in; a hyper response, out.

use http::Response;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use serde_json::{Value, json};
use std::pin::Pin;
use std::task::{Context, Poll};

/// An error of a service or a body makes hyper close the connection without another word; that is how a cut is made.
#[derive(Debug)]
pub struct ConnectionCut;

impl std::fmt::Display for ConnectionCut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut by the test")
    }
}

impl std::error::Error for ConnectionCut {}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// What a route returns: both sides are answers, so that `?` returns an error to the client.
pub type Reply = Result<Answer, Answer>;

impl Answer {
    /// JSON.
    pub fn json(status: u16, value: &Value) -> Answer {
        Answer { status, headers: vec![header("content-type", "application/json")], body: value.to_string().into() }
    }

    /// Nothing but a status.
    pub fn empty(status: u16) -> Answer {
        Answer { status, headers: vec![], body: Bytes::new() }
    }

    /// Plain text.
    pub fn text(status: u16, text: &str) -> Answer {
        let kind = header("content-type", "text/plain; charset=utf-8");
        Answer { status, headers: vec![kind], body: Bytes::copy_from_slice(text.as_bytes()) }
    }

    /// Portainer's error: `details` begins with a capital letter, whatever the error said.
    pub fn refusal(status: u16, message: &str, details: &str) -> Answer {
        let mut letters = details.chars();
        let details: String =
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect();
        // In that order, so not from a map.
        let body = format!("{{\"message\":{},\"details\":{}}}", json!(message), json!(details));
        Answer { body: body.into(), ..Answer::json(status, &Value::Null) }
    }

    /// The same where there is no error beneath the message.
    pub fn plain_refusal(status: u16, message: &str) -> Answer {
        Answer::refusal(status, message, message)
    }

    /// With a further header.
    pub fn with(mut self, name: &str, value: impl ToString) -> Answer {
        self.headers.push(header(name, &value.to_string()));
        self
    }

    /// As hyper sends it.
    pub fn send(self) -> Response<UnsyncBoxBody<Bytes, ConnectionCut>> {
        let body = self.body.clone();
        // Go announces the length of short bodies only.
        if body.len() > 2048 {
            let whole = futures::stream::once(std::future::ready(Ok(Frame::data(body))));
            return self.dressed(StreamBody::new(whole).boxed_unsync());
        }
        self.dressed(Full::new(body).map_err(|never| match never {}).boxed_unsync())
    }

    /// As hyper sends it when the connection breaks in the middle of the body.
    pub fn send_half(self) -> Response<UnsyncBoxBody<Bytes, ConnectionCut>> {
        // Where the body is empty it is announced longer than it is.
        let announced = self.body.len().max(2);
        let half = self.body.slice(..self.body.len() / 2);
        let body = HalfBody { announced: announced as u64, half: Some(half), rested: false };
        self.dressed(body.boxed_unsync())
    }

    fn dressed(&self, body: UnsyncBoxBody<Bytes, ConnectionCut>) -> Response<UnsyncBoxBody<Bytes, ConnectionCut>> {
        let mut response = Response::builder().status(self.status);
        if (200..300).contains(&self.status) {
            response = response.header("x-csrf-token", "");
        }
        for (name, value) in &self.headers {
            response = response.header(name.as_str(), value.as_str());
        }
        response.body(body).expect("the stand-in's own headers are well formed")
    }
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A body that ends with an error after half of what it announced.
struct HalfBody {
    announced: u64,
    half: Option<Bytes>,
    rested: bool,
}

impl Body for HalfBody {
    type Data = Bytes;
    type Error = ConnectionCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionCut>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        if !self.rested {
            // Lets hyper flush what there is.
            self.rested = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(ConnectionCut)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
