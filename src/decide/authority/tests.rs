//! The truth table of what is stored and what is known of it: an authority is made once, and never again unasked.

use super::*;
use crate::api::condition::Reason;
use crate::api::{AuthorityIdentity, DockerCA, DockerCASpec, Object, docker_ca::Subject};
use crate::decide::Problem;
use crate::pki::material::{AuthorityError, StoredAuthority, authority, read_authority, stored_key};
use crate::pki::sign::{Serial, new_authority};
use crate::pki::{Certificate, KeyAlgorithm, KeyError, PrivateKey, encrypted::Salt, lifecycle, name};
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
    NotOurs,
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

fn identities() -> [AuthorityIdentity; 2] {
    [[1; 16], [2; 16]].map(AuthorityIdentity::new)
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
    for there in [There::Nothing, There::NotOurs, There::This, There::Another, There::Damaged, There::Locked] {
        for (remembered, reported) in
            all().flat_map(|remembered| all().map(move |reported| (remembered.clone(), reported)))
        {
            for (noted, replace) in all().flat_map(|noted| all().map(move |replace| (noted.clone(), replace))) {
                rows += 1;
                let stored = match there {
                    There::Nothing => AuthoritySecret::Absent,
                    There::NotOurs => AuthoritySecret::NotOurs(None),
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
                    There::NotOurs => Done::Refused(Reason::SecretConflict),
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
                    identity_in_secret: Some(identities()[0]),
                    identity_on_object: Some(identities()[0]),
                    replace,
                    reported: reported.clone(),
                    rival: None,
                };
                let planned = plan(&desired, &observed, now());
                assert_eq!(done(&planned), expected, "{row}");
                if let (Done::Kept(fingerprint), AuthorityStep::Remember(noted, None)) = (done(&planned), &planned.step)
                {
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

/// Two places keep the identity; from each pair the step to the same one in both, and no certificate for any of it.
#[test]
fn an_identity_is_made_once_and_neither_place_is_overwritten() {
    let (this, desired) = (made(KEYS[0]), wanted());
    let fingerprint = this.authority.certificate.key_fingerprint();
    let [one, two] = identities();
    for (in_secret, on_object, known, step, notice) in [
        (None, None, None, "Rebundle", false),
        (None, Some(two), Some(two), "Rebundle", false),
        (Some(one), None, Some(one), "Remember", false),
        (Some(one), Some(one), Some(one), "PublishBundle", false),
        (Some(one), Some(two), Some(one), "PublishBundle", true),
    ] {
        let observed = ObservedAuthority {
            stored: AuthoritySecret::Sound(Arc::clone(&this)),
            bundle: PublicBundle::Absent,
            passphrase: Ok(()),
            existing: None,
            trust: Ok(Vec::new()),
            remembered: Some(fingerprint.clone()),
            identity_in_secret: in_secret,
            identity_on_object: on_object,
            replace: None,
            reported: None,
            rival: None,
        };
        let row = format!("{in_secret:?} in the Secret, {on_object:?} on the object");
        assert_eq!(observed.identity(), known, "{row}");
        let planned = plan(&desired, &observed, now());
        assert!(format!("{:?}", planned.step).starts_with(step), "{row}: {:?}", planned.step);
        let names_both =
            |problem: &Problem| [one, two].iter().all(|identity| problem.message.contains(&identity.to_string()));
        assert_eq!(planned.notice.as_ref().is_some_and(names_both), notice, "{row}");
        assert_eq!(planned.identity, in_secret, "{row}");
        if let AuthorityStep::Remember(_, noted) = planned.step {
            assert_eq!(noted, Some(one), "{row}");
        }
        let unnoted = plan(&desired, &ObservedAuthority { remembered: None, ..observed }, now());
        if let (AuthorityStep::Remember(noted, identity), Some(_)) = (unnoted.step, on_object) {
            assert_eq!((noted, identity), (fingerprint.clone(), None), "{row}: the object's stays");
        }
    }
}

#[test]
fn a_renewal_gives_our_own_path_length_1_and_an_adopted_one_what_it_has() {
    let certificate = &made(KEYS[0]).authority.certificate;
    let own = wanted();
    let adopted = DesiredAuthority { origin: Origin::Existing(own.secret.clone()), ..own.clone() };
    for (has, own_gets, adopted_gets) in
        [(Some(0), Some(1), Some(0)), (Some(1), Some(1), Some(1)), (Some(3), Some(1), Some(3)), (None, Some(1), None)]
    {
        let certificate = Certificate { path_length: has, ..certificate.clone() };
        assert_eq!(plan::path_length(&own, &certificate), own_gets, "{has:?}");
        assert_eq!(plan::path_length(&adopted, &certificate), adopted_gets, "{has:?}");
    }
}

/// What is adopted just now gets keyUsage at once; an upgrade renews nothing for that.
#[test]
fn what_strict_verifiers_refuse_is_cured_when_it_is_adopted_and_not_by_an_upgrade() {
    let (this, own) = (made(KEYS[0]), wanted());
    let mut stored = StoredAuthority::clone(&this);
    stored.authority.certificate.may_sign = None;
    let fingerprint = this.authority.certificate.key_fingerprint();
    let desired = DesiredAuthority { origin: Origin::Existing(own.secret.clone()), ..own };
    let [identity, _] = identities();
    for (remembered, reported, step) in [
        (None, None, "Renew"),
        (Some(fingerprint.clone()), None, "PublishBundle"),
        (None, Some(fingerprint.clone()), "Remember"),
    ] {
        let row = format!("{remembered:?}, {reported:?}");
        let observed = ObservedAuthority {
            stored: AuthoritySecret::Sound(Arc::new(stored.clone())),
            bundle: PublicBundle::Absent,
            passphrase: Ok(()),
            existing: None,
            trust: Ok(Vec::new()),
            remembered,
            identity_in_secret: Some(identity),
            identity_on_object: Some(identity),
            replace: None,
            reported,
            rival: None,
        };
        let planned = plan(&desired, &observed, now());
        assert!(format!("{:?}", planned.step).starts_with(step), "{row}: {:?}", planned.step);
        if let AuthorityStep::Renew(_, cures) = planned.step {
            assert!(cures.len() == 1 && cures[0].contains("no keyUsage"), "{cures:?}");
        }
    }
}

#[test]
fn where_names_alone_are_limited_addresses_are_those_of_the_machine_and_an_older_authority_is_not_blamed() {
    let constraints = crate::pki::constraints::permit(&["bodkys.house".into()], &[]);
    let mut own = wanted();
    let Origin::New { constraints: wanted, algorithm, .. } = &mut own.origin else { unreachable!("it is a new one") };
    (*wanted, *algorithm) = (Some(constraints.clone()), KeyAlgorithm::Ed25519);
    let [identity, _] = identities();
    let other = crate::pki::constraints::permit(&["example".into()], &[]);
    for (there, blamed) in [
        (Some(constraints.clone()), false),
        (Some(crate::pki::constraints::closed(constraints)), false),
        (Some(other), true),
        (None, true),
    ] {
        let mut stored = StoredAuthority::clone(&made(KEYS[0]));
        stored.authority.certificate.name_constraints = there.map(Arc::new);
        let observed = ObservedAuthority {
            remembered: Some(stored.authority.certificate.key_fingerprint()),
            stored: AuthoritySecret::Sound(Arc::new(stored)),
            bundle: PublicBundle::Absent,
            passphrase: Ok(()),
            existing: None,
            trust: Ok(Vec::new()),
            identity_in_secret: Some(identity),
            identity_on_object: Some(identity),
            replace: None,
            reported: None,
            rival: None,
        };
        let notice = plan(&own, &observed, now()).notice;
        assert_eq!(notice.is_some_and(|notice| notice.message.contains("nameConstraints")), blamed);
    }
}
