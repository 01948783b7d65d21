//! Where user commands read from: a cluster, or a state directory of `up`. It returns objects and Secrets, sets
//! annotations, and says what is missing where it cannot.

use super::args::SourceArgs;
use super::exit::CliError;
use super::kubeconfig::kubeconfig;
use super::object_arg::Reference;
use crate::adapters::disk::atomic_files::is_directory;
use crate::adapters::disk::store::{read_objects, read_secret};
use crate::adapters::kube::reader::KubeReader;
use crate::adapters::store::StoredItem;
use crate::api::{Kind, Object};
use crate::pki::material::Data;
use anyhow::Context;
use kube::core::{Selector, SelectorExt};
use std::path::PathBuf;

/// Where `up` keeps its state unless it is told otherwise.
const STATE: &str = "dockseal-state";

/// Where to read from, and in which namespace.
pub struct Source {
    pub place: SourceKind,
    /// The one namespace; none: all.
    pub namespace: Option<String>,
}

pub enum SourceKind {
    Cluster(KubeReader),
    /// A state directory, which another process may write meanwhile.
    State(PathBuf),
}

impl Source {
    /// Opens what the arguments name. A cluster is asked for its version, so that a wrong one is reported at once.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub async fn open(args: &SourceArgs) -> anyhow::Result<Source> {
        if let Some(path) = state(args) {
            let (place, namespace) = (SourceKind::State(path), args.namespace.clone());
            return Ok(Source { place, namespace });
        }
        let config = kubeconfig(args.kubeconfig.as_deref(), args.context.as_deref()).await;
        let config = match config {
            Err(error) if args.kubeconfig.is_none() && args.context.is_none() && is_directory(STATE.as_ref()) => {
                return Err(error.context(format!("what `up` keeps here is read with --state {STATE}")));
            }
            config => config?,
        };
        let own = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let namespace = (!args.all_namespaces).then_some(own);
        let reader = KubeReader::connect(config).await?;
        Ok(Source { place: SourceKind::Cluster(reader), namespace })
    }

    /// Objects of those kinds, authorities first, each kind by namespace and name.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub async fn objects(&self, kinds: &[Kind], selector: Option<&Selector>) -> anyhow::Result<Vec<Object>> {
        let mut objects = match &self.place {
            SourceKind::Cluster(reader) => reader.objects(kinds, self.namespace.as_deref(), selector).await?,
            SourceKind::State(path) => {
                let mut objects = read_objects(path)?;
                let here = |object: &Object| self.namespace.as_deref().is_none_or(|name| name == &*object.at.namespace);
                objects.retain(|object| kinds.contains(&object.at.kind) && here(object));
                objects.retain(|object| selector.is_none_or(|selector| selector.matches(&object.labels)));
                objects
            }
        };
        objects.sort_by(|left, right| left.at.cmp(&right.at));
        Ok(objects)
    }

    /// The one object that the reference names; its kind is one of those.
    ///
    /// # Errors
    /// A sentence where there is none, or where several are meant.
    pub async fn object(&self, reference: &Reference, kinds: &[Kind]) -> anyhow::Result<Object> {
        let kinds = reference.kinds(kinds)?;
        let found = match &self.place {
            SourceKind::Cluster(reader) if self.namespace.is_some() && kinds.len() == 1 => {
                let namespace = self.namespace.as_deref().unwrap_or_default();
                reader.object(kinds[0], namespace, &reference.name).await?.into_iter().collect()
            }
            _ => self.objects(&kinds, None).await?,
        };
        reference.the_one(found, &kinds, &self.words())
    }

    /// An object as it is now.
    ///
    /// # Errors
    /// A sentence where it is gone.
    pub async fn again(&self, object: &Object) -> anyhow::Result<Object> {
        let at = &object.at;
        let found = match &self.place {
            SourceKind::Cluster(reader) => reader.object(at.kind, &at.namespace, &at.name).await?,
            SourceKind::State(path) => read_objects(path)?.into_iter().find(|found| found.at == *at),
        };
        found.ok_or_else(|| CliError::not_found(format!("{at} is gone")))
    }

    /// What the object's Secret holds. It must be the object's own: another's is no certificate of it.
    ///
    /// # Errors
    /// A sentence where it is not there yet, or belongs to another object.
    pub async fn secret(&self, object: &Object) -> anyhow::Result<Data> {
        let at = object.secret();
        let found: Option<StoredItem> = match &self.place {
            SourceKind::Cluster(reader) => reader.secret(&at).await?,
            SourceKind::State(path) => read_secret(path, &at)?,
        };
        match found {
            None => Err(CliError::not_ready(format!(
                "{} has no certificate yet: there is no Secret {at}; `dockseal status` says why",
                object.at
            ))),
            Some(stored) if stored.owner.as_ref() != Some(&object.at) => Err(CliError::not_ready(format!(
                "Secret {at} is not that of {}; `dockseal status` says why",
                object.at
            ))),
            Some(stored) => Ok(stored.data),
        }
    }

    /// Sets an annotation on an object.
    ///
    /// # Errors
    /// A sentence; without a cluster always: there annotations are in the user's own YAML.
    pub async fn annotate(&self, object: &Object, name: &str, value: &str) -> anyhow::Result<()> {
        match &self.place {
            SourceKind::Cluster(reader) => Ok(reader.annotate(&object.at, name, Some(value)).await?),
            SourceKind::State(_) => Err(CliError::usage(format!(
                "without a cluster annotations are in the YAML that `up` reads: give {} under metadata: \
                 annotations: {{{name}: \"{value}\"}}; a running `up` sees it at once",
                object.at
            ))),
        }
    }

    /// Where it reads from, for sentences: `namespace home`, `any namespace`, `dockseal-state`.
    pub fn words(&self) -> String {
        match (&self.place, &self.namespace) {
            (SourceKind::Cluster(_), Some(namespace)) => format!("namespace {namespace}"),
            (SourceKind::Cluster(_), None) => "any namespace".to_owned(),
            (SourceKind::State(path), None) => path.display().to_string(),
            (SourceKind::State(path), Some(namespace)) => format!("namespace {namespace} of {}", path.display()),
        }
    }
}

/// The state directory that is asked for. `DOCKSEAL_STATE` counts where it is a directory and no cluster is named.
fn state(args: &SourceArgs) -> Option<PathBuf> {
    if args.state.is_some() {
        return args.state.clone();
    }
    let cluster = args.kubeconfig.is_some() || args.context.is_some();
    let named = std::env::var_os("DOCKSEAL_STATE").map(PathBuf::from);
    named.filter(|path| !cluster && is_directory(path))
}

/// Runs a command on a runtime of one thread.
///
/// # Errors
/// The command's own.
pub fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("failed to start")?.block_on(command)
}
