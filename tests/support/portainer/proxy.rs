//! The proxy to Docker hosts: built once per environment with the files of that moment, and kept with its connections.

use super::answer::{Answer, Reply};
use super::dial::{self, Line, Target};
use super::locked;
use super::request::ApiRequest;
use super::state::Environment;
use http::Method;
use http_body_util::Full;
use hyper::body::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The proxies by environment.
#[derive(Default)]
pub struct Proxies(Mutex<HashMap<u64, Arc<Proxy>>>);

struct Proxy {
    target: Target,
    idle: Mutex<Vec<Line>>,
}

impl Proxies {
    /// Forgets an environment's proxy.
    pub fn forget(&self, id: u64) {
        locked(&self.0).remove(&id);
    }

    /// Forgets all, as a restart does.
    pub fn forget_all(&self) {
        locked(&self.0).clear();
    }

    /// Builds an environment's proxy anew from the files on disk.
    pub fn register(&self, environment: &Environment) -> Result<(), String> {
        self.build(environment).map(drop)
    }

    /// Passes a request on through the kept proxy, or through one that is built now.
    pub async fn pass(&self, environment: &Environment, path: &str, asked: &ApiRequest) -> Reply {
        let kept = locked(&self.0).get(&environment.id).map(Arc::clone);
        let proxy = match kept {
            Some(proxy) => proxy,
            None => self.build(environment).map_err(|why| Answer::refusal(500, "Unable to create proxy", &why))?,
        };
        Ok(proxy.pass(path, asked).await)
    }

    fn build(&self, environment: &Environment) -> Result<Arc<Proxy>, String> {
        let target = Target::lenient(&environment.url, &environment.tls)?;
        let proxy = Arc::new(Proxy { target, idle: Mutex::default() });
        locked(&self.0).insert(environment.id, Arc::clone(&proxy));
        Ok(proxy)
    }
}

impl Proxy {
    /// Over a kept connection while there is one; one that broke while it was idle is replaced.
    async fn pass(&self, path: &str, asked: &ApiRequest) -> Answer {
        loop {
            let kept = locked(&self.idle).pop();
            let reused = kept.is_some();
            let line = match kept {
                Some(line) => Ok(line),
                None => self.target.connect().await,
            };
            let Ok(mut line) = line else { return Answer::empty(502) };
            if reused && line.is_closed() {
                continue;
            }
            match self.send(&mut line, path, asked).await {
                Some(answer) => {
                    locked(&self.idle).push(line);
                    return answer;
                }
                None if reused && matches!(asked.method, Method::GET | Method::HEAD) => {}
                None => return Answer::empty(502),
            }
        }
    }

    async fn send(&self, line: &mut Line, path: &str, asked: &ApiRequest) -> Option<Answer> {
        let path = if asked.query.is_empty() { path.to_owned() } else { format!("{path}?{}", asked.query) };
        let mut request = self.target.request(asked.method.clone(), &path);
        *request.body_mut() = Full::new(asked.body.clone());
        let response = dial::send(line, request).await.ok()?;
        let kept = response.headers().iter().filter(|(name, _)| !HOP.contains(&name.as_str()));
        let headers = kept.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        Some(Answer {
            status: response.status().as_u16(),
            headers: headers.collect(),
            body: Bytes::clone(response.body()),
        })
    }
}

/// Headers of one connection, not of the answer.
const HOP: [&str; 3] = ["connection", "transfer-encoding", "content-length"];
