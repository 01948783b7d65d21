//! What a test stands on: a stand-in of its own or the real server, a Docker host, certificates; it cleans up behind it.

use crate::api::{Api, Form, Said};
use crate::support::docker_like::{DockerLike, Material, many_ip};
use crate::support::portainer::Portainer;
use anyhow::bail;
use dockseal::adapters::random::{quick_key, serial};
use dockseal::pki::name::DistinguishedName;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::{Authority, Dates, LeafProfile, new_authority};
use dockseal::pki::{PrivateKey, lifecycle};
use http::Method;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A Portainer and what one test makes in it.
pub struct Fixture {
    /// The administrator's.
    pub api: Api,
    /// The stand-in; none where the server is real.
    pub stand_in: Option<Portainer>,
    prefix: String,
    made: Mutex<Vec<String>>,
}

impl Fixture {
    /// The server that the environment names, or a stand-in.
    pub fn new() -> anyhow::Result<Fixture> {
        let real = (std::env::var("PORTAINER_URL"), std::env::var("PORTAINER_API_KEY"));
        let (api, stand_in) = match real {
            (Ok(url), Ok(key)) => (Api::anonymous(&url).key(&key), None),
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => bail!("PORTAINER_URL and PORTAINER_API_KEY go together"),
            (Err(_), Err(_)) => {
                let portainer = Portainer::start()?;
                (Api::anonymous(&portainer.url()).key(portainer.admin_key()), Some(portainer))
            }
        };
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let prefix = format!("contract-{}-{number}-{}", std::process::id(), Timestamp::now().as_second());
        Ok(Fixture { api, stand_in, prefix, made: Mutex::default() })
    }

    /// A name that nobody else has.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Goes in the end, unless it has gone before.
    pub fn remember(&self, path: String) {
        self.made.lock().expect("one test, one thread").push(path);
    }

    /// Creates an environment; it goes in the end even if the answer was an error.
    pub async fn create(&self, form: &Form) -> anyhow::Result<Said> {
        let said = self.api.form("/endpoints", form).await?;
        if let Some(id) = said.json()["Id"].as_u64() {
            self.remember(format!("/endpoints/{id}"));
        }
        Ok(said)
    }

    /// Creates an environment that must succeed, and gives its number.
    pub async fn created(&self, form: &Form) -> anyhow::Result<u64> {
        let said = self.create(form).await?.is(200);
        Ok(said.json()["Id"].as_u64().expect("a number"))
    }

    /// The form of an environment of that name.
    pub fn form(&self, name: &str, url: &str, files: &Files) -> Form {
        form(&self.name(name), url, files)
    }

    /// The environments of that name, by the API.
    pub async fn named(&self, name: &str) -> anyhow::Result<Vec<Value>> {
        let said = self.api.get(&format!("/endpoints?name={}", self.name(name))).await?.is(200);
        let found = said.json().as_array().cloned().unwrap_or_default();
        for environment in &found {
            self.remember(format!("/endpoints/{}", environment["Id"]));
        }
        Ok(found)
    }

    /// Makes a tag.
    pub async fn tag(&self, name: &str) -> anyhow::Result<u64> {
        let said = self.api.post("/tags", &json!({ "Name": self.name(name) })).await?.is(200);
        let id = said.json()["ID"].as_u64().expect("a number");
        self.remember(format!("/tags/{id}"));
        Ok(id)
    }

    /// Uploads the three files of an environment.
    pub async fn upload(&self, id: u64, files: &Files) -> anyhow::Result<()> {
        for (kind, text) in [("ca", &files.ca), ("cert", &files.cert), ("key", &files.key)] {
            self.upload_one(id, kind, text).await?;
        }
        Ok(())
    }

    /// Uploads one.
    pub async fn upload_one(&self, id: u64, kind: &str, text: &str) -> anyhow::Result<()> {
        let form = Form::default().field("folder", id).file("file", text);
        self.api.form(&format!("/upload/tls/{kind}"), &form).await?.is(204);
        Ok(())
    }

    /// The PUT that reloads the proxy everywhere.
    pub async fn put_tls(&self, id: u64, url: &str) -> anyhow::Result<Said> {
        let body = json!({ "URL": url, "TLS": true, "TLSSkipVerify": false, "TLSSkipClientVerify": false });
        self.api.put(&format!("/endpoints/{id}"), &body).await
    }

    /// What the proxy says of the host.
    pub async fn ping(&self, id: u64) -> anyhow::Result<u16> {
        Ok(self.api.get(&format!("/endpoints/{id}/docker/_ping")).await?.status)
    }

    /// Takes a snapshot, and gives the status after it.
    pub async fn snapshot(&self, id: u64) -> anyhow::Result<u64> {
        self.api.ask(Method::POST, &format!("/endpoints/{id}/snapshot")).await?.is(204);
        let said = self.api.get(&format!("/endpoints/{id}")).await?.is(200);
        Ok(said.json()["Status"].as_u64().expect("a status"))
    }

    /// Is the server older than 2.`minor`?
    pub async fn is_before(&self, minor: u32) -> anyhow::Result<bool> {
        let status = self.api.get("/system/status").await?.is(200).json();
        let version = status["Version"].as_str().unwrap_or_default().to_owned();
        let mut numbers = version.split('.').map(str::parse);
        Ok((numbers.next().unwrap_or(Ok(0))?, numbers.next().unwrap_or(Ok(0))?) < (2, minor))
    }

    /// Waits for one's turn to ask what a real server allows ten times a second before it bans for an hour.
    pub async fn turn(&self) {
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        if self.stand_in.is_none() {
            let _turn = TURN.lock().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Makes a standard user; their number and password.
    pub async fn user(&self, name: &str) -> anyhow::Result<(u64, String)> {
        let password = format!("{}-password", self.prefix);
        let wanted = json!({ "Username": self.name(name), "Password": password, "Role": 2 });
        let id = self.api.post("/users", &wanted).await?.is(200).json()["Id"].as_u64().expect("a number");
        self.remember(format!("/users/{id}"));
        Ok((id, password))
    }

    /// Logs in.
    pub async fn session(&self, name: &str, password: &str) -> anyhow::Result<Api> {
        self.turn().await;
        let said = self.api.bare().post("/auth", &json!({ "Username": name, "Password": password })).await?.is(200);
        let token = said.json()["jwt"].as_str().expect("a token").to_owned();
        Ok(self.api.bare().with("authorization", format!("Bearer {token}")))
    }

    /// A standard user with a key.
    pub async fn standard(&self) -> anyhow::Result<Api> {
        let (user, password) = self.user("standard").await?;
        let session = self.session(&self.name("standard"), &password).await?;
        let wanted = json!({ "password": password, "description": "contract" });
        self.turn().await;
        let made = session.post(&format!("/users/{user}/tokens"), &wanted).await?.is(201).json();
        Ok(self.api.bare().key(made["rawAPIKey"].as_str().expect("a key")))
    }
}

/// A real server is left as it was, also by a test that failed.
impl Drop for Fixture {
    fn drop(&mut self) {
        if self.stand_in.is_some() {
            return;
        }
        let made = std::mem::take(&mut *self.made.lock().expect("one test, one thread"));
        let (api, prefix) = (self.api.clone(), self.prefix.clone());
        let tidying = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(tidy(&api, &prefix, &made)))
        };
        let _ = std::thread::spawn(tidying).join();
    }
}

/// Removes what was noted, the latest first, and what has the name of the test.
async fn tidy(api: &Api, prefix: &str, made: &[String]) -> anyhow::Result<()> {
    let left = api.get(&format!("/endpoints?search={prefix}")).await?.json();
    for environment in left.as_array().into_iter().flatten() {
        api.delete(&format!("/endpoints/{}", environment["Id"])).await?;
    }
    for path in made.iter().rev() {
        api.delete(path).await?;
    }
    Ok(())
}

/// The three files of a client, in PEM.
#[derive(Clone, Debug)]
pub struct Files {
    pub ca: String,
    pub cert: String,
    pub key: String,
}

/// The form of an environment that verifies both ways.
pub fn form(name: &str, url: &str, files: &Files) -> Form {
    Form::default()
        .field("Name", name)
        .field("EndpointCreationType", 1)
        .field("URL", url)
        .field("TLS", true)
        .field("TLSSkipVerify", false)
        .field("TLSSkipClientVerify", false)
        .file("TLSCACertFile", &files.ca)
        .file("TLSCertFile", &files.cert)
        .file("TLSKeyFile", &files.key)
}

/// An authority with leaves for both sides.
pub struct Ca(Authority);

impl Ca {
    /// A fresh one.
    pub fn new(name: &str) -> anyhow::Result<Ca> {
        Ok(Ca(new_authority(&DistinguishedName::of(name), None, quick_key(), days(30), serial())?))
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.0.certificate.to_pem()
    }

    /// A certificate for that key, and its serial number.
    pub fn leaf(&self, usage: Usage, key: &PrivateKey) -> anyhow::Result<(String, String)> {
        self.leaf_for(usage, key, "127.0.0.1")
    }

    /// The same for another address.
    pub fn leaf_for(&self, usage: Usage, key: &PrivateKey, ip: &str) -> anyhow::Result<(String, String)> {
        let ip_addresses = if usage == Usage::Server { vec![ip.parse()?] } else { vec![] };
        let profile = LeafProfile { common_name: "contract".into(), dns_names: vec![], ip_addresses, usage };
        let certificate = self.0.sign_leaf(&profile, key, days(1), serial())?;
        Ok((certificate.to_pem(), certificate.serial.clone()))
    }

    /// A certificate with those dates.
    pub fn leaf_until(&self, usage: Usage, key: &PrivateKey, dates: Dates) -> anyhow::Result<String> {
        let profile = LeafProfile { common_name: "contract".into(), dns_names: vec![], ip_addresses: vec![], usage };
        Ok(self.0.sign_leaf(&profile, key, dates, serial())?.to_pem())
    }

    /// A client's files, and the serial number of its certificate.
    pub fn client(&self) -> anyhow::Result<(Files, String)> {
        let key = quick_key();
        let (cert, serial) = self.leaf(Usage::Client, &key)?;
        Ok((Files { ca: self.pem(), cert, key: key.to_pem().to_string() }, serial))
    }

    /// What a host serves with, for clients of that bundle.
    pub fn host(&self, clients: &str) -> anyhow::Result<Material> {
        let key = quick_key();
        let (chain, _) = self.leaf(Usage::Server, &key)?;
        Ok(Material { chain, key: key.to_pem().to_string(), clients: clients.to_owned() })
    }

    /// The same for those addresses of `DockerLike::start_as_one`; a certificate has 256 at most.
    pub fn many(&self, numbers: &[u16]) -> anyhow::Result<Material> {
        let key = quick_key();
        let ip_addresses = numbers.iter().copied().map(many_ip).collect();
        let (dns_names, usage) = (vec![], Usage::Server);
        let profile = LeafProfile { common_name: "contract".into(), dns_names, ip_addresses, usage };
        let chain = self.0.sign_leaf(&profile, &key, days(1), serial())?.to_pem();
        Ok(Material { chain, key: key.to_pem().to_string(), clients: self.pem() })
    }

    /// A host of this authority for its clients.
    pub fn docker(&self) -> anyhow::Result<DockerLike> {
        DockerLike::start(&self.host(&self.pem())?)
    }
}

/// Until that moment.
pub fn until(not_after: Timestamp) -> Dates {
    Dates { not_before: not_after - SignedDuration::from_hours(1), not_after }
}

fn days(days: i64) -> Dates {
    lifecycle::dates(Timestamp::now(), SignedDuration::from_hours(24 * days), None)
}
