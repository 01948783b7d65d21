//! What is counted of requests.

use super::*;
use crate::adapters::net::destinations::Destinations;

fn counted(url: String, metrics: &Arc<RequestMetrics>, user: bool) -> PortainerApi {
    let password = Zeroizing::new(PASSWORD.to_owned());
    let credential = match user {
        true => ServerCredential::Password { username: "admin".into(), password },
        false => ServerCredential::ApiKey(Zeroizing::new(KEY.to_owned())),
    };
    PortainerApi::with_metrics(&access(url), &Destinations::anywhere(), credential, Arc::clone(metrics)).unwrap()
}

fn of(metrics: &RequestMetrics) -> Vec<(&'static str, &'static str, u64)> {
    let counts = metrics.counts();
    let timed: u64 = counts.durations.values().flat_map(|durations| durations.counts).sum();
    assert_eq!(timed, counts.requests.values().sum::<u64>(), "each is timed once");
    let requests = counts.requests.into_iter();
    requests.map(|((operation, outcome), count)| (operation.as_str(), outcome.as_str(), count)).collect()
}

#[tokio::test]
async fn each_request_is_counted_by_what_it_is_for_and_how_it_ends() {
    let fake = Fake::plain(|asked| match asked.line.as_str() {
        "GET /api/users/me" => Some(json(401, "{}")),
        "GET /api/endpoints/7/docker/_ping" => Some(json(502, "no")),
        "GET /api/tags" => None,
        _ => Some(json(200, "[]")),
    })
    .await;
    let metrics = Arc::new(RequestMetrics::default());
    let portainer = counted(format!("http://127.0.0.1:{}", fake.port), &metrics, false);
    portainer.environments().await.unwrap();
    portainer.named("dh1").await.unwrap();
    portainer.me().await.unwrap_err();
    portainer.ping(7).await.unwrap_err();
    portainer.tags().await.unwrap_err();
    portainer.delete(7).await.unwrap();
    // Another credential is another client, and the counts go on.
    let nowhere = counted("http://127.0.0.1:1".into(), &metrics, false);
    nowhere.status().await.unwrap_err();
    let expected = [
        ("status", "unreachable", 1),
        ("me", "unauthorized", 1),
        ("list", "ok", 2),
        ("ping", "refused", 1),
        ("delete", "ok", 1),
        ("tags", "timeout", 1),
    ];
    assert_eq!(of(&metrics), expected);
    assert_eq!(metrics.counts().durations[&Operation::Tags].counts[..3], [0; 3], "it was waited for 0.4 seconds");
}

#[tokio::test]
async fn logins_are_counted_too() {
    let (fake, metrics) = (sessions(0).await, Arc::new(RequestMetrics::default()));
    let portainer = counted(format!("http://127.0.0.1:{}", fake.port), &metrics, true);
    portainer.me().await.unwrap();
    portainer.me().await.unwrap();
    assert_eq!(of(&metrics), [("login", "ok", 1), ("me", "ok", 2)]);
}
