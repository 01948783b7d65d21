//! Changes to a daemon.json: the document and the wanted settings in, a changed document out. Other members stay as
//! they were written.

use super::document::DaemonJson;
use super::document::Member;
use super::settings::TlsPaths;

/// The members that a delivery sets or removes.
const OURS: [&str; 7] = ["tls", "tlsverify", "tlscacert", "tlscert", "tlskey", "hosts", "live-restore"];

/// The settings that daemon.json must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Absolute path of the trust bundle for clients.
    pub ca: &'a str,
    /// Absolute path of the server's certificate.
    pub cert: &'a str,
    /// Absolute path of its private key.
    pub key: &'a str,
    /// true: `live-restore` is set; false: it stays as it is.
    pub live_restore: bool,
    /// true: `hosts` is removed, since systemd's socket listens.
    pub drop_hosts: bool,
}

/// The TLS settings were changed by someone else, so none was removed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to remove TLS from daemon.json: {key} is {value}, which Dockseal did not set")]
pub struct NotOurs {
    /// The name of the member.
    pub key: &'static str,
    /// The value in JSON.
    pub value: String,
}

impl DaemonJson {
    /// The text in which dockerd demands client certificates: `tlsverify` and three paths, each once, and no `tls`.
    /// A member that exists keeps its place, and its bytes if its value is right; new ones come last. Before the text is
    /// written, [`super::enforces_client_auth`] must accept it: a nested `tlsverify` is not removed.
    pub fn merged(&self, wanted: &Wanted) -> DaemonJson {
        let mut next = self.clone();
        next.remove("tls");
        if wanted.drop_hosts {
            next.remove("hosts");
        }
        next.set("tlsverify", "true");
        next.set("tlscacert", &quoted(wanted.ca));
        next.set("tlscert", &quoted(wanted.cert));
        next.set("tlskey", &quoted(wanted.key));
        if wanted.live_restore {
            next.set("live-restore", "true");
        }
        if !next.closing.ends_with('\n') {
            next.closing.push('\n');
        }
        next
    }

    /// The text without `hosts`.
    pub fn without_hosts(&self) -> DaemonJson {
        let mut next = self.clone();
        next.remove("hosts");
        next
    }

    /// The text in which live-restore is on.
    pub fn with_live_restore(&self) -> DaemonJson {
        let mut next = self.clone();
        next.set("live-restore", "true");
        next
    }

    /// The text without TLS. `hosts` and `live-restore` stay as they are, and so does TLS that names no files.
    ///
    /// # Errors
    /// [`NotOurs`]: a path is not one of `ours`, so someone else has configured TLS.
    pub fn without_tls(&self, ours: &TlsPaths) -> Result<DaemonJson, NotOurs> {
        let mut next = self.clone();
        let paths = [("tlscacert", &ours.ca), ("tlscert", &ours.cert), ("tlskey", &ours.key)];
        if !paths.iter().any(|(key, _)| self.mentions(key)) {
            return Ok(next);
        }
        for (key, path) in paths {
            let changed = self.members.iter().find(|member| member.is(key) && !says(&member.value, &quoted(path)));
            if let Some(member) = changed {
                return Err(NotOurs { key, value: member.value.clone() });
            }
            next.remove(key);
        }
        next.remove("tls");
        next.remove("tlsverify");
        Ok(next)
    }

    /// The text with the members of a delivery as they are in `before`, and all others as they are.
    pub fn reverted(&self, before: &DaemonJson) -> DaemonJson {
        let mut next = self.clone();
        for key in OURS {
            match before.members.iter().rev().find(|member| member.is(key)) {
                Some(member) => next.set(key, &member.value),
                None => next.remove(key),
            }
        }
        next
    }

    /// Whether two texts differ only in the members of a delivery.
    pub fn same_but_ours(&self, other: &DaemonJson) -> bool {
        let others = |of: &DaemonJson| {
            let theirs = of.members.iter().filter(|member| !OURS.iter().any(|key| member.is(key)));
            theirs.map(|member| (member.key.clone(), member.value.clone())).collect::<Vec<_>>()
        };
        others(self) == others(other)
    }

    /// Sets the member that dockerd reads as `key`, in the place of the first that was there, and leaves no other.
    fn set(&mut self, key: &str, value: &str) {
        let Some(first) = self.members.iter().position(|member| member.is(key)) else {
            return self.push(key, value);
        };
        let member = &mut self.members[first];
        if !member.is_plainly(key) {
            member.key = quoted(key);
        }
        if !says(&member.value, value) {
            member.value = value.to_owned();
        }
        let mut index = 0..;
        self.keep(|member| index.next() == Some(first) || !member.is(key));
    }

    fn remove(&mut self, key: &str) {
        self.keep(|member| !member.is(key));
    }

    /// The space that led to the first member leads to the one that is first then; behind the last one all is closing.
    fn keep(&mut self, kept: impl FnMut(&Member) -> bool) {
        let lead = self.members.first().map(|first| first.lead.clone()).unwrap_or_default();
        self.members.retain(kept);
        if let Some(first) = self.members.first_mut() {
            first.lead = lead;
        }
        if let Some(last) = self.members.last_mut() {
            self.closing.insert_str(0, &std::mem::take(&mut last.trail));
        }
    }

    /// Appends a member, laid out as the last one is.
    fn push(&mut self, key: &str, value: &str) {
        let (lead, colon) = match self.members.last() {
            Some(last) => (lead_after(&last.lead, &last.colon, self.members.len()), last.colon.clone()),
            None => {
                self.closing = format!("\n{}", self.closing.trim_start());
                ("\n  ".to_owned(), ": ".to_owned())
            }
        };
        let (name, value, trail) = (key.to_owned(), value.to_owned(), String::new());
        self.members.push(Member { lead, key: quoted(key), name, colon, value, trail });
    }
}

/// What leads to a new last member: a line of its own with the same indent, or the same space in the same line.
fn lead_after(lead: &str, colon: &str, members: usize) -> String {
    match lead.rfind('\n') {
        Some(at) if lead[..at].ends_with('\r') => format!("\r{}", &lead[at..]),
        Some(at) => lead[at..].to_owned(),
        None if members == 1 && colon.ends_with(' ') => " ".to_owned(),
        None => lead.to_owned(),
    }
}

/// Whether two JSON texts, true or a string, are of one value.
fn says(value: &str, wanted: &str) -> bool {
    let string = |text| serde_json::from_str::<String>(text).ok();
    value == wanted || string(value).is_some_and(|text| string(wanted) == Some(text))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
