//! KIND/NAME as users type it in, the objects that it names out.

use super::exit::CliError;
use crate::api::{Kind, Object};

/// A name, with a kind or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The kind, where it is given.
    pub kind: Option<Kind>,
    pub name: String,
}

impl Reference {
    /// Reads `KIND/NAME` or `NAME`.
    ///
    /// # Errors
    /// A sentence where the kind does not exist.
    pub fn parse(text: &str) -> anyhow::Result<Reference> {
        let (kind, name) = match text.split_once('/') {
            None => (None, text),
            Some((word, name)) => match kind(word) {
                Some(kind) => (Some(kind), name),
                None => return Err(CliError::usage(format!("{word:?} is not a kind: {KINDS}"))),
            },
        };
        if name.is_empty() || name.contains('/') {
            return Err(CliError::usage(format!(
                "{text:?} names no object: write KIND/NAME or NAME, the namespace with -n"
            )));
        }
        Ok(Reference { kind, name: name.to_owned() })
    }

    /// The kinds of `allowed` that it can name.
    ///
    /// # Errors
    /// A sentence where another kind is given.
    pub fn kinds(&self, allowed: &[Kind]) -> anyhow::Result<Vec<Kind>> {
        match self.kind {
            None => Ok(allowed.to_vec()),
            Some(kind) if allowed.contains(&kind) => Ok(vec![kind]),
            Some(kind) => Err(CliError::usage(format!("{kind}/{}: it must be a {}", self.name, any_of(allowed)))),
        }
    }

    /// Whether it names that object.
    pub fn means(&self, object: &Object) -> bool {
        self.kind.is_none_or(|kind| kind == object.at.kind) && *object.at.name == *self.name
    }

    /// The only one of `found` that it names.
    ///
    /// # Errors
    /// A sentence where there is none, or where there are several.
    pub fn the_one(&self, found: Vec<Object>, kinds: &[Kind], looked_in: &str) -> anyhow::Result<Object> {
        let mut meant: Vec<Object> = found.into_iter().filter(|object| self.means(object)).collect();
        if meant.len() > 1 {
            let names: Vec<String> = meant.iter().map(|object| object.at.to_string()).collect();
            let spaces = meant.iter().any(|object| object.at.namespace != meant[0].at.namespace);
            let how = if spaces { "name the namespace with -n" } else { "name the kind" };
            return Err(CliError::usage(format!("{} is not unique ({}): {how}", self.name, names.join(", "))));
        }
        meant.pop().ok_or_else(|| self.missing(kinds, looked_in))
    }

    pub fn missing(&self, kinds: &[Kind], looked_in: &str) -> anyhow::Error {
        let what = if kinds.len() == Kind::ALL.len() { "object".to_owned() } else { any_of(kinds) };
        CliError::not_found(format!(
            "there is no {what} {} in {looked_in}: `dockseal status -A` shows what is there",
            self.name
        ))
    }
}

/// `DockerHostCert, DockerClientCert or PortainerClient`.
fn any_of(kinds: &[Kind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    match names.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => names.concat(),
    }
}

const KINDS: &str = "write DockerCA (dca), DockerHostCert (dhc), DockerClientCert (dcc) or PortainerClient (ptc)";

/// The kind of that word: `DockerHostCert`, `dockerhostcert`, `dockerhostcerts` or `dhc`, also with the group.
pub fn kind(word: &str) -> Option<Kind> {
    let word = word.to_lowercase();
    let word = word.strip_suffix(".dockseal.dev").unwrap_or(&word);
    Kind::ALL.into_iter().find(|kind| {
        let full = kind.as_str().to_lowercase();
        word == full || word == format!("{full}s") || word == short(*kind)
    })
}

pub fn short(kind: Kind) -> &'static str {
    match kind {
        Kind::DockerCA => "dca",
        Kind::DockerHostCert => "dhc",
        Kind::DockerClientCert => "dcc",
        Kind::PortainerClient => "ptc",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_several_spellings() {
        for word in
            ["DockerHostCert", "dockerhostcert", "dockerhostcerts", "dhc", "DHC", "dockerhostcerts.dockseal.dev"]
        {
            let found = Reference::parse(&format!("{word}/pandora")).expect(word);
            assert_eq!(found, Reference { kind: Some(Kind::DockerHostCert), name: "pandora".into() });
        }
        assert_eq!(Kind::ALL.map(|kind| super::kind(short(kind))), Kind::ALL.map(Some));
        assert_eq!(Reference::parse("pandora").expect("a name").kind, None);
        for wrong in ["pod/pandora", "/pandora", "dhc/", "dhc/home/pandora"] {
            let error = Reference::parse(wrong).expect_err(wrong);
            assert_eq!(crate::cli::exit::of(&error), crate::cli::exit::Exit::Usage, "{error}");
        }
    }
}
