//! `POST /endpoints`: a form in, an environment out after a real ping; leaves behind what Portainer leaves behind.

use super::account::not_found;
use super::answer::{Answer, Reply};
use super::dial;
use super::request::{ApiRequest, Part, invalid};
use super::snapshot;
use super::state::{Environment, Tls, default_settings};
use super::{Shared, locked};
use serde_json::Value;
use std::collections::BTreeSet;

/// The form, as far as it is used.
struct Form {
    name: String,
    kind: u64,
    url: String,
    public_url: String,
    group: u64,
    tags: Vec<u64>,
    engine: String,
    gpus: Value,
    tls: Option<Files>,
}

/// Which files it has; a missing one is one that its flag skips.
struct Files {
    skip_verify: bool,
    ca: Option<Part>,
    pair: Option<(Part, Part)>,
}

impl Shared {
    /// The name is looked at before the ping, so creates side by side may all find it free.
    pub async fn create(&self, asked: &ApiRequest) -> Reply {
        let mut form = Form::read(asked)?;
        if self.is_before(22) {
            form.engine.clear(); // it does not know the field
        } else if !["", "docker", "podman"].contains(&form.engine.as_str()) {
            return Err(invalid("invalid container engine value. Value must be one of: 'docker' or 'podman'"));
        }
        if !locked(&self.state).is_free(&form.name, None) {
            return Err(Answer::plain_refusal(409, "Name is not unique"));
        }
        let id = {
            let mut state = locked(&self.state);
            state.last.environment += 1;
            state.last.environment
        };
        // Whatever fails from here on leaves the files.
        let tls = self.store(id, form.tls.as_ref())?;
        let mut environment = form.environment(id, tls);
        if environment.kind == 1 {
            let found = self.look(&environment).await;
            let unreachable =
                |why: String| Answer::refusal(500, "Unable to initiate communications with environment", &why);
            environment.snapshot = Some(found.map_err(unreachable)?);
        }
        self.save(environment)
    }

    /// Pings, and looks at the host: a snapshot, or why there is none.
    pub async fn look(&self, environment: &Environment) -> Result<Value, String> {
        let patience = *locked(&self.patience);
        let looking = async {
            let target = dial::ping(&environment.url, &environment.tls).await?;
            Ok(snapshot::of(&target).await)
        };
        let late = |_| {
            let host = environment.url.split_once("://").map_or("", |(_, host)| host);
            Err(format!("Get \"https://{host}/_ping\": context deadline exceeded"))
        };
        tokio::time::timeout(patience, looking).await.unwrap_or_else(late)
    }

    fn store(&self, id: u64, files: Option<&Files>) -> Result<Tls, Answer> {
        let Some(files) = files else { return Ok(Tls::default()) };
        let dir = id.to_string();
        let mut tls = Tls { on: true, skip_verify: files.skip_verify, ..Tls::default() };
        if let Some(ca) = &files.ca {
            tls.ca = self.disk.write(&dir, "ca", &ca.bytes)?;
        }
        if let Some((cert, key)) = &files.pair {
            tls.cert = self.disk.write(&dir, "cert", &cert.bytes)?;
            tls.key = self.disk.write(&dir, "key", &key.bytes)?;
        }
        Ok(tls)
    }

    /// An unknown tag or group is noticed when the environment is already there.
    fn save(&self, environment: Environment) -> Reply {
        let mut state = locked(&self.state);
        let (id, tags, group) = (environment.id, environment.tags.clone(), environment.group);
        let shown = environment.json(false);
        state.environments.insert(id, environment);
        for id_of_tag in tags {
            let tag = state.tags.get_mut(&id_of_tag).ok_or_else(|| {
                let why = not_found("tags", id_of_tag);
                Answer::refusal(500, "An error occurred while trying to create the environment", &why)
            })?;
            tag.environments.insert(id);
        }
        if !state.groups.contains_key(&group) {
            let message = "Unable to find an environment group inside the database";
            return Err(Answer::refusal(500, message, &not_found("endpoint_groups", group)));
        }
        Ok(Answer::json(200, &shown))
    }
}

impl Form {
    fn read(asked: &ApiRequest) -> Result<Form, Answer> {
        let parts = asked.form();
        let text = |name: &str| {
            let part = parts.iter().find(|part| part.name == name && !part.is_file);
            part.map(|part| String::from_utf8_lossy(&part.bytes).into_owned()).or_else(|| asked.parameter(name))
        };
        let value = |name: &str| text(name).unwrap_or_default();
        let name = text("Name").filter(|name| !name.is_empty()).ok_or_else(|| invalid("invalid environment name"))?;
        let kind = value("EndpointCreationType").parse().ok().filter(|kind| (1..=5).contains(kind));
        let kind = kind.ok_or_else(|| invalid(WRONG_KIND))?;
        let engine = value("ContainerEngine");
        let listed = |name: &str| Some(value(name)).filter(|text| !text.is_empty()).unwrap_or_else(|| "[]".to_owned());
        let tags = serde_json::from_str(&listed("TagIds")).map_err(|_| invalid("invalid TagIds parameter"))?;
        let gpus = serde_json::from_str(&listed("Gpus")).map_err(|_| invalid("invalid Gpus parameter"))?;
        let tls = (value("TLS") == "true").then(|| Files::read(&parts, &value)).transpose()?;
        let url = value("URL");
        if kind == 4 && url.trim().is_empty() {
            return Err(invalid("URL cannot be empty"));
        }
        let group = value("GroupID").parse().ok().filter(|group| *group != 0).unwrap_or(1);
        Ok(Form { name, kind, url, public_url: value("PublicURL"), group, tags, engine, gpus, tls })
    }

    fn environment(self, id: u64, tls: Tls) -> Environment {
        Environment {
            id,
            name: self.name,
            kind: self.kind,
            url: self.url,
            public_url: self.public_url,
            group: self.group,
            tags: self.tags,
            tls,
            status: 1,
            engine: self.engine,
            gpus: self.gpus,
            users: BTreeSet::new(),
            settings: default_settings(),
            snapshot: None,
        }
    }
}

impl Files {
    fn read(parts: &[Part], value: &impl Fn(&str) -> String) -> Result<Files, Answer> {
        let file = |name: &str, what: &str| {
            let found = parts.iter().find(|part| part.name == name && part.is_file).cloned();
            found.ok_or_else(|| invalid(&format!("invalid {what} file. Ensure that the file is uploaded correctly")))
        };
        let skip_verify = value("TLSSkipVerify") == "true";
        let ca = (!skip_verify).then(|| file("TLSCACertFile", "CA certificate")).transpose()?;
        let skip_client = value("TLSSkipClientVerify") == "true";
        let pair = || Ok((file("TLSCertFile", "certificate")?, file("TLSKeyFile", "key")?));
        Ok(Files { skip_verify, ca, pair: (!skip_client).then(pair).transpose()? })
    }
}

const WRONG_KIND: &str = "invalid environment type value. Value must be one of: 1 (Docker environment), 2 (Agent environment), 3 (Azure environment), 4 (Edge Agent environment) or 5 (Local Kubernetes environment)";
