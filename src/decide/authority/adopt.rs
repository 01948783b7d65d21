//! Contents of a Secret made with openssl in; the authority to adopt, or why there is none, out.

use crate::api::NamespacedName;
use crate::api::condition::Reason;
use crate::decide::Problem;
use crate::pki::KeyError;
use crate::pki::certificate::{CLIENT_AUTH, SERVER_AUTH, SignatureDigest};
use crate::pki::material::Contents;
use crate::pki::{Authority, Certificate, KeyAlgorithm, PrivateKey, name};
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

/// Whether `certificate` is an authority that may be adopted, its key aside.
///
/// # Errors
/// The [`Problem`] that says why not.
pub fn check(from: &NamespacedName, certificate: &Certificate, now: Timestamp) -> Result<(), Problem> {
    let subject = name::display(&certificate.subject);
    let refuse = |reason, message: String| Err(Problem::issue(reason, format!("Secret {from}, {subject}: {message}")));
    if weak_key(certificate) {
        return refuse(Reason::WeakKey, "an RSA key below 2048 bits is not adopted: make a new authority".into());
    }
    if certificate.digest != SignatureDigest::Sound {
        return refuse(
            Reason::WeakSignature,
            "it is signed with SHA-1, which Docker refuses, or in a way that is not supported: make a new authority"
                .into(),
        );
    }
    if !certificate.is_issued_by(certificate) {
        return refuse(
            Reason::IntermediateAuthority,
            "it is an intermediate, signed by another authority: give the root itself".into(),
        );
    }
    if certificate.may_sign == Some(false) {
        return refuse(
            Reason::SigningNotAllowed,
            "its keyUsage has no keyCertSign, so certificates that it signs are not trusted".into(),
        );
    }
    if let Some(usages) = &certificate.extended_usage
        && !(usages.contains(&SERVER_AUTH) && usages.contains(&CLIENT_AUTH))
    {
        return refuse(
            Reason::SigningNotAllowed,
            "its extKeyUsage does not allow both serverAuth and clientAuth".into(),
        );
    }
    if now >= certificate.not_after {
        return refuse(
            Reason::AuthorityExpired,
            format!("it ended at {}: make a new authority", certificate.not_after),
        );
    }
    Ok(())
}
