//! The body of a watch's response: the API server's events as they come, until a test or a rule cuts them off.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming};
use tokio::sync::oneshot;

use super::rule::Rule;
use super::{Shared, locked};

/// Hyper closes the connection, without another word, on any error of a service or a body.
#[derive(Debug)]
pub struct ConnectionCut;

impl std::fmt::Display for ConnectionCut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut by the test's fault proxy")
    }
}

impl std::error::Error for ConnectionCut {}

/// The events of a watch, line by line where they are counted.
pub struct Watch {
    pub(super) upstream: Incoming,
    pub(super) cut_by_test: oneshot::Receiver<()>,
    /// Events until the cut; `None` for no end.
    pub(super) left: Option<usize>,
    pub(super) flushed: bool,
    pub(super) rule: Option<Arc<Rule>>,
    pub(super) number: usize,
    pub(super) shared: Arc<Shared>,
}

impl Body for Watch {
    type Data = Bytes;
    type Error = ConnectionCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionCut>>> {
        if Pin::new(&mut self.cut_by_test).poll(context).is_ready() {
            return Poll::Ready(Some(Err(ConnectionCut)));
        }
        if self.left == Some(0) {
            if !self.flushed {
                // Hyper writes out what it has when the body makes it wait, but not when the body fails.
                self.flushed = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(rule) = self.rule.take() {
                rule.fire(self.shared.entry(self.number));
            }
            return Poll::Ready(Some(Err(ConnectionCut)));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.upstream).poll_frame(context) else { return Poll::Pending };
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame.map(|frame| frame.map_err(|_| ConnectionCut))) };
        let frame = frame.map_data(|events| match self.left.as_mut() {
            Some(left) => first_lines(events, left),
            None => events,
        });
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        locked(&self.shared.watches).retain(|open| open.number != self.number);
    }
}

/// The bytes up to the end of the line that brings `left` to zero.
fn first_lines(events: Bytes, left: &mut usize) -> Bytes {
    for (at, byte) in events.iter().enumerate() {
        if *byte == b'\n' {
            *left -= 1;
        }
        if *left == 0 {
            return events.slice(..=at);
        }
    }
    events
}
