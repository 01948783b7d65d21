//! The marker in a certificate directory: which Dockseal delivers there, for which object and with which authority. A
//! value in, lines of text out, and back. What it means for another delivery is decided elsewhere.

use serde::{Deserialize, Serialize};
use std::fmt::Write;

pub use super::TAKE_FROM_ANNOTATION;
/// Beginning of the id of a cluster, before the UID of its namespace kube-system.
pub const CLUSTER_PREFIX: &str = "cluster-";
/// Beginning of the id of a state directory.
pub const STATE_PREFIX: &str = "state-";

const WRITER: &str = "writer";
const AUTHORITY: &str = "authority";
const CA: &str = "ca";
const TAKEN: &str = "taken";

/// Whose a certificate directory is. Versions before had the first two lines alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// `Kind/namespace/name` of the object that is delivered.
    pub object: String,
    /// Its uid; empty without a cluster.
    pub uid: String,
    /// Id of the cluster or of the state directory; none from a version before, or where the cluster's is not known.
    pub writer: Option<String>,
    /// SHA-256 of the key of the authority that signed the leaf, hex.
    pub authority: Option<String>,
    /// Name of the DockerCA that the object names.
    pub ca: Option<String>,
    /// What was replaced here because a user asked for it.
    pub taken: Vec<Taken>,
}

/// That something of another was replaced, once or more often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Who replaced it.
    pub by: String,
    /// The id of what was replaced.
    pub from: String,
    /// How often.
    pub times: u32,
}

impl Marker {
    /// Reads a marker. Lines that this version does not know are left out.
    pub fn parse(text: &str) -> Marker {
        let mut lines = text.lines();
        let mut first = || lines.next().unwrap_or_default().to_owned();
        let mut marker = Marker { object: first(), uid: first(), ..Marker::default() };
        for (name, value) in lines.filter_map(|line| line.split_once(' ')) {
            match name {
                WRITER => marker.writer = Some(value.to_owned()),
                AUTHORITY => marker.authority = Some(value.to_owned()),
                CA => marker.ca = Some(value.to_owned()),
                TAKEN => marker.taken.extend(Taken::parse(value)),
                _ => {}
            }
        }
        marker
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n", self.object, self.uid);
        for (name, value) in [(WRITER, &self.writer), (AUTHORITY, &self.authority), (CA, &self.ca)] {
            value.iter().for_each(|value| text.extend([name, " ", value, "\n"]));
        }
        for Taken { by, from, times } in &self.taken {
            writeln!(text, "{TAKEN} {by} {from} {times}").expect("a string takes any text");
        }
        text
    }
}

/// How often `by` replaced what has the id `from`.
pub fn times_taken(taken: &[Taken], by: &str, from: &str) -> u32 {
    let known = taken.iter().find(|known| known.by == by && known.from == from);
    known.map_or(0, |known| known.times)
}

/// Notes that `by` replaces what `asked` names.
pub fn note_taken(taken: &mut Vec<Taken>, by: &str, asked: &TakeFrom) {
    taken.retain(|known| known.by != by || known.from != asked.from);
    taken.push(Taken { by: by.to_owned(), from: asked.from.clone(), times: asked.time });
}

impl Taken {
    fn parse(value: &str) -> Option<Taken> {
        let mut words = value.split(' ');
        let (by, from, times) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
        Some(Taken { by: by.to_owned(), from: from.to_owned(), times })
    }
}

/// What a user lets a delivery replace, as [`TAKE_FROM_ANNOTATION`] has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeFrom {
    /// The id of what may be replaced.
    pub from: String,
    /// The how-manieth time it may be, from 1.
    pub time: u32,
}

impl TakeFrom {
    /// Reads the annotation; none where it is not an id, or not a number after it.
    pub fn parse(text: &str) -> Option<TakeFrom> {
        let text = text.trim();
        let (from, time) =
            text.split_once('/').map_or(Some((text, 1)), |(from, time)| Some((from, time.parse().ok()?)))?;
        let is_id = !from.is_empty() && from.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_id.then(|| TakeFrom { from: from.to_owned(), time })
    }
}

impl std::fmt::Display for TakeFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.time {
            1 => f.write_str(&self.from),
            time => write!(f, "{}/{time}", self.from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Marker {
        let mut marker = Marker {
            object: "DockerHostCert/home/pandora".into(),
            uid: "42".into(),
            writer: Some("cluster-1".into()),
            authority: Some("ab".into()),
            ca: Some("homelab".into()),
            taken: Vec::new(),
        };
        for time in [1, 2] {
            note_taken(&mut marker.taken, "cluster-1", &TakeFrom { from: "state-2".into(), time });
        }
        marker
    }

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        for marker in [full(), Marker::default(), Marker { uid: String::new(), ..full() }] {
            assert_eq!(Marker::parse(&marker.to_text()), marker);
        }
        assert_eq!(
            (times_taken(&full().taken, "cluster-1", "state-2"), times_taken(&full().taken, "state-2", "cluster-1")),
            (2, 0)
        );
    }

    #[test]
    fn a_marker_of_a_version_before_or_after_is_read_too() {
        let old = Marker::parse("DockerHostCert/home/pandora\n42\n");
        assert_eq!((old.object.as_str(), old.uid.as_str()), ("DockerHostCert/home/pandora", "42"));
        assert_eq!(Marker { taken: Vec::new(), ..old.clone() }, old);
        assert_eq!((&old.writer, &old.authority, &old.ca), (&None, &None, &None));
        assert_eq!(Marker::parse("x\n\n").uid, "");
        assert_eq!(Marker::parse(""), Marker::default());
        let later = format!("{}moon full\ntaken a b\ntaken a b many\n\n", full().to_text());
        assert_eq!(Marker::parse(&later), full());
        // A version before reads the first two lines of ours.
        assert!(full().to_text().starts_with("DockerHostCert/home/pandora\n42\n"));
    }

    #[test]
    fn what_is_no_id_lets_nothing_be_replaced() {
        let read = |text: &str| TakeFrom::parse(text).map(|asked| (asked.to_string(), asked.time));
        assert_eq!(read(" state-1f\n"), Some(("state-1f".into(), 1)));
        assert_eq!(read("state-1f/3"), Some(("state-1f/3".into(), 3)));
        for text in ["", " ", "/", "/2", "a/", "a/x", "a/-1", "a b", "a/1/2", "*", "a\nb"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
