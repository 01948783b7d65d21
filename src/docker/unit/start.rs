//! How systemd would start a service: its properties and the files that its environment comes from in, its command line
//! and its variables out, or why they are not known. It reads no file.

use super::environment::variable;
use super::exec_line::ExecLine;
use std::collections::BTreeMap;

/// Properties of a service (org.freedesktop.systemd1(5)), in which systemd has replaced the specifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartSettings {
    /// The commands of ExecStart=: program, argv, and flags such as `no-env-expand`.
    pub exec: Vec<(String, Vec<String>, Vec<String>)>,
    /// Environment=, each `NAME=value`.
    pub environment: Vec<String>,
    /// EnvironmentFile=, and whether a file may be missing.
    pub environment_files: Vec<(String, bool)>,
    /// PassEnvironment=: names of systemd's own variables.
    pub pass_environment: Vec<String>,
    /// UnsetEnvironment=: names, or `NAME=value`.
    pub unset_environment: Vec<String>,
    /// The environment that systemd gives to every service.
    pub manager_environment: Vec<String>,
    /// WorkingDirectory=, empty for the root.
    pub directory: String,
    /// RootDirectory= or RootImage=, empty for none.
    pub root: String,
    /// User=, empty for root.
    pub user: String,
}

/// Variables that systemd itself sets for a service as it starts it: their names, or how these end.
const SET_BY_SYSTEMD: [&str; 10] = [
    "_DIRECTORY",
    "USER",
    "LOGNAME",
    "SHELL",
    "MAINPID",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID",
    "PIDFILE",
];

/// The variables of a service that is to be started.
#[derive(Clone, Debug, Default)]
pub struct StartEnvironment {
    settings: StartSettings,
    /// Text of the environment files in order; none for one that may be missing, and is.
    files: Vec<Option<String>>,
    /// Why a file could not be read: then no variable is known.
    unreadable: Option<String>,
}

impl StartEnvironment {
    /// Reads the files with `read`: their bytes, none where one is missing, or why it cannot be read.
    pub fn of(
        settings: &StartSettings,
        mut read: impl FnMut(&str) -> Result<Option<Vec<u8>>, String>,
    ) -> StartEnvironment {
        let mut environment = StartEnvironment { settings: settings.clone(), ..StartEnvironment::default() };
        for (path, optional) in &settings.environment_files {
            match environment_file(path, *optional, &mut read) {
                Ok(text) => environment.files.push(text),
                Err(why) => environment.unreadable = environment.unreadable.or(Some(why)),
            }
        }
        environment
    }

    /// A variable, none where it is not set: later settings go over earlier ones, those of files over all others.
    ///
    /// # Errors
    /// Why it is not known, as a sentence.
    pub fn variable(&self, name: &str) -> Result<Option<String>, String> {
        if let Some(why) = &self.unreadable {
            return Err(why.clone());
        }
        let settings = &self.settings;
        let in_files = self.files.iter().flatten().rev().find_map(|text| variable(text, name));
        let Some(value) = in_files.or_else(|| assigned(&settings.environment, name)) else {
            return self.inherited(name);
        };
        let unset =
            settings.unset_environment.iter().any(|unset| *unset == name || *unset == format!("{name}={value}"));
        Ok((!unset).then_some(value))
    }

    /// A variable that no setting of the unit gives a value.
    fn inherited(&self, name: &str) -> Result<Option<String>, String> {
        let settings = &self.settings;
        if settings.unset_environment.iter().any(|unset| unset == name) {
            return Ok(None);
        }
        if settings.pass_environment.iter().any(|passed| passed == name) {
            return Err(format!(
                "docker.service takes {name} over from systemd's own environment (PassEnvironment=): write its value into \
                 Environment= instead"
            ));
        }
        if SET_BY_SYSTEMD.into_iter().any(|known| name == known || known.starts_with('_') && name.ends_with(known)) {
            return Err(format!(
                "systemd sets {name} only when it starts docker.service: write its value there instead of the variable"
            ));
        }
        let value = assigned(&settings.manager_environment, name);
        let unset = value.as_ref().map(|value| format!("{name}={value}"));
        Ok(value.filter(|_| !settings.unset_environment.iter().any(|entry| Some(entry) == unset.as_ref())))
    }

    /// The variables of these names that are set and known, and why one of them is not known.
    pub fn all<'a>(&self, names: impl Iterator<Item = &'a str>) -> (BTreeMap<String, String>, Option<String>) {
        let (mut found, mut unknown) = (BTreeMap::new(), None);
        for name in names {
            match self.variable(name) {
                Ok(value) => found.extend(value.map(|value| (name.to_owned(), value))),
                Err(why) => unknown = unknown.or(Some(why)),
            }
        }
        (found, unknown)
    }
}

fn environment_file(
    path: &str,
    optional: bool,
    read: &mut impl FnMut(&str) -> Result<Option<Vec<u8>>, String>,
) -> Result<Option<String>, String> {
    if path.contains(['*', '?', '[']) {
        return Err(format!(
            "EnvironmentFile={path} of docker.service may be any number of files: name each of them by itself"
        ));
    }
    match read(path)? {
        None if optional => Ok(None),
        None => Err(format!(
            "EnvironmentFile={path} of docker.service is missing, so dockerd would not start again: write the file, or \
             remove that line"
        )),
        Some(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| {
            format!(
                "EnvironmentFile={path} of docker.service is not UTF-8, so systemd does not read it: correct the file"
            )
        }),
    }
}

/// The last value among `NAME=value`.
fn assigned(assignments: &[String], name: &str) -> Option<String> {
    let value = |entry: &String| entry.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).map(str::to_owned);
    assignments.iter().rev().find_map(value)
}

impl StartSettings {
    /// The command line, its variables not replaced.
    ///
    /// # Errors
    /// Why it cannot be read, as a sentence.
    pub fn line(&self) -> Result<ExecLine, String> {
        let unreadable = |what: String| format!("{what}: correct docker.service");
        let (path, argv, flags) = match self.exec.as_slice() {
            [one] => one,
            [] => return Err(unreadable("docker.service has no ExecStart".to_owned())),
            _ => return Err(unreadable("docker.service has more than one ExecStart".to_owned())),
        };
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        ExecLine::from_exec(path, argv, &flags).map_err(|error| unreadable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    fn environment(settings: &StartSettings) -> StartEnvironment {
        StartEnvironment::of(settings, |path| match path {
            "/missing" => Ok(None),
            "/latin" => Ok(Some(b"A=\xe9\n".to_vec())),
            "/broken" => Err("it cannot be read".to_owned()),
            path => Ok(Some(format!("A={path}\nB=\"-H x\"\n").into_bytes())),
        })
    }

    #[test]
    fn the_last_setting_counts_and_files_go_over_all_others() {
        let manager = StartSettings { manager_environment: list("A=0 PATH=/bin"), ..StartSettings::default() };
        let own = StartSettings { environment: list("A=1 A=2 AA=3 C="), ..manager.clone() };
        let files = |files: &[(&str, bool)]| StartSettings {
            environment_files: files.iter().map(|(path, optional)| ((*path).to_owned(), *optional)).collect(),
            ..own.clone()
        };
        let unset = |settings: &StartSettings, unset: &str| StartSettings {
            unset_environment: list(unset),
            ..settings.clone()
        };
        let two = files(&[("/one", false), ("/two", true), ("/missing", true)]);
        let rows = [
            (StartSettings::default(), "A", None),
            (manager.clone(), "A", Some("0")),
            (own.clone(), "A", Some("2")),
            (own.clone(), "C", Some("")),
            (two.clone(), "A", Some("/two")),
            (two.clone(), "B", Some("-H x")),
            (two.clone(), "PATH", Some("/bin")),
            (unset(&two, "A"), "A", None),
            (unset(&two, "A=/two"), "A", None),
            (unset(&two, "A=/one"), "A", Some("/two")),
            (unset(&manager, "A=0"), "A", None),
            (unset(&manager, "A=1"), "A", Some("0")),
        ];
        for (settings, name, value) in rows {
            assert_eq!(environment(&settings).variable(name), Ok(value.map(str::to_owned)), "{name} {settings:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_no_variable_that_is_not_set() {
        let file = |path: &str, optional| StartSettings {
            environment_files: vec![(path.to_owned(), optional)],
            environment: list("A=1"),
            ..StartSettings::default()
        };
        let passed = StartSettings { pass_environment: list("A"), ..StartSettings::default() };
        let rows = [
            (file("/missing", false), "A", "would not start again"),
            (file("/broken", true), "A", "cannot be read"),
            (file("/latin", true), "A", "UTF-8"),
            (file("/etc/docker/*.env", true), "A", "any number of files"),
            (passed.clone(), "A", "PassEnvironment"),
            (StartSettings::default(), "CREDENTIALS_DIRECTORY", "when it starts"),
            (StartSettings::default(), "USER", "when it starts"),
        ];
        for (settings, name, words) in rows {
            let why = environment(&settings).variable(name).expect_err(words);
            assert!(why.contains(words), "{why}");
            assert_eq!(environment(&settings).all([name].into_iter()), (BTreeMap::new(), Some(why)));
        }
        let both = StartSettings { environment: list("A=1 STATE_DIRECTORY=/s"), ..passed };
        assert_eq!(environment(&both).variable("A"), Ok(Some("1".into())));
        assert_eq!(environment(&both).variable("STATE_DIRECTORY"), Ok(Some("/s".into())));
    }

    #[test]
    fn the_command_line_is_read_with_its_flags() {
        let exec = |flags: &str| ("/usr/sbin/dockerd".to_owned(), list("/usr/sbin/dockerd -H fd:// $A"), list(flags));
        let of = |exec| StartSettings { exec, ..StartSettings::default() }.line();
        let variables = |name: &str| (name == "A").then(|| "--tls".to_owned());
        let plain = of(vec![exec("")]).expect("a line").expanded(&variables);
        assert_eq!(plain.arguments(), ["-H", "fd://", "--tls"]);
        let kept = of(vec![exec("no-env-expand")]).expect("a line").expanded(&variables);
        assert_eq!(kept.arguments(), ["-H", "fd://", "$A"]);
        assert!(of(Vec::new()).is_err() && of(vec![exec(""), exec("")]).is_err() && of(vec![exec("new")]).is_err());
    }
}
