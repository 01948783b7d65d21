//! Logins: as few as can be.

use super::*;

const LOGIN: &str = "POST /api/auth";
const ME: &str = "GET /api/users/me";

/// No minute has to pass between two logins.
fn hurried(fake: &Fake) -> PortainerApi {
    let password = Zeroizing::new(PASSWORD.to_owned());
    let credential = ServerCredential::Password { username: "admin".into(), password };
    let timeouts = RequestTimeouts { login: Duration::ZERO, ..timeouts() };
    let access = Access { timeouts, ..access(format!("http://127.0.0.1:{}", fake.port)) };
    PortainerApi::new(&access, credential).unwrap()
}

#[tokio::test]
async fn a_user_logs_in_once() {
    let fake = sessions(0).await;
    let portainer = of_user(&fake);
    let copy = portainer.clone();
    let (one, two, three) = tokio::join!(portainer.me(), copy.me(), portainer.me());
    assert!(one.unwrap().is_administrator() && two.is_ok() && three.is_ok());
    portainer.me().await.unwrap();
    assert_eq!((fake.count(LOGIN), fake.count(ME)), (1, 4));
    let asked = fake.asked();
    let said: serde_json::Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!(said, serde_json::json!({"Username": "admin", "Password": PASSWORD}));
    for asked in asked {
        let expected = (asked.line == ME).then_some("Bearer jwt-1");
        assert_eq!(asked.header("authorization"), expected);
        assert_eq!(asked.header("cookie").or(asked.header("x-api-key")), None);
    }
}

#[tokio::test]
async fn an_ended_session_is_renewed_once_by_all_together() {
    let fake = sessions(1).await;
    let portainer = hurried(&fake);
    let all = futures::future::join_all((0..5).map(|_| portainer.me())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(fake.count(LOGIN), 2);
    portainer.me().await.unwrap();
    assert_eq!(fake.count(LOGIN), 2);
}

#[tokio::test]
async fn a_session_refused_at_once_is_the_last() {
    let fake = sessions(99).await;
    let portainer = hurried(&fake);
    for _ in 0..3 {
        assert_eq!(portainer.me().await, Err(PortainerError::CredentialsRefused));
    }
    assert_eq!((fake.count(LOGIN), fake.count(ME)), (2, 2));
}

#[tokio::test]
async fn the_next_login_waits_for_a_minute() {
    let fake = sessions(1).await;
    let portainer = of_user(&fake);
    for _ in 0..3 {
        let said = portainer.me().await;
        assert!(matches!(said, Err(PortainerError::Refused { status: 401, .. })), "{said:?}");
    }
    assert_eq!((fake.count(LOGIN), fake.count(ME)), (1, 1));
}

#[tokio::test]
async fn a_refused_login_is_not_tried_again() {
    for (status, error, tries) in [
        (422, PortainerError::CredentialsRefused, 1),
        (401, PortainerError::CredentialsRefused, 1),
        (403, PortainerError::Banned, 1),
        (303, PortainerError::NotInitialised, 1),
    ] {
        let fake = Fake::plain(move |_| Some(json(status, r#"{"message":"no"}"#))).await;
        let portainer = of_user(&fake);
        for _ in 0..3 {
            assert_eq!(portainer.me().await, Err(error.clone()));
        }
        assert_eq!(fake.lines(), vec![LOGIN; tries], "{status}");
        let portainer = hurried(&fake);
        for _ in 0..3 {
            assert_eq!(portainer.me().await, Err(error.clone()));
        }
        let more = if error == PortainerError::CredentialsRefused { 1 } else { 3 };
        assert_eq!(fake.count(LOGIN), tries + more, "{status}");
    }
}

#[tokio::test]
async fn a_login_that_nobody_waited_for_counts() {
    let fake = Fake::plain(|_| None).await;
    let portainer = of_user(&fake);
    assert!(tokio::time::timeout(Duration::from_millis(200), portainer.me()).await.is_err());
    assert_eq!(portainer.me().await, Err(PortainerError::TimedOut));
    assert_eq!(fake.lines(), [LOGIN]);
}

#[tokio::test]
async fn a_login_that_reached_nobody_does_not_count() {
    let mut fake = sessions(0).await;
    fake.port = 1; // where nobody listens
    let portainer = of_user(&fake);
    for _ in 0..2 {
        assert!(matches!(portainer.me().await, Err(PortainerError::Unreachable(_))));
    }
}

#[tokio::test]
async fn an_api_key_is_sent_alone() {
    let (fake, portainer) = always(200, r#"{"Role":2}"#).await;
    assert!(!portainer.me().await.unwrap().is_administrator());
    assert_eq!(fake.asked()[0].header("x-api-key"), Some(KEY));
    assert_eq!(fake.asked()[0].header("authorization"), None);
    let (fake, portainer) = always(401, r#"{"message":"Invalid JWT token"}"#).await;
    assert_eq!(portainer.me().await, Err(PortainerError::CredentialsRefused));
    assert_eq!(fake.lines(), [ME]);
}

#[tokio::test]
async fn a_stranger_sends_no_credential() {
    let (fake, portainer) = always(200, r#"{"Version":"2.33.5","InstanceID":"i"}"#).await;
    assert_eq!(portainer.status().await.unwrap().instance_id, "i");
    assert!(portainer.has_administrator().await.unwrap());
    for asked in fake.asked() {
        assert_eq!(asked.header("x-api-key").or(asked.header("authorization")), None);
    }
}

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    for status in [200, 409] {
        let fake = Fake::plain(move |_| Some(json(status, r#"{"message":"there is one"}"#))).await;
        of_user(&fake).initialize().await.unwrap();
        assert_eq!(fake.lines(), ["POST /api/users/admin/init"]);
    }
    let (fake, portainer) = always(404, r#"{"message":"No administrator account found"}"#).await;
    assert!(!portainer.has_administrator().await.unwrap());
    assert!(matches!(portainer.initialize().await, Err(PortainerError::Forbidden(_))), "a key is no user");
    assert_eq!(fake.lines(), ["GET /api/users/admin/check"]);
}

/// One lock for all logins of the process let ten servers that do not answer keep every other waiting for minutes.
#[tokio::test]
async fn a_login_that_hangs_delays_no_other_server() {
    let tarpit = Fake::plain(|_| None).await;
    let patient = {
        let password = Zeroizing::new(PASSWORD.to_owned());
        let credential = ServerCredential::Password { username: "admin".into(), password };
        let timeouts = RequestTimeouts { login_answer: Duration::from_secs(600), ..timeouts() };
        PortainerApi::new(&Access { timeouts, ..access(format!("http://127.0.0.1:{}", tarpit.port)) }, credential)
    };
    let patient = patient.unwrap();
    let hanging = tokio::spawn(async move { patient.me().await });
    while tarpit.count(LOGIN) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let fake = sessions(0).await;
    let asked = tokio::time::timeout(Duration::from_secs(60), of_user(&fake).me()).await;
    assert!(asked.expect("it waits for the other server").is_ok());
    assert!(!hanging.is_finished());
}
