//! YAML files to objects and input Secrets. It checks what the API server's schema would, and names file, line, object
//! and field of what is wrong.

use super::manifest_error::{ManifestError, field_message};
use crate::api::{
    API_VERSION, DockerCA, DockerClientCert, DockerHostCert, Kind, NamespacedName, Object, ObjectName, ObjectRef,
    PortainerClient, Spec,
};
use crate::pki::material::Data;
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::core::Selector;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use std::collections::HashMap;

const ACCEPTED: &str =
    "DockerCA, DockerHostCert, DockerClientCert and PortainerClient of dockseal.dev/v1alpha1, and Secret of v1";
/// `NAME.yaml` is a file name, which has at most 255 bytes.
const MAX_NAME_BYTES: usize = 250;

/// A file and the text in it.
pub struct Text {
    /// As the user named it.
    pub file: String,
    pub text: zeroize::Zeroizing<String>,
}

/// An object and the file that it is in.
#[derive(Clone, Debug)]
pub struct LoadedObject {
    pub object: Object,
    /// As the user named it.
    pub file: String,
}

/// All that the files hold.
#[derive(Debug, Default)]
pub struct Loaded {
    pub objects: Vec<LoadedObject>,
    /// Secrets that the objects refer to.
    pub inputs: HashMap<NamespacedName, Data>,
}

/// Reads the files together: references go across them, and no two objects have one name.
///
/// # Errors
/// The first [`ManifestError`].
pub fn load(texts: &[Text]) -> Result<Loaded, ManifestError> {
    let mut loaded = Loaded::default();
    let mut places = HashMap::new();
    for text in texts {
        for document in documents(text)? {
            let line = document.referenced.line();
            let fault = |message| ManifestError { file: text.file.clone(), line, message };
            let named = read(&document.value, &mut loaded, &text.file).map_err(fault)?;
            let here = format!("{}:{line}", text.file);
            if let Some(first) = places.insert(named.clone(), here) {
                return Err(fault(format!("{named}: it is in {first} already: keep one of the two")));
            }
        }
    }
    Ok(loaded)
}

fn documents(text: &Text) -> Result<Vec<Spanned<Value>>, ManifestError> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! { max_documents: 1_000_000, max_nodes: 50_000_000, max_events: 100_000_000 },
    };
    let documents: Vec<Spanned<Value>> = serde_saphyr::from_multiple_with_options(&text.text, options)
        .map_err(|error| ManifestError::not_yaml(&text.file, &text.text, &error))?;
    Ok(documents.into_iter().filter(|document| !document.value.is_null()).collect())
}

/// Reads one document; says which object it is.
fn read(document: &Value, loaded: &mut Loaded, file: &str) -> Result<String, String> {
    let Some(fields) = document.as_object() else {
        return Err(format!("not an object with apiVersion and kind; write one of {ACCEPTED}"));
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    match (version, Kind::parse(kind)) {
        ("v1", None) if kind == "Secret" => {
            let (at, data) = input(fields)?;
            let named = format!("Secret {at}");
            loaded.inputs.insert(at, data);
            Ok(named)
        }
        (API_VERSION, Some(kind)) => {
            let object = object(kind, fields)?;
            let named = display_name(&object.at);
            loaded.objects.push(LoadedObject { object, file: file.to_owned() });
            Ok(named)
        }
        _ => Err(format!("kind {kind:?} of apiVersion {version:?} is not supported; write one of {ACCEPTED}")),
    }
}

/// `DockerHostCert default/pandora`.
pub fn display_name(at: &ObjectRef) -> String {
    format!("{} {}/{}", at.kind, at.namespace, at.name)
}

fn place(kind: &str, fields: &Map<String, Value>) -> Result<NamespacedName, String> {
    let metadata = fields.get("metadata").and_then(Value::as_object);
    let text = |name| metadata.and_then(|metadata| metadata.get(name));
    let name = match text("name") {
        Some(Value::String(name)) => name.clone(),
        Some(_) => return Err(format!("{kind}: metadata.name: must be a string: put it in quotes")),
        None => return Err(format!("{kind}: metadata.name: this field is required")),
    };
    let namespace = match text("namespace") {
        None | Some(Value::Null) => "default".to_owned(),
        Some(Value::String(namespace)) => namespace.clone(),
        Some(_) => return Err(format!("{kind} {name}: metadata.namespace: must be a string: put it in quotes")),
    };
    let parsed = ObjectName::parse(&name).ok().filter(|name| name.len() <= MAX_NAME_BYTES);
    let parsed = parsed.ok_or_else(|| {
        format!("{kind} {name:?}: metadata.name: must be lower case letters, digits, - and ., at most {MAX_NAME_BYTES}")
    })?;
    let space = ObjectName::parse(&namespace).ok().filter(|space| space.len() <= 63 && !space.contains('.'));
    let space = space.ok_or_else(|| {
        format!("{kind} {name}: metadata.namespace: {namespace:?} must be lower case letters, digits and -, at most 63")
    })?;
    Ok(NamespacedName::new(space, parsed))
}

fn object(kind: Kind, fields: &Map<String, Value>) -> Result<Object, String> {
    let at = place(kind.as_str(), fields)?;
    let at = ObjectRef::new(kind, &at.namespace, &at.name);
    let mut fields = fields.clone();
    for read_already in ["apiVersion", "kind", "status"] {
        fields.remove(read_already); // a status in the file does not count
    }
    let document = Value::Object(fields);
    let fault = |message| format!("{}: {message}", display_name(&at));
    let mut object = match kind {
        Kind::DockerCA => strict::<DockerCA>(document).map(Object::from),
        Kind::DockerHostCert => strict::<DockerHostCert>(document).map(Object::from),
        Kind::DockerClientCert => strict::<DockerClientCert>(document).map(Object::from),
        Kind::PortainerClient => strict::<PortainerClient>(document).map(Object::from),
    }
    .map_err(fault)?;
    check(&object).map_err(fault)?;
    object.at = at; // with its namespace
    Ok(object)
}

/// Reads every field, and refuses unknown ones.
fn strict<T: DeserializeOwned>(document: Value) -> Result<T, String> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let reader = serde_path_to_error::Deserializer::new(document, &mut track);
    let read = serde_ignored::deserialize(reader, |path| unknown.push(path.to_string().replace("?.", "")));
    let object = read.map_err(|error: serde_json::Error| field_message(&track.path().to_string(), &error))?;
    unknown.retain(|path| !path.starts_with("metadata."));
    if unknown.is_empty() { Ok(object) } else { Err(format!("{}: there is no such field", unknown.join(", "))) }
}

/// What the schema checks and nothing after this does.
fn check(object: &Object) -> Result<(), String> {
    let Spec::Portainer(spec) = &object.spec else { return Ok(()) };
    let Some(selector) = spec.host_selector.clone() else { return Ok(()) };
    Selector::try_from(selector).map(|_| ()).map_err(|error| format!("spec.hostSelector: {error}"))
}

/// A Secret. No message repeats a value.
fn input(fields: &Map<String, Value>) -> Result<(NamespacedName, Data), String> {
    let at = place("Secret", fields)?;
    let known = ["apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData"];
    if let Some(unknown) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("Secret {at}: {unknown}: there is no such field"));
    }
    let mut data = Data::default();
    for (field, encoded) in [("data", true), ("stringData", false)] {
        let entries = match fields.get(field) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(entries)) => entries,
            Some(_) => return Err(format!("Secret {at}: {field}: must be a map of keys to strings")),
        };
        for (key, value) in entries {
            let bytes = bytes(value, encoded).map_err(|what| format!("Secret {at}: {field}.{key}: {what}"))?;
            data.insert(key, bytes);
        }
    }
    Ok((at, data))
}

fn bytes(value: &Value, encoded: bool) -> Result<Vec<u8>, &'static str> {
    let text = value.as_str().ok_or("must be a string: put it in quotes")?;
    if !encoded {
        return Ok(text.as_bytes().to_vec());
    }
    let compact: String = text.split_whitespace().collect();
    BASE64_STANDARD.decode(compact).map_err(|_| "must be base64: plain text belongs in stringData")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {name: pandora}
spec: {caRef: {name: homelab}, hostname: pandora.bodkys.house}
";
    const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: ca-pass}\nstringData: {passphrase: canary}\n";

    fn fault(text: &str) -> String {
        let text = Text { file: "homelab.yaml".into(), text: text.to_owned().into() };
        load(&[text]).expect_err("it is refused").to_string()
    }

    #[test]
    fn objects_and_inputs_are_found() {
        let text = format!("# words\n---\n{GOOD}---\n---\n{SECRET}");
        let loaded = load(&[Text { file: "a".into(), text: text.into() }]).expect("it is good");
        assert_eq!(loaded.objects[0].object.at.to_string(), "DockerHostCert/default/pandora");
        let at = NamespacedName { namespace: "default".into(), name: "ca-pass".into() };
        assert_eq!(loaded.inputs[&at].get("passphrase"), Some(b"canary".as_slice()));
    }

    #[test]
    fn faults_name_file_and_field() {
        let host = "DockerHostCert default/pandora: ";
        for (from, to, expected) in [
            ("hostname:", "hostnam:", format!("homelab.yaml:1: {host}spec.hostnam: there is no such field")),
            ("{name: homelab}", "{name: homelab, kind: x}", format!("{host}spec.caRef.kind: there is no such field")),
            ("hostname: pandora.bodkys.house", "privateKey: {sise: 1}", format!("{host}spec.privateKey.sise: there")),
            ("hostname: pandora.bodkys.house", "address: {prt: 1}", format!("{host}spec.address.prt: there")),
            ("caRef: {name: homelab}, ", "", format!("{host}spec.caRef: this field is required")),
            ("hostname: ", "ipAddresses: ", format!("{host}spec.ipAddresses: must be a list, not the text")),
            ("spec:", "spce:", format!("{host}spec: this field is required")),
            ("name: pandora", "name: ../x", "\"../x\": metadata.name: must be lower case".to_owned()),
            ("name: pandora", "name: 7", "DockerHostCert: metadata.name: must be a string".to_owned()),
            ("name: pandora", "namespace: a.b, name: c", "metadata.namespace: \"a.b\"".to_owned()),
            ("hostname: ", "secretName: ../../etc, hostname: ", format!("{host}spec.secretName: must be lower case")),
            ("v1alpha1", "v9", "apiVersion \"dockseal.dev/v9\" is not supported".to_owned()),
            ("DockerHostCert", "Deployment", "kind \"Deployment\"".to_owned()),
            ("metadata: {", "metadata: {{", "homelab.yaml:3: not valid YAML".to_owned()),
        ] {
            let found = fault(&GOOD.replacen(from, to, 1));
            assert!(found.contains(&expected), "{from} -> {to}: {found}");
        }
    }

    #[test]
    fn no_two_objects_have_one_name() {
        let found = fault(&format!("{GOOD}---\n{GOOD}"));
        assert!(
            found.contains("homelab.yaml:6: DockerHostCert default/pandora: it is in homelab.yaml:1 already"),
            "{found}"
        );
    }

    #[test]
    fn no_fault_repeats_a_secret() {
        for (from, to) in [
            ("{passphrase: canary}", "canary"),
            ("{passphrase: canary}", "{passphrase: [canary]}"),
            ("{passphrase: canary}", "{passphrase: *canary}"),
            ("{passphrase: canary}", "{passphrase: \"canary\\q\"}"),
            ("{passphrase: canary}", "{passphrase: canary, passphrase: canary}"),
            ("stringData: {passphrase: canary}", "data: {passphrase: canary-}"),
        ] {
            let found = fault(&SECRET.replacen(from, to, 1));
            assert!(!found.contains("canary"), "{found}");
        }
    }
}
