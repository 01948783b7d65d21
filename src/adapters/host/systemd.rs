//! systemd over its D-Bus API (org.freedesktop.systemd1(5)): what a unit is, and jobs that are waited for.

use super::procfs::MainProcess;
use crate::docker::unit::StartSettings;
use futures::{Stream, StreamExt};
use k8s_openapi::jiff::Timestamp;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use zbus::connection::Builder;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Variant, proxy};

/// The longest that a job of dockerd's may take: it waits ten seconds for each container that does not stop.
const JOB_TIMEOUT: Duration = Duration::from_mins(5);
/// How often a unit's end is looked for.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Why systemd did not do it.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// There is no system bus, or systemd is not on it.
    #[error("failed to reach systemd over the system bus: {0}")]
    Unreachable(zbus::Error),
    /// A call failed.
    #[error("failed to {verb} {unit}: {source}")]
    Call {
        /// What was tried.
        verb: &'static str,
        /// On what.
        unit: String,
        /// Why not.
        source: zbus::Error,
    },
    /// A job ended otherwise than done.
    #[error("failed to {verb} {unit}: systemd says \"{result}\"")]
    Job {
        /// What was tried.
        verb: &'static str,
        /// On what.
        unit: String,
        /// systemd's word: failed, canceled, timeout, dependency, skipped.
        result: String,
    },
}

/// What is done with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it, or start it.
    Restart,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
        }
    }
}

/// What systemd knows of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Its file was found and read.
    pub loaded: bool,
    /// active, reloading, inactive, failed, activating or deactivating.
    pub active: String,
    /// File of the unit, empty for none.
    pub fragment: String,
    /// Its drop-ins, in the order in which they are read.
    pub drop_ins: Vec<String>,
    /// Files were changed since systemd read them.
    pub stale: bool,
}

type ExecCommand = (String, Vec<String>, bool);
type Started = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);
type StartedWithFlags = (String, Vec<String>, Vec<String>, u64, u64, u64, u64, u32, i32, i32);

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn environment(&self) -> zbus::Result<Vec<String>>;
    fn subscribe(&self) -> zbus::Result<()>;
    #[allow(clippy::type_complexity, reason = "it is systemd's signature")]
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        aux: &[(&str, Vec<(&str, Variant<'_>)>)],
    ) -> zbus::Result<OwnedObjectPath>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

#[proxy(interface = "org.freedesktop.DBus.Properties", default_service = "org.freedesktop.systemd1")]
trait Properties {
    fn get(&self, interface: &str, name: &str) -> zbus::Result<OwnedVariant>;
    #[zbus(signal)]
    fn properties_changed(
        &self,
        interface: String,
        changed: std::collections::HashMap<String, OwnedVariant>,
        invalidated: Vec<String>,
    ) -> zbus::Result<()>;
}

/// systemd, reached.
#[derive(Clone)]
pub struct Systemd {
    connection: Connection,
    manager: ManagerProxy<'static>,
}

impl Systemd {
    /// Reaches it over the system bus (`DBUS_SYSTEM_BUS_ADDRESS`, else /run/dbus/system_bus_socket).
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`].
    pub async fn reach() -> Result<Systemd, SystemdError> {
        let reached = async {
            // zbus would look in /var/run, which is no link to /run in an image that has neither.
            let bus = match std::env::var_os("DBUS_SYSTEM_BUS_ADDRESS") {
                Some(_) => Builder::system(),
                None => Builder::address("unix:path=/run/dbus/system_bus_socket"),
            };
            let connection = bus.build().await?;
            let manager = ManagerProxy::new(&connection).await?;
            manager.subscribe().await?;
            Ok(Systemd { connection, manager })
        };
        reached.await.map_err(SystemdError::Unreachable)
    }

    /// What systemd knows of a unit; one that is nowhere is not loaded.
    ///
    /// # Errors
    /// [`SystemdError::Call`].
    pub async fn unit(&self, name: &str) -> Result<Unit, SystemdError> {
        let read = async {
            let properties = self.properties(name).await?;
            let text = async |property: &str| properties.get(UNIT, property).await;
            Ok(Unit {
                loaded: String::try_from(text("LoadState").await?)? == "loaded",
                active: text("ActiveState").await?.try_into()?,
                fragment: text("FragmentPath").await?.try_into()?,
                drop_ins: text("DropInPaths").await?.try_into()?,
                stale: text("NeedDaemonReload").await?.try_into()?,
            })
        };
        read.await.map_err(call("look at", name))
    }

    /// Process of a service; none while it does not run.
    ///
    /// # Errors
    /// [`SystemdError::Call`].
    pub async fn main_process(&self, service: &str) -> Result<Option<MainProcess>, SystemdError> {
        let pid: u32 = self.property(service, SERVICE, "MainPID").await?;
        let started: u64 = self.property(service, SERVICE, "ExecMainStartTimestamp").await?;
        let started = i64::try_from(started).ok().and_then(|started| Timestamp::from_microsecond(started).ok());
        Ok((pid != 0).then(|| MainProcess { pid, started: started.unwrap_or(Timestamp::MIN) }))
    }

    /// The command that a service runs, its words as systemd split them.
    ///
    /// # Errors
    /// [`SystemdError::Call`].
    pub async fn command(&self, service: &str) -> Result<Vec<String>, SystemdError> {
        let commands: Vec<Started> = self.property(service, SERVICE, "ExecStart").await?;
        Ok(commands.into_iter().next().map(|command| command.1).unwrap_or_default())
    }

    /// How a service would be started.
    ///
    /// # Errors
    /// [`SystemdError::Call`].
    pub async fn start_settings(&self, service: &str) -> Result<StartSettings, SystemdError> {
        let read = async {
            let properties = self.properties(service).await?;
            let of = &properties;
            let list = async |name| newer::<Vec<String>>(of.get(SERVICE, name).await);
            let text = async |name| newer::<String>(of.get(SERVICE, name).await);
            let root = text("RootDirectory").await?;
            Ok(StartSettings {
                exec: exec(of).await?,
                environment: list("Environment").await?,
                environment_files: of.get(SERVICE, "EnvironmentFiles").await?.try_into()?,
                pass_environment: list("PassEnvironment").await?,
                unset_environment: list("UnsetEnvironment").await?,
                manager_environment: self.manager.environment().await?,
                directory: text("WorkingDirectory").await?,
                root: if root.is_empty() { text("RootImage").await? } else { root },
                user: text("User").await?,
            })
        };
        read.await.map_err(call("look at", service))
    }

    /// What a socket unit listens on: type (Stream) and address.
    ///
    /// # Errors
    /// [`SystemdError::Call`].
    pub async fn listens(&self, socket: &str) -> Result<Vec<(String, String)>, SystemdError> {
        self.property(socket, "org.freedesktop.systemd1.Socket", "Listen").await
    }

    /// Reads all unit files again.
    ///
    /// # Errors
    /// [`SystemdError::Call`].
    pub async fn reload(&self) -> Result<(), SystemdError> {
        self.manager.reload().await.map_err(call("reload", "systemd"))
    }

    /// Forgets failures and the count of starts, so that a further start is not refused.
    ///
    /// # Errors
    /// [`SystemdError::Call`].
    pub async fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        self.manager.reset_failed_unit(unit).await.map_err(call("reset", unit))
    }

    /// Sends SIGHUP to a service's main process.
    ///
    /// # Errors
    /// [`SystemdError::Call`].
    pub async fn hang_up(&self, service: &str) -> Result<(), SystemdError> {
        const SIGHUP: i32 = 1;
        self.manager.kill_unit(service, "main", SIGHUP).await.map_err(call("signal", service))
    }

    /// Does it and waits for the end of the job.
    ///
    /// # Errors
    /// [`SystemdError`]; [`SystemdError::Job`] where the unit did not come up.
    pub async fn run(&self, verb: Verb, unit: &str) -> Result<(), SystemdError> {
        let word = verb.word();
        let ended = async {
            let mut removed = self.manager.receive_job_removed().await?;
            let job = match verb {
                Verb::Start => self.manager.start_unit(unit, "replace").await?,
                Verb::Stop => self.manager.stop_unit(unit, "replace").await?,
                Verb::Restart => self.manager.restart_unit(unit, "replace").await?,
            };
            Ok(wait(&mut removed, &job).await)
        };
        let result = ended.await.map_err(call(word, unit))?;
        match result.as_str() {
            "done" => Ok(()),
            _ => Err(SystemdError::Job { verb: word, unit: unit.to_owned(), result }),
        }
    }

    /// Runs a program as a unit of its own, outside of the caller's control group, and waits for its end. One of the
    /// same name that still runs is waited for, and nothing else is started then.
    ///
    /// # Errors
    /// [`SystemdError`]; [`SystemdError::Job`] where the program failed.
    pub async fn run_apart(&self, unit: &str, words: &[&str]) -> Result<(), SystemdError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let exec: Vec<ExecCommand> = vec![(words[0].clone(), words, false)];
        let properties = [
            ("Description", Variant::from("Dockseal at work on dockerd")),
            ("Type", Variant::from("oneshot")),
            ("ExecStart", Variant::from(exec)),
            ("CollectMode", Variant::from("inactive-or-failed")),
            // Killed in the middle, it goes on where it was.
            ("Restart", Variant::from("on-abnormal")),
            ("RestartUSec", Variant::from(200_000u64)),
        ];
        let ended = async {
            let mut removed = self.manager.receive_job_removed().await?;
            let job = self.manager.start_transient_unit(unit, "fail", &properties, &[]).await?;
            Ok(wait(&mut removed, &job).await)
        };
        match ended.await {
            Ok(result) if result == "done" => Ok(()),
            Ok(_) if self.unit(unit).await?.active == "activating" => self.until_ended(unit).await,
            Ok(result) => Err(SystemdError::Job { verb: "run", unit: unit.to_owned(), result }),
            Err(error) if exists(&error) => self.until_ended(unit).await,
            Err(error) => Err(call("run", unit)(error)),
        }
    }

    /// Waits until a unit no longer runs.
    async fn until_ended(&self, unit: &str) -> Result<(), SystemdError> {
        let waited = async {
            while !matches!(self.unit(unit).await?.active.as_str(), "inactive" | "failed") {
                sleep(CHECK_INTERVAL).await;
            }
            Ok(())
        };
        let late = || SystemdError::Job { verb: "run", unit: unit.to_owned(), result: "timeout".into() };
        timeout(JOB_TIMEOUT, waited).await.unwrap_or_else(|_| Err(late()))
    }

    /// News of a unit from now on, without saying what: it was started, stopped, or failed. It ends with the bus.
    ///
    /// # Errors
    /// [`SystemdError::Call`].
    pub async fn news(&self, unit: &str) -> Result<impl Stream<Item = ()> + Send + use<>, SystemdError> {
        let told = async { self.properties(unit).await?.receive_properties_changed().await };
        Ok(told.await.map_err(call("watch", unit))?.map(|_| ()))
    }

    async fn property<T>(&self, unit: &str, interface: &str, name: &str) -> Result<T, SystemdError>
    where
        T: TryFrom<OwnedVariant>,
        zbus::Error: From<T::Error>,
    {
        let read = async { Ok(T::try_from(self.properties(unit).await?.get(interface, name).await?)?) };
        read.await.map_err(call("look at", unit))
    }

    async fn properties(&self, unit: &str) -> zbus::Result<PropertiesProxy<'static>> {
        let path = self.manager.load_unit(unit).await?;
        PropertiesProxy::builder(&self.connection).path(path).build().await
    }
}

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// The value of a property, nothing where this systemd is too old to have it.
fn newer<T>(read: zbus::Result<OwnedVariant>) -> zbus::Result<T>
where
    T: TryFrom<OwnedVariant> + Default,
    zbus::Error: From<T::Error>,
{
    match read {
        Ok(value) => Ok(T::try_from(value)?),
        Err(error) if is_unknown(&error) => Ok(T::default()),
        Err(error) => Err(error),
    }
}

/// The commands of ExecStart= with their flags; before systemd 243, of which only `-` is known.
async fn exec(properties: &PropertiesProxy<'_>) -> zbus::Result<Vec<(String, Vec<String>, Vec<String>)>> {
    let commands: Vec<StartedWithFlags> = newer(properties.get(SERVICE, "ExecStartEx").await)?;
    if !commands.is_empty() {
        return Ok(commands.into_iter().map(|command| (command.0, command.1, command.2)).collect());
    }
    let commands: Vec<Started> = properties.get(SERVICE, "ExecStart").await?.try_into()?;
    let flags = |ignored| if ignored { vec!["ignore-failure".to_owned()] } else { Vec::new() };
    Ok(commands.into_iter().map(|command| (command.0, command.1, flags(command.2))).collect())
}

fn is_unknown(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, _, _) if name.as_str() == "org.freedesktop.DBus.Error.UnknownProperty")
}

/// systemd's word for how the job ended.
async fn wait(removed: &mut JobRemovedStream, job: &OwnedObjectPath) -> String {
    let ended = async {
        while let Some(signal) = removed.next().await {
            if let Ok(about) = signal.args()
                && about.job == *job
            {
                return about.result.clone();
            }
        }
        "unknown".to_owned()
    };
    timeout(JOB_TIMEOUT, ended).await.unwrap_or_else(|_| "timeout".into())
}

fn exists(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, _, _) if name.as_str() == "org.freedesktop.systemd1.UnitExists")
}

fn call(verb: &'static str, unit: &str) -> impl FnOnce(zbus::Error) -> SystemdError {
    let unit = unit.to_owned();
    move |source| SystemdError::Call { verb, unit, source }
}
