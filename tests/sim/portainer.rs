//! A Portainer server and the Docker host behind it, in memory: what it keeps, what it answers, and faults on order. It
//! behaves as the stand-in in tests/support/portainer, which the contract tests in tests/portainer hold against a real one.

use dockseal::adapters::docker::ping::{DockerAddress, PingError, Pinged};
use dockseal::adapters::portainer::{
    Access, AccessError, ClientPem, Network, PortainerError, PortainerServer, RequestMetrics, Response,
    ServerCredential,
};
use dockseal::docker::exposure::Stranger;
use dockseal::portainer::environment::UP;
use dockseal::portainer::{
    DOCKER_API, Environment, EnvironmentChange, EnvironmentTls, File, Group, NewEnvironment, SystemStatus, Tag,
    TlsFiles, User,
};
use futures::future::{BoxFuture, pending};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller is killed before the call does anything.
    KilledBefore,
    /// The caller is killed after the call did everything, before it hears of it.
    KilledAfter,
    Unreachable,
    /// An error answer; nothing is done.
    Refused(u16),
    /// No answer; nothing is done.
    TimedOut,
    /// No answer; everything is done.
    TimedOutAfter,
}

/// A call and the environment that it is about, if it is about one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(pub &'static str, pub Option<i64>);

impl Call {
    pub fn writes(self) -> bool {
        ["initialize", "create tag", "create", "change", "upload", "delete"].contains(&self.0)
    }
}

/// PEM files by kind; none of them is ever parsed here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<&'static str, Vec<u8>>);

/// An environment, its files on disk, and those that its proxy has loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimEnvironment {
    pub shown: Environment,
    pub disk: Files,
    pub proxy: Files,
}

/// The dockerd of the one host.
#[derive(Clone, Debug)]
pub struct SimDocker {
    pub url: String,
    /// Fingerprint of the certificate that it serves.
    pub serves: String,
    pub ca: Vec<u8>,
    /// The client certificate that it accepts.
    pub accepts: Vec<u8>,
    pub reachable_by_portainer: bool,
    /// It lets in clients without a certificate.
    pub exposed: bool,
}

pub struct SimState {
    pub instance: String,
    pub administrator: bool,
    pub environments: BTreeMap<i64, SimEnvironment>,
    pub tags: Vec<Tag>,
    pub groups: Vec<Group>,
    pub docker: SimDocker,
    pub calls: Vec<Call>,
    /// Folders with a private key that no environment has.
    pub leaked_keys: usize,
    last_id: i64,
    /// So many calls pass before the fault.
    fault: Option<(usize, Fault)>,
}

#[derive(Clone)]
pub struct SimPortainer(Arc<Mutex<SimState>>);

impl Files {
    fn of(files: &TlsFiles, verify_server: bool) -> Files {
        let mut kept = Files::default();
        kept.put(File::Cert, &files.cert);
        kept.put(File::Key, &files.key);
        if verify_server {
            kept.put(File::Ca, &files.ca);
        }
        kept
    }

    fn put(&mut self, file: File, pem: &[u8]) {
        self.0.insert(name(file), pem.to_vec());
    }

    pub fn get(&self, file: File) -> Option<&[u8]> {
        self.0.get(name(file)).map(Vec::as_slice)
    }
}

fn name(file: File) -> &'static str {
    match file {
        File::Ca => "ca",
        File::Cert => "cert",
        File::Key => "key",
    }
}

impl SimDocker {
    /// Whether Portainer reaches it at that URL with those files.
    fn answers(&self, url: &str, verify_server: bool, files: &Files) -> Result<(), String> {
        if !self.reachable_by_portainer || url != self.url {
            return Err("connect: no route to host".into());
        }
        if verify_server && files.get(File::Ca) != Some(&self.ca) {
            return Err("x509: certificate signed by unknown authority".into());
        }
        let is_client = files.get(File::Cert) == Some(&self.accepts) && files.get(File::Key).is_some();
        if is_client { Ok(()) } else { Err("remote error: tls: bad certificate".into()) }
    }
}

impl SimPortainer {
    pub fn new(docker: SimDocker) -> SimPortainer {
        let group = |id, name: &str| Group { id, name: name.into() };
        SimPortainer(Arc::new(Mutex::new(SimState {
            instance: "11111111-2222-3333-4444-555555555555".into(),
            administrator: true,
            environments: BTreeMap::new(),
            tags: vec![Tag { id: 1, name: "by hand".into() }],
            groups: vec![group(1, "Unassigned"), group(2, "homelab")],
            docker,
            calls: Vec::new(),
            leaked_keys: 0,
            last_id: 40,
            fault: None,
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, SimState> {
        self.0.lock().expect("nothing panics while it is held")
    }

    /// The call after `passing` further ones has that fault.
    pub fn inject(&self, passing: usize, fault: Fault) {
        self.state().fault = Some((passing, fault));
    }

    /// Whether an injected fault still waits for its call.
    pub fn has_fault(&self) -> bool {
        self.state().fault.is_some()
    }

    /// An environment that someone made by hand.
    pub fn add(&self, name: &str, url: &str, tag_ids: Vec<i64>) -> i64 {
        let tls = EnvironmentTls { on: true, has_ca: true, has_cert: true, has_key: true, ..EnvironmentTls::default() };
        let (name, url) = (name.into(), url.into());
        let shown = Environment {
            name,
            url,
            tag_ids,
            tls,
            kind: DOCKER_API,
            group_id: 1,
            status: UP,
            ..Environment::default()
        };
        let files = TlsFiles { ca: b"by hand".into(), cert: b"by hand".into(), key: b"by hand".to_vec().into() };
        let disk = Files::of(&files, true);
        self.state().insert(SimEnvironment { shown, proxy: disk.clone(), disk })
    }

    async fn call<T, E>(
        &self,
        call: Call,
        failed: impl Fn(Fault) -> E,
        effect: impl FnOnce(&mut SimState) -> Result<T, E>,
    ) -> Result<T, E> {
        let fault = {
            let mut state = self.state();
            state.calls.push(call);
            state.take_fault()
        };
        match fault {
            None => effect(&mut self.state()),
            Some(Fault::KilledBefore) => pending().await,
            Some(Fault::KilledAfter) => {
                let _ = effect(&mut self.state());
                pending().await
            }
            Some(fault) => {
                if fault == Fault::TimedOutAfter {
                    let _ = effect(&mut self.state());
                }
                Err(failed(fault))
            }
        }
    }

    fn answer<'a, T: Send + 'a>(
        &'a self,
        call: &'static str,
        id: Option<i64>,
        effect: impl FnOnce(&mut SimState) -> Result<T, PortainerError> + Send + 'a,
    ) -> Response<'a, T> {
        let failed = |fault| match fault {
            Fault::Unreachable => PortainerError::Unreachable("connection refused".into()),
            Fault::Refused(403) => PortainerError::Forbidden("Access denied".into()),
            Fault::Refused(401) => PortainerError::CredentialsRefused,
            Fault::Refused(409) => PortainerError::NameInUse,
            Fault::Refused(status) => refused(status, "Unable to do that"),
            _ => PortainerError::TimedOut,
        };
        Box::pin(self.call(Call(call, id), failed, effect))
    }
}

fn refused(status: u16, message: &str) -> PortainerError {
    PortainerError::Refused { status, message: message.into() }
}

impl SimState {
    fn take_fault(&mut self) -> Option<Fault> {
        match &mut self.fault {
            Some((0, fault)) => {
                let fault = *fault;
                self.fault = None;
                Some(fault)
            }
            Some((passing, _)) => {
                *passing -= 1;
                None
            }
            None => None,
        }
    }

    fn insert(&mut self, environment: SimEnvironment) -> i64 {
        self.last_id += 1;
        let id = self.last_id;
        let shown = Environment { id, ..environment.shown };
        self.environments.insert(id, SimEnvironment { shown, ..environment });
        id
    }

    fn find(&mut self, id: i64) -> Result<&mut SimEnvironment, PortainerError> {
        self.environments.get_mut(&id).ok_or(PortainerError::NotFound)
    }

    fn is_taken(&self, name: &str, but: Option<i64>) -> bool {
        self.environments.values().any(|found| found.shown.name == name && Some(found.shown.id) != but)
    }

    fn has_tags(&self, ids: &[i64]) -> bool {
        ids.iter().all(|id| self.tags.iter().any(|tag| tag.id == *id))
    }

    /// The key is on disk before the host is asked. An unknown tag or group is noticed when the environment exists.
    fn create(&mut self, new: &NewEnvironment, files: &TlsFiles) -> Result<Environment, PortainerError> {
        if self.is_taken(&new.name, None) {
            return Err(PortainerError::NameInUse);
        }
        let disk = Files::of(files, new.verify_server);
        if let Err(why) = self.docker.answers(&new.url, new.verify_server, &disk) {
            self.leaked_keys += 1;
            return Err(refused(500, &format!("Unable to initiate communications with environment: {why}")));
        }
        let group_id = new.group_id.unwrap_or(1);
        let shown = Environment {
            name: new.name.clone(),
            kind: DOCKER_API,
            url: new.url.clone(),
            public_url: new.public_url.clone().unwrap_or_default(),
            group_id,
            tag_ids: new.tag_ids.clone(),
            status: UP,
            tls: EnvironmentTls {
                on: true,
                skip_verify: !new.verify_server,
                has_ca: new.verify_server,
                has_cert: true,
                has_key: true,
            },
            ..Environment::default()
        };
        let id = self.insert(SimEnvironment { shown, proxy: disk.clone(), disk });
        if !self.has_tags(&new.tag_ids) || !self.groups.iter().any(|group| group.id == group_id) {
            return Err(refused(500, "An error occurred while trying to create the environment"));
        }
        Ok(self.environments[&id].shown.clone())
    }

    fn change(&mut self, id: i64, change: &EnvironmentChange) -> Result<Environment, PortainerError> {
        self.find(id)?;
        if change.name.as_ref().is_some_and(|name| self.is_taken(name, Some(id))) {
            return Err(PortainerError::NameInUse);
        }
        if change.tag_ids.as_ref().is_some_and(|ids| !self.has_tags(ids)) {
            return Err(refused(500, "Unable to update environment tags"));
        }
        let environment = self.find(id)?;
        let shown = &mut environment.shown;
        let change = change.clone();
        shown.name = change.name.unwrap_or_else(|| shown.name.clone());
        shown.public_url = change.public_url.unwrap_or_else(|| shown.public_url.clone());
        shown.group_id = change.group_id.unwrap_or(shown.group_id);
        shown.tag_ids = change.tag_ids.unwrap_or_else(|| shown.tag_ids.clone());
        let moved = change.url.as_ref().is_some_and(|url| *url != shown.url);
        shown.url = change.url.unwrap_or_else(|| shown.url.clone());
        if let Some(tls) = change.tls {
            if !tls.verify_server {
                environment.disk.0.remove(name(File::Ca));
            }
            let has_ca = tls.verify_server;
            shown.tls =
                EnvironmentTls { on: true, skip_verify: !tls.verify_server, has_ca, has_cert: true, has_key: true };
        }
        if moved || change.tls.is_some() {
            environment.proxy = environment.disk.clone();
        }
        Ok(environment.shown.clone())
    }

    fn ping(&mut self, id: i64) -> Result<(), PortainerError> {
        let docker = self.docker.clone();
        let found = self.find(id)?;
        let answer = docker.answers(&found.shown.url, !found.shown.tls.skip_verify, &found.proxy);
        answer.map_err(PortainerError::HostUnreachable)
    }

    fn snapshot(&mut self, id: i64) -> Result<(), PortainerError> {
        let docker = self.docker.clone();
        let found = self.find(id)?;
        let answer = docker.answers(&found.shown.url, !found.shown.tls.skip_verify, &found.disk);
        found.shown.status = if answer.is_ok() { UP } else { 2 };
        Ok(())
    }
}

impl PortainerServer for SimPortainer {
    fn status(&self) -> Response<'_, SystemStatus> {
        self.answer("status", None, |state| {
            Ok(SystemStatus { version: "2.33.5".into(), instance_id: state.instance.clone() })
        })
    }

    fn has_administrator(&self) -> Response<'_, bool> {
        self.answer("has administrator", None, |state| Ok(state.administrator))
    }

    fn initialize(&self) -> Response<'_, ()> {
        self.answer("initialize", None, |state| {
            state.administrator = true;
            Ok(())
        })
    }

    fn me(&self) -> Response<'_, User> {
        self.answer("me", None, |_| Ok(User { id: 1, username: "admin".into(), role: 1 }))
    }

    fn groups(&self) -> Response<'_, Vec<Group>> {
        self.answer("groups", None, |state| Ok(state.groups.clone()))
    }

    fn tags(&self) -> Response<'_, Vec<Tag>> {
        self.answer("tags", None, |state| Ok(state.tags.clone()))
    }

    fn create_tag<'a>(&'a self, name: &'a str) -> Response<'a, Tag> {
        self.answer("create tag", None, move |state| {
            if let Some(known) = state.tags.iter().find(|tag| tag.name == name) {
                return Ok(known.clone());
            }
            let id = 1 + state.tags.iter().map(|tag| tag.id).max().unwrap_or_default();
            state.tags.push(Tag { id, name: name.into() });
            Ok(Tag { id, name: name.into() })
        })
    }

    fn environments(&self) -> Response<'_, Vec<Environment>> {
        self.answer("list", None, |state| Ok(state.environments.values().map(|found| found.shown.clone()).collect()))
    }

    fn named<'a>(&'a self, name: &'a str) -> Response<'a, Vec<Environment>> {
        self.answer("list", None, move |state| {
            let all = state.environments.values().map(|found| found.shown.clone());
            Ok(all.filter(|found| found.name == name).collect())
        })
    }

    fn environment(&self, id: i64) -> Response<'_, Option<Environment>> {
        self.answer("inspect", Some(id), move |state| Ok(state.environments.get(&id).map(|found| found.shown.clone())))
    }

    fn create<'a>(&'a self, new: &'a NewEnvironment, files: &'a TlsFiles) -> Response<'a, Environment> {
        self.answer("create", None, move |state| state.create(new, files))
    }

    fn change<'a>(&'a self, id: i64, change: &'a EnvironmentChange) -> Response<'a, Environment> {
        self.answer("change", Some(id), move |state| state.change(id, change))
    }

    fn upload<'a>(&'a self, id: i64, file: File, pem: &'a [u8]) -> Response<'a, ()> {
        self.answer("upload", Some(id), move |state| {
            // Any folder takes a file, also one of no environment.
            if let Ok(found) = state.find(id) {
                found.disk.put(file, pem);
            }
            Ok(())
        })
    }

    fn ping(&self, id: i64) -> Response<'_, ()> {
        self.answer("ping", Some(id), move |state| state.ping(id))
    }

    fn snapshot(&self, id: i64) -> Response<'_, ()> {
        self.answer("snapshot", Some(id), move |state| state.snapshot(id))
    }

    fn delete(&self, id: i64) -> Response<'_, ()> {
        self.answer("delete", Some(id), move |state| {
            state.environments.remove(&id);
            Ok(())
        })
    }
}

impl Network for SimPortainer {
    fn portainer(
        &self,
        _: &Access,
        _: ServerCredential,
        _: Arc<RequestMetrics>,
    ) -> Result<Arc<dyn PortainerServer>, AccessError> {
        Ok(Arc::new(self.clone()))
    }

    fn ping_docker<'a>(
        &'a self,
        address: &'a DockerAddress,
        trust: Option<&'a [u8]>,
        (certificate, _): ClientPem<'a>,
    ) -> BoxFuture<'a, Result<Pinged, PingError>> {
        let failed = |fault| match fault {
            Fault::Refused(_) => PingError::Refused("bad certificate".into()),
            _ => PingError::Closed("no answer within 5 seconds".into()),
        };
        Box::pin(self.call(Call("ping docker", None), failed, move |state| {
            let docker = &state.docker;
            if docker.url != format!("tcp://{}:{}", address.host, address.port) {
                return Err(PingError::Closed("connection refused".into()));
            }
            if docker.exposed {
                return Err(PingError::Exposed(([192, 168, 1, 7], address.port).into(), Stranger::NoCertificate));
            }
            if trust.is_some_and(|trust| trust != docker.ca) {
                return Err(PingError::NotTrusted("unknown issuer".into()));
            }
            match *certificate == *docker.accepts {
                true => Ok(Pinged { leaf_fingerprint: docker.serves.clone(), docker_version: Some("28.0.0".into()) }),
                false => Err(PingError::Refused("bad certificate".into())),
            }
        }))
    }
}
