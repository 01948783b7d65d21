//! A DockerCA's spec in; checked values, or the problem that names the field, out.

use crate::api::docker_ca::{DockerCASpec, NameConstraints, Subject};
use crate::api::{NamespacedName, Object, ObjectRef, Spec, duration};
use crate::decide::Problem;
use crate::decide::leaf::desired::{algorithm, short_enough};
use crate::decide::leaf::host_name::dns_name;
use crate::pki::constraints::{self, Subnet};
use crate::pki::{KeyAlgorithm, name};
use k8s_openapi::jiff::SignedDuration;
use x509_cert::ext::pkix::NameConstraints as Constraints;

const DEFAULT_DURATION: &str = "1825d";
/// Domains and networks of an authority at most.
const MAX_SUBTREES: usize = 128;
/// Letters of all its domains at most: every host and client gets them with each handshake.
const MAX_DOMAINS: usize = 8 << 10;

/// Where an authority comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A new authority with a key of its own.
    New {
        /// Subject of its certificate.
        subject: Box<name::DistinguishedName>,
        /// Algorithm of its key.
        algorithm: KeyAlgorithm,
        /// What it may sign for.
        constraints: Option<Constraints>,
        /// From issuance to end.
        duration: SignedDuration,
    },
    /// Copied from this Secret.
    Existing(NamespacedName),
}

/// An authority as it should be. Nothing in it can be malformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredAuthority {
    /// The object that asks.
    pub object: ObjectRef,
    /// Whether it is made or adopted.
    pub origin: Origin,
    /// Where the Secret with the authority is to be.
    pub secret: NamespacedName,
    /// The ConfigMap with its public bundle.
    pub bundle: NamespacedName,
    /// A passphrase was asked for, from this Secret and key.
    pub passphrase: Option<(NamespacedName, String)>,
}

/// Reads the spec of a DockerCA.
///
/// # Errors
/// The [`Problem`] of the first field that cannot be used.
pub fn desired(object: &Object) -> Result<DesiredAuthority, Problem> {
    Problem::of_reading(object)?;
    let Spec::Authority(spec) = &object.spec else { unreachable!("a leaf is no authority") };
    let reference = spec.passphrase_secret_ref.as_ref();
    let bundle = object.bundle();
    [&object.secret_name(), &bundle.name].into_iter().try_for_each(|name| short_enough(name))?;
    Ok(DesiredAuthority {
        object: object.at.clone(),
        origin: origin(object, spec)?,
        secret: object.secret(),
        bundle,
        passphrase: reference.map(|reference| (object.at.beside(&reference.name), reference.key.clone())),
    })
}

fn origin(object: &Object, spec: &DockerCASpec) -> Result<Origin, Problem> {
    let own = spec.duration.is_some() || spec.private_key.is_some() || spec.name_constraints.is_some();
    match (&spec.subject, &spec.existing) {
        (None, Some(_)) if own => Err(Problem::field(
            "existing",
            "an authority to adopt brings its own duration, privateKey and nameConstraints: leave them out",
        )),
        (None, Some(source)) => Ok(Origin::Existing(object.at.beside(&source.secret_ref.name))),
        (Some(subject), None) => made(subject, spec),
        _ => Err(Problem::field("subject", "give either subject, for a new authority, or existing, to adopt one")),
    }
}

fn made(subject: &Subject, spec: &DockerCASpec) -> Result<Origin, Problem> {
    let text = spec.duration.as_deref().unwrap_or(DEFAULT_DURATION);
    let key = spec.private_key.clone().unwrap_or_default();
    Ok(Origin::New {
        subject: Box::new(checked_subject(subject)?),
        algorithm: algorithm(key.algorithm, key.size)?,
        constraints: spec.name_constraints.as_ref().map(checked_constraints).transpose()?,
        duration: duration::parse(text).map_err(|error| Problem::field("duration", error))?,
    })
}

fn checked_subject(subject: &Subject) -> Result<name::DistinguishedName, Problem> {
    if subject.common_name.is_empty() {
        return Err(Problem::field("subject.commonName", "it is empty"));
    }
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    let checked = name::DistinguishedName {
        common_name: subject.common_name.clone(),
        organization: optional(&subject.organization),
        organizational_unit: optional(&subject.organizational_unit),
        country: optional(&subject.country).to_ascii_uppercase(),
        province: optional(&subject.province),
        locality: optional(&subject.locality),
        email_address: optional(&subject.email_address),
    };
    bounds(&checked)?;
    checked.to_der().map_err(|error| Problem::field("subject", error))?;
    Ok(checked)
}

/// Upper bounds of RFC 5280, appendix A.1.
fn bounds(subject: &name::DistinguishedName) -> Result<(), Problem> {
    let bounded = [
        ("commonName", &subject.common_name, 64),
        ("organization", &subject.organization, 64),
        ("organizationalUnit", &subject.organizational_unit, 64),
        ("province", &subject.province, 128),
        ("locality", &subject.locality, 128),
        ("emailAddress", &subject.email_address, 255),
    ];
    for (field, text, most) in bounded {
        if text.len() > most || text.chars().any(char::is_control) {
            let message = format!("it has over {most} bytes or control characters");
            return Err(Problem::field(&format!("subject.{field}"), message));
        }
    }
    let country = &subject.country;
    if !country.is_empty() && (country.len() != 2 || !country.bytes().all(|b| b.is_ascii_alphabetic())) {
        return Err(Problem::field("subject.country", format!("{country:?} is not a country code of two letters")));
    }
    Ok(())
}

fn checked_constraints(given: &NameConstraints) -> Result<Constraints, Problem> {
    let field = "nameConstraints";
    let domain = |text: &String| dns_name(text, false).map_err(|error| Problem::field(field, error));
    let network = |text: &String| {
        Subnet::parse(text)
            .ok_or_else(|| Problem::field(field, format!("{text:?} is not a network like 192.168.0.0/16")))
    };
    let domains: Vec<_> = given.permitted_dns_domains.iter().map(domain).collect::<Result<_, _>>()?;
    let networks: Vec<_> = given.permitted_ip_ranges.iter().map(network).collect::<Result<_, _>>()?;
    if domains.is_empty() && networks.is_empty() {
        return Err(Problem::field(field, "it permits nothing: give permittedDNSDomains, permittedIPRanges or both"));
    }
    let size: usize = domains.iter().map(String::len).sum();
    if domains.len() + networks.len() > MAX_SUBTREES || size > MAX_DOMAINS {
        let message = format!("more than {MAX_SUBTREES} of them, or of {MAX_DOMAINS} letters, are too many");
        return Err(Problem::field(field, message));
    }
    Ok(constraints::permit(&domains, &networks))
}
