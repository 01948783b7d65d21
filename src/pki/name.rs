//! Distinguished names: fields in, DER out, in the order that openssl writes them.

use der::asn1::{Any, Ia5String, Ia5StringRef, ObjectIdentifier, PrintableStringRef, SetOfVec, Utf8StringRef};
use der::{Decode, Encode};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const LOCALITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.7");
const PROVINCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
const EMAIL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");

/// A subject whose fields fit X.509's bounds (RFC 5280, appendix A.1); an empty field is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistinguishedName {
    /// CN, 1 to 64 bytes.
    pub common_name: String,
    /// O: organization, empty where there is none.
    pub organization: String,
    /// OU: organizational unit, empty where there is none.
    pub organizational_unit: String,
    /// C: country, two letters, or empty.
    pub country: String,
    /// ST: state or province, empty where there is none.
    pub province: String,
    /// L: locality, empty where there is none.
    pub locality: String,
    /// emailAddress (PKCS #9) in ASCII, empty where there is none.
    pub email_address: String,
}

/// A name cannot be written: country, e-mail address or URI have letters that ASN.1 does not take there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("country takes letters only, emailAddress and URI ASCII only")]
pub struct NameError;

impl DistinguishedName {
    /// A subject of a common name alone.
    pub fn of(common_name: &str) -> DistinguishedName {
        DistinguishedName { common_name: common_name.to_owned(), ..DistinguishedName::default() }
    }

    /// The name in DER: C and e-mail as PrintableString and IA5String, the rest as UTF8String.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn to_der(&self) -> Result<Vec<u8>, NameError> {
        let mut rdns = RdnSequence::default();
        if !self.country.is_empty() {
            let value = PrintableStringRef::new(&self.country).map_err(|_| NameError)?;
            rdns.push(rdn(COUNTRY, Any::from(value))?);
        }
        let texts = [
            (PROVINCE, &self.province),
            (LOCALITY, &self.locality),
            (ORGANIZATION, &self.organization),
            (UNIT, &self.organizational_unit),
            (COMMON_NAME, &self.common_name),
        ];
        for (oid, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            rdns.push(rdn(oid, Any::from(Utf8StringRef::new(text).map_err(|_| NameError)?))?);
        }
        if !self.email_address.is_empty() {
            let value = Ia5StringRef::new(&self.email_address).map_err(|_| NameError)?;
            rdns.push(rdn(EMAIL, Any::from(value))?);
        }
        rdns.to_der().map_err(|_| NameError)
    }
}

fn rdn(oid: ObjectIdentifier, value: Any) -> Result<RelativeDistinguishedName, NameError> {
    let set = SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }]).map_err(|_| NameError)?;
    Ok(RelativeDistinguishedName::from(set))
}

/// The last common name in a name's DER.
pub fn common_name(der: &[u8]) -> Option<String> {
    let name = Name::from_der(der).ok()?;
    let value = name.iter().filter(|attribute| attribute.oid == COMMON_NAME).last()?.value.clone();
    String::from_utf8(value.value().to_vec()).ok()
}

/// The e-mail addresses in a name's DER that an rfc822Name may hold (RFC 5280, 4.2.1.6): in ASCII, `local@domain`.
pub fn email_addresses(der: &[u8]) -> Vec<Ia5String> {
    let Ok(name) = Name::from_der(der) else { return Vec::new() };
    let values = name.iter().filter(|attribute| attribute.oid == EMAIL).map(|attribute| attribute.value.value());
    let texts = values.filter_map(|bytes| std::str::from_utf8(bytes).ok().filter(|text| is_mailbox(text)));
    texts.filter_map(|text| Ia5String::new(text).ok()).collect()
}

fn is_mailbox(text: &str) -> bool {
    let parts = text.split_once('@');
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    visible && parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
}

/// A name's DER as text, for messages: `CN=Docker CA,O=Bodky`.
pub fn display(der: &[u8]) -> String {
    Name::from_der(der).map(|name| name.to_string()).unwrap_or_else(|_| "an unreadable name".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mailbox_in_the_subject_becomes_an_rfc822_name() {
        for (address, expected) in [
            ("admin@bodkys.house", true),
            ("a.b+c@localhost", true),
            ("", false),
            ("admin", false),
            ("@bodkys.house", false),
            ("admin@", false),
            ("two@signs@bodkys.house", false),
            ("ad min@bodkys.house", false),
            ("Admin <admin@bodkys.house>", false),
        ] {
            let name = DistinguishedName { email_address: address.into(), ..DistinguishedName::of("ca") };
            let found = email_addresses(&name.to_der().expect("ASCII"));
            assert_eq!(found.iter().map(|found| found.as_str()).eq([address]), expected, "{address:?}");
            assert!(expected || found.is_empty(), "{address:?}");
        }
        assert!(email_addresses(b"no name").is_empty());
    }
}
