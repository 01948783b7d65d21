//! Contents of a Secret made with openssl in; the authority to adopt, or why there is none, out.

use crate::api::NamespacedName;
use crate::api::condition::Reason;
use crate::decide::Problem;
use crate::pki::KeyError;
use crate::pki::certificate::{CLIENT_AUTH, MAX_DER, SERVER_AUTH, SignatureDigest};
use crate::pki::constraints::are_enforced;
use crate::pki::material::Contents;
use crate::pki::{Authority, Certificate, KeyAlgorithm, PrivateKey, docker_rules, name, public_key_rules};
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;

/// Picks the authority out of `contents`: the certificate that a key of the Secret fits and that may sign.
///
/// # Errors
/// The [`Problem`] with what the Secret holds.
pub fn adopt(from: &NamespacedName, contents: &Contents, now: Timestamp) -> Result<Authority, Problem> {
    let pairs = pairs(from, contents)?;
    let (certificate, key) = newest_authority(from, &pairs)?;
    check(from, certificate, now)?;
    Ok(Authority { certificate: certificate.clone(), key: Arc::clone(key) })
}

type CertificateAndKey<'a> = (&'a Certificate, &'a Arc<PrivateKey>);

fn pairs<'a>(from: &NamespacedName, contents: &'a Contents) -> Result<Vec<CertificateAndKey<'a>>, Problem> {
    let refuse = |reason, message: &str| Err(Problem::issue(reason, format!("Secret {from} {message}")));
    let lacks = |what: &str| {
        let read = contents.unreadable_text().map(|why| format!(". {why}")).unwrap_or_default();
        refuse(Reason::ExistingUnusable, &format!("holds no {what}{read}"))
    };
    if contents.certificates.is_empty() {
        return lacks("certificate in PEM");
    }
    if contents.keys.is_empty() {
        return lacks("private key in PEM: an authority cannot sign without its own");
    }
    let keys = || contents.keys.iter().filter_map(|key| key.as_ref().ok());
    let fits = |certificate: &'a Certificate| {
        keys().find(|key| key.public_der() == certificate.public_key).map(|key| (certificate, key))
    };
    let pairs: Vec<_> = contents.certificates.iter().filter_map(fits).collect();
    if pairs.iter().any(|(certificate, _)| certificate.is_ca) {
        return Ok(pairs);
    }
    if contents.certificates.iter().any(weak_key) {
        return refuse(Reason::WeakKey, "holds an RSA key below 2048 bits: make a new authority");
    }
    let authorities = contents.certificates.iter().filter(|certificate| certificate.is_ca);
    if let Some(fault) = authorities.filter_map(|authority| public_key_rules::fault(&authority.public_key)).next() {
        return refuse(Reason::ExistingUnusable, &format!("holds an authority that cannot be used: {fault}"));
    }
    match contents.keys.iter().find_map(|key| key.as_ref().err()) {
        Some(error) => Err(unreadable(from, error)),
        None if pairs.is_empty() => refuse(Reason::KeyMismatch, "holds a private key of another certificate"),
        None => Ok(pairs),
    }
}

fn weak_key(certificate: &Certificate) -> bool {
    matches!(certificate.algorithm, Some(KeyAlgorithm::Rsa(bits)) if bits < 2048)
}

/// The problem of a key that could not be read.
pub fn unreadable(from: &NamespacedName, error: &KeyError) -> Problem {
    let (reason, way_out) = match error {
        KeyError::PassphraseNeeded => (Reason::PassphraseNeeded, ": name its Secret in spec.passphraseSecretRef"),
        KeyError::PassphraseWrong => {
            (Reason::PassphraseWrong, ": fix the passphrase in the Secret that spec.passphraseSecretRef names")
        }
        _ => (Reason::ExistingUnusable, ""),
    };
    Problem::issue(reason, format!("Secret {from}: {error}{way_out}"))
}

/// The newest certificate of the one authority.
fn newest_authority<'a>(
    from: &NamespacedName,
    pairs: &[CertificateAndKey<'a>],
) -> Result<CertificateAndKey<'a>, Problem> {
    let authorities: Vec<_> = pairs.iter().filter(|(certificate, _)| certificate.is_ca).collect();
    let Some((first, _)) = authorities.first() else {
        let message = "holds a certificate that is not an authority (no CA:TRUE): use the CA's certificate, not a host's or a client's";
        return Err(Problem::issue(Reason::NotAnAuthority, format!("Secret {from} {message}")));
    };
    if authorities.iter().any(|(certificate, _)| certificate.public_key != first.public_key) {
        let message = format!("Secret {from} holds several authorities: keep the one that is to be adopted");
        return Err(Problem::issue(Reason::ExistingAmbiguous, message));
    }
    let newest = authorities.into_iter().max_by_key(|(certificate, _)| certificate.not_after);
    Ok(*newest.expect("there is a first"))
}

/// Bytes of an authority's certificate at most, and of its subject, which each leaf repeats: both are to be renewed and
/// signed for within [`MAX_DER`].
const MAX_AUTHORITY_DER: usize = MAX_DER - 4096;
const MAX_SUBJECT: usize = 2048;

/// Whether `certificate` is an authority that may be adopted, its key aside.
///
/// # Errors
/// The [`Problem`] that says why not.
pub fn check(from: &NamespacedName, certificate: &Certificate, now: Timestamp) -> Result<(), Problem> {
    let subject = name::display(&certificate.subject);
    let refusal = quality(certificate).or_else(|| uncured(certificate)).or_else(|| signing(certificate));
    let expired = || {
        let message = format!("it ended at {}: make a new authority", certificate.not_after);
        (now >= certificate.not_after).then_some((Reason::AuthorityExpired, message))
    };
    match refusal.or_else(expired) {
        Some((reason, message)) => Err(Problem::issue(reason, format!("Secret {from}, {subject}: {message}"))),
        None => Ok(()),
    }
}

/// Key, signature, size.
fn quality(certificate: &Certificate) -> Option<(Reason, String)> {
    if weak_key(certificate) {
        return Some((Reason::WeakKey, "an RSA key below 2048 bits is not adopted: make a new authority".into()));
    }
    if let Some(fault) = public_key_rules::fault(&certificate.public_key) {
        return Some((Reason::ExistingUnusable, format!("{fault}: make a new authority")));
    }
    let signature = match certificate.digest {
        SignatureDigest::Sound => None,
        SignatureDigest::Sha1 => {
            Some("signed with SHA-1, which can be forged (Docker itself does not mind, in a root)")
        }
        SignatureDigest::Unsupported => Some("signed in a way that is not supported (RSA-PSS, MD5 or an unknown one)"),
    };
    if let Some(signature) = signature {
        return Some((Reason::WeakSignature, format!("it is {signature}: make a new authority")));
    }
    let size = certificate.der.len();
    if size > MAX_AUTHORITY_DER || certificate.subject.len() > MAX_SUBJECT {
        let message = format!("it has {size} bytes, too many to travel with each connection: make a new authority");
        return Some((Reason::ExistingUnusable, message));
    }
    None
}

/// What Docker refuses, and what a further certificate of the same key and subject would keep.
fn uncured(certificate: &Certificate) -> Option<(Reason, String)> {
    let refusal = docker_rules::refusals(&certificate.der).into_iter().find(|refusal| !refusal.is_cured_by_renewal());
    let nameless = certificate.subject.as_slice() == [0x30, 0]; // an empty SEQUENCE
    let what = match (refusal, &certificate.name_constraints) {
        (Some(refusal), _) => format!("Docker refuses it, since {refusal}"),
        (None, Some(constraints)) if !are_enforced(constraints) => {
            "its name constraints limit something else than names and addresses, which Docker cannot check".to_owned()
        }
        _ if nameless => "its subject is empty, which strict verifiers refuse".to_owned(),
        _ => return None,
    };
    Some((Reason::ExistingUnusable, format!("{what}: make a new authority")))
}

/// Whether it is a root that may sign for hosts and clients.
fn signing(certificate: &Certificate) -> Option<(Reason, String)> {
    if !certificate.is_issued_by(certificate) {
        let message = match certificate.issuer == certificate.subject {
            true => "its own signature does not fit its key: it is damaged, or of another authority of the same name",
            false => "it is an intermediate, signed by another authority: give the root itself",
        };
        return Some((Reason::IntermediateAuthority, message.into()));
    }
    if certificate.may_sign == Some(false) {
        let message = "its keyUsage has no keyCertSign, so certificates that it signs are not trusted";
        return Some((Reason::SigningNotAllowed, message.into()));
    }
    let usages = certificate.extended_usage.as_ref()?;
    let both = usages.contains(&SERVER_AUTH) && usages.contains(&CLIENT_AUTH);
    let message = "its extKeyUsage does not allow both serverAuth and clientAuth";
    (!both).then(|| (Reason::SigningNotAllowed, message.into()))
}

/// What of it Docker refuses, and a further certificate with the same key does not have.
pub fn docker_cures(certificate: &Certificate) -> Vec<String> {
    let cured = docker_rules::refusals(&certificate.der).into_iter().filter(|refusal| refusal.is_cured_by_renewal());
    cured.map(|refusal| format!("{refusal}, and Docker refuses that")).collect()
}

/// What of it Docker or strict verifiers refuse, such as Python 3.13's, and a further certificate with the same key does
/// not have.
pub fn cures(certificate: &Certificate) -> Vec<String> {
    let serial = certificate.serial.trim_start_matches('0');
    let strict = [
        (certificate.may_sign.is_none(), "it has no keyUsage"),
        (!certificate.has_critical_basic_constraints, "its basicConstraints are not critical"),
        (certificate.subject_key_id.is_none(), "it has no subject key identifier"),
        (serial.is_empty() || serial.len() > 40, "its serial number is 0 or longer than 20 bytes"),
    ];
    let strict = strict.into_iter().filter(|(is_so, _)| *is_so);
    let strict = strict.map(|(_, what)| format!("{what}, and strict verifiers such as Python 3.13's refuse that"));
    docker_cures(certificate).into_iter().chain(strict).collect()
}
