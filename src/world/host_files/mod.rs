//! The certificate files of a Docker host: whole sets go in, facts come out, and nobody else on the host can redirect
//! either. It decides nothing and never writes over a file that is not ours unless it is told to.
//!
//! ```text
//!   DIR/ca.pem, NAME.pem, NAME.key   relative links .dockseal/current/...
//!   DIR/.dockseal/current            a relative link to one generation; one rename moves it
//!   DIR/.dockseal/<n>/               a generation: ca.pem, NAME.pem, NAME.key, .probe.pem, .probe.key
//!   DIR/.dockseal/owner              which object has the directory: Kind/namespace/name, uid
//!   DIR/.dockseal/lock               held by the one that writes
//!   DIR/.dockseal/.aside-*           not in its place yet, or no longer
//! ```
//!
//! A number is taken again only where its generation was removed and no later one is there.

mod error;
mod folder;
mod ground;
mod layout;
mod seen;
mod turn;

pub use error::{DeliveryError, Flaw};
pub use seen::{Bytes, Generation, Owner, PublicName, Seen};

use folder::Folder;
use ground::Missing;
use layout::{CURRENT, KEEP, LOCK, Names, OWNER};
use std::path::{Path, PathBuf};
use turn::{NewFile, Turn, check_room};

/// What a generation holds.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// The authorities' certificates, and the probe's own.
    pub ca: &'a [u8],
    /// The host's certificate.
    pub cert: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
    /// The probe's certificate.
    pub probe_cert: &'a [u8],
    /// Its key.
    pub probe_key: &'a [u8],
}

/// What a public name may be put over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing: a file that is not ours is [`DeliveryError::Taken`].
    Nothing,
    /// A file that holds what the current generation holds.
    Same,
    /// Whatever is there, directories excepted.
    Anything,
}

/// A directory that certificates are delivered to. Every call that writes waits for its turn, at most ten seconds, and
/// blocks: not for an async thread.
#[derive(Debug)]
pub struct Directory {
    folder: Folder,
    path: PathBuf,
}

impl Directory {
    /// Opens `directory`, which is one of `allowed_roots` or below one. Directories that are missing are made, 0755.
    ///
    /// # Errors
    /// [`DeliveryError`] where it is outside, or others could exchange something on the way.
    pub fn open(allowed_roots: &[PathBuf], directory: &Path) -> Result<Directory, DeliveryError> {
        let folder = ground::open(allowed_roots, directory, Missing::Make)?;
        let folder = folder.expect("a directory that is missing is made");
        Ok(Directory { folder, path: directory.to_owned() })
    }

    /// As [`Directory::open`], but makes nothing: none where it is missing.
    ///
    /// # Errors
    /// As there.
    pub fn find(allowed_roots: &[PathBuf], directory: &Path) -> Result<Option<Directory>, DeliveryError> {
        let folder = ground::open(allowed_roots, directory, Missing::Leave)?;
        Ok(folder.map(|folder| Directory { folder, path: directory.to_owned() }))
    }

    /// Where a file of a generation is, whatever `current` names.
    pub fn generation_file(directory: &Path, generation: u64, name: &str) -> PathBuf {
        directory.join(layout::KEEP).join(generation.to_string()).join(name)
    }

    /// What is there for the object `name`. Only reads, and waits for nobody.
    ///
    /// # Errors
    /// [`DeliveryError`] where `.dockseal` or its marker cannot be read or could be exchanged by others. What is wrong
    /// with a generation is in its flaws.
    pub fn look(&self, name: &str) -> Result<Seen, DeliveryError> {
        seen::look(&self.folder, &Names::of(name)?)
    }

    /// Marks the directory as `owner`'s. A marker of another is replaced only where it is `instead_of`.
    ///
    /// # Errors
    /// [`DeliveryError::Claimed`] where it is another's.
    pub fn claim(&self, owner: &Owner, instead_of: Option<&Owner>) -> Result<(), DeliveryError> {
        let text = format!("{}\n{}\n", owner.object, owner.uid);
        check_room(&self.folder, &[text.len()])?;
        let turn = Turn::make(&self.folder)?;
        match seen::owner(&turn.keep)? {
            Some(there) if there == *owner => Ok(()),
            Some(there) if Some(&there) != instead_of => {
                Err(DeliveryError::Claimed { path: self.path.clone(), owner: there.object })
            }
            _ => turn.replace_file(OWNER, text.as_bytes()),
        }
    }

    /// Writes a generation. It counts once it is read back, and nobody sees it before [`Directory::point`].
    ///
    /// # Errors
    /// [`DeliveryError`]; nothing is left behind then.
    pub fn write_generation(&self, name: &str, files: &Files<'_>) -> Result<u64, DeliveryError> {
        let names = Names::of(name)?;
        let [ca, cert, key] = names.public();
        let held = [
            (ca, files.ca),
            (cert, files.cert),
            (key, files.key),
            (layout::PROBE_CERT, files.probe_cert),
            (layout::PROBE_KEY, files.probe_key),
        ];
        self.write(&held.map(|(name, bytes)| NewFile { name, mode: layout::mode(name), bytes }))
    }

    fn write(&self, files: &[NewFile<'_>]) -> Result<u64, DeliveryError> {
        check_room(&self.folder, &files.iter().map(|file| file.bytes.len()).collect::<Vec<_>>())?;
        Turn::make(&self.folder)?.write(files)
    }

    /// Has the public names show that generation, all at once.
    ///
    /// # Errors
    /// [`DeliveryError`]; they show what they showed before then.
    pub fn point(&self, generation: u64) -> Result<(), DeliveryError> {
        check_room(&self.folder, &[])?;
        let turn = Turn::of(&self.folder)?;
        let turn = turn.ok_or_else(|| DeliveryError::NoGeneration(self.folder.at(KEEP)))?;
        turn.point(generation)
    }

    /// Makes the public names whose files the current generation has.
    ///
    /// # Errors
    /// [`DeliveryError::Taken`], before anything is changed, where one is not ours and `over` does not cover it.
    pub fn link_names(&self, name: &str, over: Over) -> Result<(), DeliveryError> {
        check_room(&self.folder, &[])?;
        let turn = Turn::make(&self.folder)?;
        self.link(&turn, &Names::of(name)?, over)
    }

    fn link(&self, turn: &Turn, names: &Names, over: Over) -> Result<(), DeliveryError> {
        let mut missing = Vec::new();
        for name in names.public() {
            let Some(held) = self.held(turn, name)? else { continue };
            match seen::public_name(&self.folder, name)? {
                PublicName::Ours => {}
                PublicName::Absent => missing.push((name, false)),
                PublicName::File(there) if over == Over::Same && *there == *held => missing.push((name, true)),
                _ if over == Over::Anything => missing.push((name, true)),
                _ => return Err(DeliveryError::Taken(self.folder.at(name))),
            }
        }
        for (name, replace) in &missing {
            let target = layout::public_target(name);
            match replace {
                true => turn.replace_link(&self.folder, name, &target)?,
                false if self.folder.make_link(name, &target)? => {}
                false => return Err(DeliveryError::Taken(self.folder.at(name))),
            }
        }
        if missing.is_empty() { Ok(()) } else { turn.keep.sync().and_then(|()| self.folder.sync()) }
    }

    /// What the current generation holds under that name.
    fn held(&self, turn: &Turn, name: &str) -> Result<Option<Bytes>, DeliveryError> {
        let current = layout::current(&turn.keep)?.map(|number| turn.keep.folder(number.to_string())).transpose()?;
        current.flatten().map_or(Ok(None), |folder| folder.read_own(name, layout::mode(name)))
    }

    /// Takes the files over that are under the public names: copies them as they are into a generation, moves
    /// `current` to it, and has the names link to it. What they show is the same before, between and after. None where
    /// there is nothing to take over.
    ///
    /// # Errors
    /// [`DeliveryError::TakeOver`] where one of them is no plain file; nothing is changed then.
    pub fn take_over(&self, name: &str) -> Result<Option<u64>, DeliveryError> {
        let names = Names::of(name)?;
        check_room(&self.folder, &[])?;
        let turn = Turn::make(&self.folder)?;
        let (mut files, mut foreign) = (Vec::new(), false);
        for name in names.public() {
            let shown = match seen::public_name(&self.folder, name)? {
                PublicName::Ours => self.held(&turn, name)?,
                PublicName::Absent => None,
                PublicName::File(bytes) => {
                    foreign = true;
                    Some(bytes)
                }
                PublicName::Link(target) => return self.not_taken(name, format!("a link to {}", target.display())),
                PublicName::Unreadable(why) => return self.not_taken(name, format!("not readable ({why})")),
            };
            files.extend(shown.map(|bytes| (name, bytes)));
        }
        if !foreign {
            return Ok(None);
        }
        check_room(&self.folder, &files.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>())?;
        let copies: Vec<_> =
            files.iter().map(|(name, bytes)| NewFile { name, mode: copy_mode(name, bytes), bytes }).collect();
        let number = turn.write(&copies)?;
        turn.point(number)?;
        self.link(&turn, &names, Over::Same)?;
        Ok(Some(number))
    }

    fn not_taken<T>(&self, name: &str, what: String) -> Result<T, DeliveryError> {
        Err(DeliveryError::TakeOver { path: self.folder.at(name), what })
    }

    /// Removes every generation that is neither listed nor current, and what interrupted writes left behind.
    ///
    /// # Errors
    /// [`DeliveryError`] where one cannot be removed.
    pub fn retire(&self, keep: &[u64]) -> Result<(), DeliveryError> {
        let Some(turn) = Turn::of(&self.folder)? else { return Ok(()) };
        turn.tidy()?;
        let current = layout::current(&turn.keep)?;
        let old = layout::numbers(&turn.keep)?.into_iter();
        turn.retire(old.filter(|number| Some(*number) != current && !keep.contains(number)))
    }

    /// Removes what interrupted writes left behind.
    ///
    /// # Errors
    /// [`DeliveryError`] where something cannot be removed.
    pub fn tidy(&self) -> Result<(), DeliveryError> {
        Turn::of(&self.folder)?.map_or(Ok(()), |turn| turn.tidy())
    }

    /// Removes all that is ours, the marker last. It is for when nothing refers to the files any more: a dockerd that
    /// still does cannot start without them.
    ///
    /// # Errors
    /// [`DeliveryError`] where something cannot be removed; to be called again then.
    pub fn release(&self, name: &str) -> Result<(), DeliveryError> {
        let names = Names::of(name)?;
        let Some(turn) = Turn::of(&self.folder)? else { return Ok(()) };
        for name in names.public() {
            if seen::public_name(&self.folder, name)? == PublicName::Ours {
                self.folder.remove(name)?;
            }
        }
        self.folder.sync()?;
        turn.keep.remove(CURRENT)?;
        turn.tidy()?;
        turn.retire(layout::numbers(&turn.keep)?)?;
        for last in [OWNER, LOCK] {
            turn.keep.remove(last)?;
        }
        self.folder.remove_empty(KEEP)?;
        self.folder.sync()
    }

    /// What to watch for changes: the directory, ours in it, and the generation that is shown. Each where it is there.
    pub fn watch_paths(&self) -> [PathBuf; 3] {
        let keep = self.path.join(KEEP);
        [self.path.clone(), keep.clone(), keep.join(CURRENT)]
    }
}

/// What was taken over keeps its content; a certificate file that a key is in as well is nobody else's to read.
fn copy_mode(name: &str, bytes: &[u8]) -> u32 {
    let private = b"PRIVATE KEY";
    if bytes.windows(private.len()).any(|window| window == private) { 0o400 } else { layout::mode(name) }
}
