//! The certificate directory, in the machine's own files and in the layout of the real one. Each rename is one change.

use super::SimHost;
use super::machine::Machine;
use dockseal::adapters::host::DeliveryDirectory;
use dockseal::adapters::host::cert_dir::{
    Bytes, DeliveryError, DirContents, Generation, GenerationFiles, Overwrite, PublicName,
};
use dockseal::adapters::host::system_files::PathEntry;
use dockseal::api::marker::Marker;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};

/// An opened directory.
pub struct SimDirectory {
    pub(super) host: SimHost,
    pub(super) path: PathBuf,
    claimed: Mutex<Option<Marker>>,
}

fn names(name: &str) -> [String; 3] {
    ["ca.pem".to_owned(), format!("{name}.pem"), format!("{name}.key")]
}

impl SimDirectory {
    pub(super) fn of(host: &SimHost, path: &Path) -> SimDirectory {
        SimDirectory { host: host.clone(), path: path.to_owned(), claimed: Mutex::default() }
    }

    fn call<T>(
        &self,
        what: &str,
        work: impl FnOnce(&mut Machine) -> Result<T, DeliveryError>,
    ) -> Result<T, DeliveryError> {
        self.host.call(what, || DeliveryError::Busy(self.path.clone()), work)
    }

    /// A call that writes: nothing, once the directory is another's.
    fn write_call<T>(
        &self,
        what: &str,
        work: impl FnOnce(&mut Machine) -> Result<T, DeliveryError>,
    ) -> Result<T, DeliveryError> {
        self.call(what, |machine| {
            let claimed = self.claimed.lock().clone();
            match self.marker(machine).filter(|there| claimed.is_some_and(|claimed| *there != claimed)) {
                Some(there) => Err(self.claimed_by(&there)),
                None => work(machine),
            }
        })
    }

    fn marker(&self, machine: &Machine) -> Option<Marker> {
        let bytes = machine.bytes(&self.ours("owner"))?;
        Some(Marker::parse(&String::from_utf8(bytes).expect("text")))
    }

    fn claimed_by(&self, there: &Marker) -> DeliveryError {
        DeliveryError::Claimed { path: self.path.clone(), owner: there.object.clone() }
    }

    fn ours(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(".dockseal").join(name)
    }

    fn current(&self, machine: &Machine) -> Option<u64> {
        match machine.entry(&self.ours("current")) {
            PathEntry::Link(to) => to.to_str()?.parse().ok(),
            _ => None,
        }
    }

    fn numbers(&self, machine: &Machine) -> Vec<u64> {
        let ours = self.ours("");
        let below = machine.files.keys().filter_map(|path| path.strip_prefix(&ours).ok());
        let mut numbers: Vec<u64> = below.filter_map(|path| path.iter().next()?.to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn public(&self, machine: &Machine, name: &str) -> PublicName {
        match machine.entry(&self.path.join(name)) {
            PathEntry::Absent => PublicName::Absent,
            PathEntry::Link(to) if to == Path::new(".dockseal/current").join(name) => PublicName::Ours,
            PathEntry::Link(to) => PublicName::Link(to),
            PathEntry::File { bytes, .. } => PublicName::File(bytes.into()),
        }
    }

    fn write(&self, machine: &mut Machine, files: &[(String, Vec<u8>)]) -> u64 {
        let last = self.numbers(machine).last().copied().max(self.current(machine));
        let number = last.unwrap_or(0) + 1;
        machine.change(&format!("generation {number}"));
        for (name, bytes) in files {
            let entry = PathEntry::File { bytes: bytes.clone(), mode: 0o400, uid: 0, gid: 0 };
            machine.set(self.ours(number.to_string()).join(name), entry);
        }
        number
    }

    fn move_current(&self, machine: &mut Machine, number: u64) {
        machine.change(&format!("point to {number}"));
        machine.set(self.ours("current"), PathEntry::Link(number.to_string().into()));
    }

    fn link(&self, machine: &mut Machine, name: &str, overwrite: Overwrite) -> Result<(), DeliveryError> {
        let Some(current) = self.current(machine) else { return Ok(()) };
        let inside = |machine: &Machine, name: &str| machine.bytes(&self.ours(current.to_string()).join(name));
        let linked = names(name).into_iter().filter(|name| inside(machine, name).is_some()).collect::<Vec<_>>();
        for name in &linked {
            let fits = match self.public(machine, name) {
                PublicName::Absent | PublicName::Ours => true,
                PublicName::File(there) if overwrite == Overwrite::IfSame => {
                    inside(machine, name).as_deref() == Some(&*there)
                }
                _ => overwrite == Overwrite::Always,
            };
            if !fits {
                return Err(DeliveryError::FileExists(self.path.join(name)));
            }
        }
        for name in &linked {
            machine.put(&self.path.join(name), &PathEntry::Link(Path::new(".dockseal/current").join(name)));
        }
        Ok(())
    }

    fn remove_generation(&self, machine: &mut Machine, number: u64) {
        machine.change(&format!("remove generation {number}"));
        let inside = self.ours(number.to_string());
        machine.files.retain(|path, _| !path.starts_with(&inside));
    }
}

impl DeliveryDirectory for SimDirectory {
    fn contents(&self, name: &str) -> Result<DirContents, DeliveryError> {
        self.call("look", |machine| {
            let [ca, cert, key] = names(name).map(|name| self.public(machine, &name));
            let generation = |number: u64| {
                let file = |name: &str| machine.bytes(&self.ours(number.to_string()).join(name)).map(Bytes::from);
                let [ca, cert, key] = names(name).map(|name| file(&name));
                let (probe_cert, probe_key) = (file(".probe.pem"), file(".probe.key"));
                Generation { number, ca, cert, key, probe_cert, probe_key, problems: Vec::new() }
            };
            let marker = self.marker(machine);
            let generations = self.numbers(machine).into_iter().map(generation).collect();
            Ok(DirContents { marker, current: self.current(machine), generations, ca, cert, key, leftovers: false })
        })
    }

    fn claim(&self, marker: &Marker, instead_of: Option<&Marker>) -> Result<(), DeliveryError> {
        self.call("claim", |machine| {
            match self.marker(machine).filter(|there| there != marker) {
                Some(there) if Some(&there) != instead_of => return Err(self.claimed_by(&there)),
                _ => machine.put(&self.ours("owner"), &PathEntry::public(&marker.to_text())),
            }
            *self.claimed.lock() = Some(marker.clone());
            Ok(())
        })
    }

    fn write_generation(&self, name: &str, files: &GenerationFiles<'_>) -> Result<u64, DeliveryError> {
        let [ca, cert, key] = names(name);
        let files = [
            (ca, files.ca.to_vec()),
            (cert, files.cert.to_vec()),
            (key, files.key.to_vec()),
            (".probe.pem".to_owned(), files.probe_cert.to_vec()),
            (".probe.key".to_owned(), files.probe_key.to_vec()),
        ];
        self.write_call("write", |machine| Ok(self.write(machine, &files)))
    }

    fn set_current(&self, generation: u64) -> Result<(), DeliveryError> {
        self.write_call("point", |machine| {
            if !self.numbers(machine).contains(&generation) {
                return Err(DeliveryError::NoGeneration(self.ours(generation.to_string())));
            }
            if self.current(machine) != Some(generation) {
                self.move_current(machine, generation);
            }
            Ok(())
        })
    }

    fn link_names(&self, name: &str, overwrite: Overwrite) -> Result<(), DeliveryError> {
        self.write_call("link", |machine| self.link(machine, name, overwrite))
    }

    fn take_over(&self, name: &str) -> Result<Option<u64>, DeliveryError> {
        self.write_call("take over", |machine| {
            let foreign = |name: &String| !matches!(self.public(machine, name), PublicName::Absent | PublicName::Ours);
            if !names(name).iter().any(foreign) {
                return Ok(None);
            }
            let copied = names(name).into_iter().filter_map(|name| {
                let bytes = machine.bytes(&self.path.join(&name))?;
                Some((name, bytes))
            });
            let copied: Vec<_> = copied.collect();
            let number = self.write(machine, &copied);
            self.move_current(machine, number);
            self.link(machine, name, Overwrite::IfSame)?;
            Ok(Some(number))
        })
    }

    fn prune(&self, keep: &[u64]) -> Result<(), DeliveryError> {
        self.write_call("retire", |machine| {
            let current = self.current(machine);
            let old = |number: &u64| Some(*number) != current && !keep.contains(number);
            for number in self.numbers(machine).into_iter().filter(old).collect::<Vec<_>>() {
                self.remove_generation(machine, number);
            }
            Ok(())
        })
    }

    fn release(&self, name: &str) -> Result<(), DeliveryError> {
        self.write_call("release", |machine| {
            for name in names(name) {
                if self.public(machine, &name) == PublicName::Ours {
                    machine.put(&self.path.join(name), &PathEntry::Absent);
                }
            }
            machine.put(&self.ours("current"), &PathEntry::Absent);
            for number in self.numbers(machine) {
                self.remove_generation(machine, number);
            }
            machine.put(&self.ours("owner"), &PathEntry::Absent);
            Ok(())
        })
    }
}
