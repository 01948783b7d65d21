mod fake;
mod request_metrics;
mod requests;
mod sessions;
mod tls;

use super::*;
use crate::adapters::net::tls_verifier::tests::Signer;
use crate::portainer::{EnvironmentChange, File, NewEnvironment, NewTls, TlsFiles};
use fake::{Answered, Asked, Fake, json};
use http_body_util::Full;
use hyper::Response;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use zeroize::Zeroizing;

const PASSWORD: &str = "correct horse battery";
const KEY: &str = "ptr_c2VjcmV0IG9mIGEgdGVzdA+/=";

fn timeouts() -> RequestTimeouts {
    let short = Duration::from_millis(400);
    RequestTimeouts { connect: Duration::from_secs(5), answer: short, host: short, ..RequestTimeouts::default() }
}

fn access(url: String) -> Access {
    Access { url, roots: None, server_name: None, timeouts: timeouts() }
}

fn of_user(fake: &Fake) -> PortainerApi {
    let password = Zeroizing::new(PASSWORD.to_owned());
    let credential = ServerCredential::Password { username: "admin".into(), password };
    PortainerApi::new(&access(format!("http://127.0.0.1:{}", fake.port)), credential).unwrap()
}

fn of_key(url: String) -> PortainerApi {
    PortainerApi::new(&access(url), ServerCredential::ApiKey(Zeroizing::new(KEY.to_owned()))).unwrap()
}

async fn answering(answer: impl Fn(&Asked) -> Option<Answered> + Send + Sync + 'static) -> (Fake, PortainerApi) {
    let fake = Fake::plain(answer).await;
    let portainer = of_key(format!("http://127.0.0.1:{}", fake.port));
    (fake, portainer)
}

/// Answers everything alike.
async fn always(status: u16, body: &'static str) -> (Fake, PortainerApi) {
    answering(move |_| Some(json(status, body))).await
}

fn login(number: usize) -> Answered {
    json(200, &format!(r#"{{"jwt":"jwt-{number}"}}"#))
}

/// A server whose sessions up to `ended` are over.
async fn sessions(ended: usize) -> Fake {
    let logins = AtomicUsize::new(0);
    Fake::plain(move |asked| {
        if asked.line == "POST /api/auth" {
            return Some(login(logins.fetch_add(1, Ordering::SeqCst) + 1));
        }
        let over = |number| asked.header("authorization") == Some(&format!("Bearer jwt-{number}"));
        Some(match (1..=ended).any(over) {
            true => json(401, r#"{"message":"Invalid JWT token"}"#),
            false => json(200, r#"{"Id":1,"Username":"admin","Role":1}"#),
        })
    })
    .await
}
