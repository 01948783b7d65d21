//! The certificate directory, in the machine's own files and in the layout of the real one. Each rename is one change.

use super::SimHost;
use super::machine::Machine;
use dockseal::adapters::host::DeliveryDirectory;
use dockseal::adapters::host::cert_dir::{
    Bytes, DeliveryError, DirContents, Generation, GenerationFiles, Overwrite, Owner, PublicName,
};
use dockseal::adapters::host::system_files::PathEntry;
use std::path::{Path, PathBuf};

/// An opened directory.
pub struct SimDirectory {
    pub(super) host: SimHost,
    pub(super) path: PathBuf,
}

fn names(name: &str) -> [String; 3] {
    ["ca.pem".to_owned(), format!("{name}.pem"), format!("{name}.key")]
}

impl SimDirectory {
    fn call<T>(
        &self,
        what: &str,
        work: impl FnOnce(&mut Machine) -> Result<T, DeliveryError>,
    ) -> Result<T, DeliveryError> {
        self.host.call(what, || DeliveryError::Busy(self.path.clone()), work)
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
            let owner = machine.bytes(&self.ours("owner")).map(|bytes| {
                let text = String::from_utf8(bytes).expect("text");
                let (object, uid) = text.split_once('\n').expect("two lines");
                Owner { object: object.to_owned(), uid: uid.to_owned() }
            });
            let generations = self.numbers(machine).into_iter().map(generation).collect();
            Ok(DirContents { owner, current: self.current(machine), generations, ca, cert, key, leftovers: false })
        })
    }

    fn claim(&self, owner: &Owner, _: Option<&Owner>) -> Result<(), DeliveryError> {
        let entry = PathEntry::public(&format!("{}\n{}", owner.object, owner.uid));
        self.call("claim", |machine| {
            machine.put(&self.ours("owner"), &entry);
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
        self.call("write", |machine| Ok(self.write(machine, &files)))
    }

    fn set_current(&self, generation: u64) -> Result<(), DeliveryError> {
        self.call("point", |machine| {
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
        self.call("link", |machine| self.link(machine, name, overwrite))
    }

    fn take_over(&self, name: &str) -> Result<Option<u64>, DeliveryError> {
        self.call("take over", |machine| {
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
        self.call("retire", |machine| {
            let current = self.current(machine);
            let old = |number: &u64| Some(*number) != current && !keep.contains(number);
            for number in self.numbers(machine).into_iter().filter(old).collect::<Vec<_>>() {
                self.remove_generation(machine, number);
            }
            Ok(())
        })
    }

    fn release(&self, name: &str) -> Result<(), DeliveryError> {
        self.call("release", |machine| {
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
