//! The truth table of what is stored and what is known of it: an authority is made once, and never again unasked.

use super::*;
use crate::api::condition::Reason;
use crate::api::{DockerCA, DockerCASpec, Object, docker_ca::Subject};
use crate::pki::material::{AuthorityError, StoredAuthority, authority, read_authority, stored_key};
use crate::pki::sign::{Serial, new_authority};
use crate::pki::{KeyError, PrivateKey, encrypted::Salt, lifecycle, name};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use plan::{AuthoritySecret, PublicBundle};
use std::sync::Arc;

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().expect("an instant")
}

fn wanted() -> DesiredAuthority {
    let subject = Subject { common_name: "Docker CA".into(), ..Subject::default() };
    let mut object = DockerCA::new("homelab", DockerCASpec { subject: Some(subject), ..DockerCASpec::default() });
    object.metadata.namespace = Some("home".into());
    desired(&Object::from(object)).expect("it is accepted")
}

fn made(key: &str) -> Arc<StoredAuthority> {
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
    let key = PrivateKey::from_pem(pem.as_bytes(), None).expect("a key");
    let dates = lifecycle::dates(now(), SignedDuration::from_hours(24 * 1825), None);
    let made =
        new_authority(&name::DistinguishedName::of("Docker CA"), None, key, dates, Serial([1; 16])).expect("a subject");
    let key_pem = stored_key(&made.key, None, &Salt { salt: [0; 16], iv: [0; 16] });
    let data = authority(&made.certificate, key_pem.as_bytes(), &[], &made.certificate.to_pem());
    Arc::new(read_authority(&data, None).expect("it is sound"))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum There {
    Nothing,
    SomebodyElses,
    This,
    Another,
    Damaged,
    Locked,
}

#[derive(Debug, PartialEq)]
enum Done {
    Made(Reason),
    Refused(Reason),
    Kept(String),
}

fn done(plan: &AuthorityPlan) -> Done {
    match (&plan.step, &plan.current) {
        (AuthorityStep::Make(reason, _), None) => Done::Made(*reason),
        (AuthorityStep::Refuse(problem), None) => Done::Refused(problem.reason),
        (step, Some(current))
            if !matches!(step, AuthorityStep::Make(..) | AuthorityStep::Adopt(..) | AuthorityStep::Refuse(_)) =>
        {
            Done::Kept(current.authority.certificate.key_fingerprint())
        }
        other => panic!("no such end: {other:?}"),
    }
}

/// Ed25519, 32 equal bytes each.
const KEYS: [&str; 2] = [
    "MC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
    "MC4CAQAwBQYDK2VwBCIEIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC",
];

#[test]
fn an_authority_is_made_once_whatever_is_known_and_stored() {
    let ([this, another], desired) = (KEYS.map(made), wanted());
    let [x, z] = [&this, &another].map(|stored| stored.authority.certificate.key_fingerprint());
    let known = [None, Some(x.clone()), Some("ab".repeat(32))];
    let all = || known.iter().cloned();
    let mut rows = 0;
    for there in [There::Nothing, There::SomebodyElses, There::This, There::Another, There::Damaged, There::Locked] {
        for (remembered, reported) in
            all().flat_map(|remembered| all().map(move |reported| (remembered.clone(), reported)))
        {
            for (noted, replace) in all().flat_map(|noted| all().map(move |replace| (noted.clone(), replace))) {
                rows += 1;
                let stored = match there {
                    There::Nothing => AuthoritySecret::Absent,
                    There::SomebodyElses => AuthoritySecret::Foreign(None),
                    There::This => AuthoritySecret::Sound(Arc::clone(&this)),
                    There::Another => AuthoritySecret::Sound(Arc::clone(&another)),
                    There::Damaged => {
                        AuthoritySecret::Unsound(Arc::new(AuthorityError::Damaged("tls.crt is missing")), noted.clone())
                    }
                    There::Locked => {
                        AuthoritySecret::Unsound(Arc::new(KeyError::PassphraseNeeded.into()), noted.clone())
                    }
                };
                let known = remembered.clone().or(reported.clone());
                let asked = known.is_some() && replace == known;
                let expected = match there {
                    There::SomebodyElses => Done::Refused(Reason::SecretConflict),
                    There::This if known.is_none() || known.as_ref() == Some(&x) || asked => Done::Kept(x.clone()),
                    There::Another if known.is_none() || asked => Done::Kept(z.clone()),
                    There::Nothing if known.is_none() => Done::Made(Reason::FirstIssuance),
                    There::Nothing | There::Damaged | There::Locked if asked => Done::Made(Reason::AuthorityReplaced),
                    There::Damaged if known.is_none() && noted.is_some() && replace == noted => {
                        Done::Made(Reason::AuthorityReplaced)
                    }
                    There::Locked => Done::Refused(Reason::PassphraseNeeded),
                    _ => Done::Refused(Reason::AuthorityLost),
                };
                let row = format!(
                    "{there:?}: remembered {remembered:?}, reported {reported:?}, noted {noted:?}, replace {replace:?}"
                );
                let observed = ObservedAuthority {
                    stored,
                    bundle: PublicBundle::Absent,
                    passphrase: Ok(()),
                    existing: None,
                    trust: Ok(Vec::new()),
                    remembered: remembered.clone(),
                    replace,
                    reported: reported.clone(),
                    rival: None,
                };
                let planned = plan(&desired, &observed, now());
                assert_eq!(done(&planned), expected, "{row}");
                if let (Done::Kept(fingerprint), AuthorityStep::Remember(noted)) = (done(&planned), &planned.step) {
                    assert_eq!(*noted, fingerprint, "{row}");
                    assert_ne!(remembered, Some(fingerprint), "{row}");
                }
                let rival = Some(desired.object.clone());
                let rivalled = plan(&desired, &ObservedAuthority { rival, ..observed }, now());
                assert_eq!(done(&rivalled), Done::Refused(Reason::SecretConflict), "{row}");
            }
        }
    }
    assert_eq!(rows, 6 * 81);
}
