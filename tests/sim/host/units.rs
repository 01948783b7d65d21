//! systemd as far as a step relies on it: units with the files that were read, sockets, starts and stops.

use super::machine::Machine;
use dockseal::adapters::host::system_files::PathEntry;
use dockseal::adapters::host::systemd::Unit;
use dockseal::docker::unit::parse::values;
use dockseal::docker::unit::{ExecLine, SERVICE, SOCKET, SOCKET_NAME, SOCKET_WANT, StartSettings, variable};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const UNITS: [&str; 3] = [SERVICE, SOCKET, SOCKET_NAME];
const ROOTS: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];

impl Machine {
    /// A unit's own file and its drop-ins, as they are on disk.
    fn unit_files(&self, name: &str) -> BTreeMap<PathBuf, PathEntry> {
        let own = ROOTS.iter().map(|root| Path::new(root).join(name)).find(|path| self.files.contains_key(path));
        let drop_ins = ROOTS.map(|root| Path::new(root).join(format!("{name}.d")));
        let inside = self.files.keys().filter(|path| drop_ins.iter().any(|drop_in| path.parent() == Some(drop_in)));
        let found = own.into_iter().chain(inside.cloned());
        found.map(|path| (path.clone(), self.files[&path].clone())).collect()
    }

    /// Reads a unit that was never read.
    fn load(&mut self, name: &str) {
        let files = self.unit_files(name);
        if self.loaded.get(name).is_none_or(|loaded| fragment(loaded).is_none()) {
            self.loaded.insert(name.to_owned(), files);
        }
    }

    fn ordered(&self, name: &str) -> Vec<PathBuf> {
        let Some(loaded) = self.loaded.get(name) else { return Vec::new() };
        let own = fragment(loaded);
        let mut drop_ins: Vec<_> = loaded.keys().filter(|path| Some(*path) != own.as_ref()).cloned().collect();
        drop_ins.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        own.into_iter().chain(drop_ins).collect()
    }

    fn setting(&self, name: &str, section: &str, key: &str) -> Vec<String> {
        let text = |path: &PathBuf| {
            let bytes = self.loaded[name][path].bytes().unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let texts: Vec<String> = self.ordered(name).iter().map(text).collect();
        values(&texts.iter().map(String::as_str).collect::<Vec<_>>(), section, key)
    }

    pub(super) fn unit(&mut self, name: &str) -> Unit {
        self.load(name);
        let paths = self.ordered(name);
        let mut paths = paths.iter().map(|path| path.display().to_string());
        let loaded = fragment(&self.loaded[name]).is_some();
        Unit {
            loaded,
            active: self.state(name).to_owned(),
            fragment: if loaded { paths.next().unwrap_or_default() } else { String::new() },
            drop_ins: paths.collect(),
            stale: self.loaded[name] != self.unit_files(name),
        }
    }

    pub(super) fn state(&self, name: &str) -> &'static str {
        self.active.get(name).copied().unwrap_or("inactive")
    }

    /// Reads all unit files again.
    pub fn reload(&mut self) {
        let stale = UNITS.iter().any(|name| {
            let known = self.loaded.get(*name).cloned().unwrap_or_default();
            known != self.unit_files(name)
        });
        if stale {
            self.change("reload");
            self.loaded = UNITS.map(|name| (name.to_owned(), self.unit_files(name))).into();
        }
    }

    pub(super) fn reset_failed(&mut self, name: &str) {
        if self.state(name) == "failed" {
            self.change(&format!("reset {name}"));
            self.active.insert(name.to_owned(), "inactive");
        }
    }

    /// A job, and how it ended.
    pub fn run(&mut self, verb: &str, name: &str) -> Result<(), String> {
        self.change(&format!("{verb} {name}"));
        match verb {
            "start" => self.start(name),
            "stop" => {
                self.stop(name);
                Ok(())
            }
            _ => {
                self.stop(name);
                self.start(name) // and what it wants, which systemd opens between the two
            }
        }
    }

    fn start(&mut self, name: &str) -> Result<(), String> {
        if self.state(name) == "active" {
            return Ok(());
        }
        match name {
            SERVICE => {
                self.open_socket(SOCKET)?;
                if self.setting(SERVICE, "Unit", "Wants").iter().any(|wants| wants.contains(SOCKET_NAME)) {
                    let _ = self.open_socket(SOCKET_NAME);
                }
                self.start_service()
            }
            _ => self.open_socket(name),
        }
    }

    fn stop(&mut self, name: &str) {
        if name == SOCKET {
            self.stop(SOCKET_NAME); // PartOf
            self.stop(SERVICE); // Requires
        }
        if name == SERVICE {
            self.dockerd = None;
        }
        self.streams.remove(name);
        if self.state(name) == "active" {
            self.active.insert(name.to_owned(), "inactive");
        }
    }

    fn open_socket(&mut self, name: &str) -> Result<(), String> {
        self.load(name);
        if self.state(name) == "active" {
            return Ok(());
        }
        if fragment(&self.loaded[name]).is_none() || self.state(SERVICE) == "active" {
            return Err("failed".into()); // systemd opens none while the service runs
        }
        let guarded = self.setting(name, "Socket", "ExecStartPre").iter().any(|line| line.contains("guard"));
        if guarded && !self.guard() {
            self.active.insert(name.to_owned(), "failed");
            return Err("failed".into());
        }
        let streams = self.setting(name, "Socket", "ListenStream");
        self.streams.insert(name.to_owned(), streams);
        self.active.insert(name.to_owned(), "active");
        Ok(())
    }

    fn start_service(&mut self) -> Result<(), String> {
        self.load(SERVICE);
        let guards =
            |machine: &Machine, key| machine.setting(SERVICE, "Service", key).iter().any(|line| line.contains("guard"));
        if guards(self, "ExecStartPre") && !self.guard() {
            self.stop(SOCKET_NAME);
        }
        self.moment += 1;
        let missing =
            self.environment_files().into_iter().find(|(file, optional)| !optional && self.text(file).is_none());
        if let Some((file, _)) = missing {
            self.last_error = Some(format!("failed to load environment file {file}"));
            self.active.insert(SERVICE.to_owned(), "failed");
            return Err("failed".into());
        }
        let started = self.start_dockerd(&self.exec()).and_then(|dockerd| {
            let open = self.state(SOCKET_NAME) == "active";
            let refused = guards(self, "ExecStartPost") && open && !self.guard();
            if refused { Err("the guard refuses it".to_owned()) } else { Ok(dockerd) }
        });
        match started {
            Ok(dockerd) => {
                self.dockerd = Some(dockerd);
                self.active.insert(SERVICE.to_owned(), "active");
                Ok(())
            }
            Err(error) => {
                self.last_error = Some(error);
                self.active.insert(SERVICE.to_owned(), "failed");
                Err("failed".into())
            }
        }
    }

    /// The power was gone: unit files are read, what is enabled starts.
    pub fn boot(&mut self) {
        (self.dockerd, self.loaded, self.active, self.streams) = Default::default();
        self.loaded = UNITS.map(|name| (name.to_owned(), self.unit_files(name))).into();
        let _ = self.open_socket(SOCKET);
        if self.files.contains_key(Path::new(SOCKET_WANT)) {
            let _ = self.open_socket(SOCKET_NAME);
        }
        let _ = self.start(SERVICE);
    }

    /// dockerd's command line as systemd has loaded it, variables replaced; what a script that starts dockerd adds comes
    /// first.
    pub(super) fn exec(&self) -> ExecLine {
        let exec = self.loaded_exec().expanded(&|name| self.variable(name));
        match self.script(exec.program().as_ref()) {
            None => exec,
            Some(added) => {
                let words = added.into_iter().chain(exec.arguments());
                ExecLine::literal(&["/usr/sbin/dockerd".to_owned()].into_iter().chain(words).collect::<Vec<_>>())
            }
        }
    }

    fn loaded_exec(&self) -> ExecLine {
        let line = self.setting(SERVICE, "Service", "ExecStart").pop().unwrap_or_default();
        ExecLine::parse(&line).expect("a command line")
    }

    /// The flags that a program adds, where it is a script: `exec dockerd FLAGS "$@"`.
    pub(super) fn script(&self, program: &Path) -> Option<Vec<String>> {
        let text = self.text(&program.display().to_string()).filter(|text| text.starts_with("#!"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("exec dockerd "))?;
        Some(line.split_whitespace().filter(|word| *word != "\"$@\"").map(str::to_owned).collect())
    }

    /// What systemd says of docker.service.
    pub(super) fn start_settings(&self) -> StartSettings {
        let exec = self.loaded_exec();
        let argv = exec.argv();
        let word = |key| self.setting(SERVICE, "Service", key).pop().unwrap_or_default();
        StartSettings {
            exec: vec![(argv[0].clone(), argv, Vec::new())],
            environment: self.words("Environment"),
            environment_files: self.environment_files(),
            pass_environment: self.words("PassEnvironment"),
            unset_environment: self.words("UnsetEnvironment"),
            manager_environment: vec!["PATH=/usr/sbin:/usr/bin".to_owned()],
            directory: word("WorkingDirectory"),
            root: String::new(),
            user: word("User"),
        }
    }

    /// The words of a setting, without quotes.
    fn words(&self, key: &str) -> Vec<String> {
        let lines = self.setting(SERVICE, "Service", key);
        let split = |line: &String| ExecLine::parse(&format!("x {line}")).expect("words").arguments();
        lines.iter().flat_map(split).collect()
    }

    fn environment_files(&self) -> Vec<(String, bool)> {
        let files = self.setting(SERVICE, "Service", "EnvironmentFile");
        files.iter().map(|file| (file.trim_start_matches('-').to_owned(), file.starts_with('-'))).collect()
    }

    /// dockerd's working directory.
    pub(super) fn directory(&self) -> PathBuf {
        Path::new("/").join(self.setting(SERVICE, "Service", "WorkingDirectory").pop().unwrap_or_default())
    }

    /// dockerd's environment.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let assigned = self.words("Environment").into_iter();
        let mut found: BTreeMap<String, String> =
            assigned.filter_map(|word| word.split_once('=').map(|(name, value)| (name.into(), value.into()))).collect();
        for text in self.environment_files().iter().filter_map(|(file, _)| self.text(file)) {
            let names = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned());
            found.extend(names.filter_map(|name| variable(&text, &name).map(|value| (name, value))));
        }
        found
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.environment().remove(name)
    }
}

/// A unit's own file among those that were read.
fn fragment(loaded: &BTreeMap<PathBuf, PathEntry>) -> Option<PathBuf> {
    loaded.keys().find(|path| ROOTS.iter().any(|root| path.parent() == Some(Path::new(root)))).cloned()
}
