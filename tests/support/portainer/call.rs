//! The log of calls, without bodies: who asked for what, when, and what it was told.

use super::fault::{Fault, fits};
use super::request::ApiRequest;
use super::{Shared, locked};
use http::Method;
use std::sync::Arc;
use std::time::Instant;

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    /// With `/api`.
    pub path: String,
    pub query: String,
    /// The environment in the path, in an upload's folder, or made by this call.
    pub environment: Option<u64>,
    /// What the client was told, or will be after a delay; `None` before it is done, or when its connection was cut.
    pub status: Option<u16>,
    pub fault: Option<Fault>,
    pub began: Instant,
    /// When the answer was ready, or the client gone.
    pub ended: Option<Instant>,
}

impl Call {
    /// Is it this call? `*` and `**` as in faults.
    pub fn is(&self, method: &str, pattern: &str) -> bool {
        self.method.as_str() == method && fits(pattern, &self.path)
    }

    /// Does it change anything?
    pub fn is_write(&self) -> bool {
        self.method != Method::GET && self.method != Method::HEAD
    }
}

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct LogPosition(pub(super) usize);

/// The most of those calls that were under way at one moment.
pub fn most_in_flight(calls: &[Call]) -> usize {
    let now = Instant::now();
    // At one instant, ends go before beginnings.
    let mut turns: Vec<(Instant, i64)> =
        calls.iter().flat_map(|call| [(call.began, 1), (call.ended.unwrap_or(now), -1)]).collect();
    turns.sort_unstable();
    let mut open = 0;
    let counts = turns.iter().map(|(_, turn)| {
        open += turn;
        open
    });
    usize::try_from(counts.max().unwrap_or(0)).unwrap_or(0)
}

/// A call that is under way; dropped, it has ended.
pub struct OpenCall {
    shared: Arc<Shared>,
    number: usize,
}

impl OpenCall {
    /// Writes the call down.
    pub fn new(shared: &Arc<Shared>, asked: &ApiRequest, fault: Option<Fault>) -> OpenCall {
        let mut log = locked(&shared.calls);
        log.push(Call {
            method: asked.method.clone(),
            path: asked.path.clone(),
            query: asked.query.clone(),
            environment: environment(asked),
            status: None,
            fault,
            began: Instant::now(),
            ended: None,
        });
        OpenCall { shared: Arc::clone(shared), number: log.len() - 1 }
    }

    /// Writes down what the client is told, and which environment came of it.
    pub fn told(&self, status: u16, made: Option<u64>) {
        let call = &mut locked(&self.shared.calls)[self.number];
        call.status = Some(status);
        call.environment = call.environment.or(made);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        locked(&self.shared.calls)[self.number].ended = Some(Instant::now());
    }
}

fn environment(asked: &ApiRequest) -> Option<u64> {
    let mut steps = asked.path.split('/').skip(2);
    match steps.next()? {
        "endpoints" => steps.next()?.parse().ok(),
        "upload" => {
            let form = asked.form();
            let dir = form.iter().find(|part| part.name == "folder")?;
            std::str::from_utf8(&dir.bytes).ok()?.parse().ok()
        }
        _ => None,
    }
}
