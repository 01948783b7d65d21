//! From a PortainerClient and the Secrets that it names to a server that can be spoken to.

use super::RegistrationServer;
use super::server::{ClientPair, NameLocks};
use crate::adapters::Store;
use crate::adapters::portainer::{Access, Patience, RequestMetrics, ServerCredential};
use crate::adapters::store::{StoredItem, StoredKind};
use crate::api::condition::Reason;
use crate::api::portainer_client::{PortainerClientSpec, Server as Wishes, TlsVerification};
use crate::api::{Object, Spec, rules};
use crate::decide::registration::RegistrationProblem;
use crate::pki::Certificate;
use crate::pki::material::Data;
use crate::reconcile::Context;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How a server is spoken to, and which client certificate it is given.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it is.
    pub access: Access,
    /// What it knows us by.
    pub credential: ServerCredential,
    /// Its first administrator may be made.
    pub initialize: bool,
    /// Portainer's client certificate.
    pub pair: ClientPair,
}

/// The way to the server of a PortainerClient.
///
/// # Errors
/// The [`Fault`] of what is missing.
pub async fn way<S: Store>(ctx: &Context<S>, client: &Object) -> Result<Connection, RegistrationProblem> {
    let Spec::Portainer(spec) = &client.spec else { unreachable!("only a PortainerClient has a server") };
    let gone = || RegistrationProblem::new(Reason::NotRegistered, "spec.server is left out");
    let wishes = spec.server.as_ref().ok_or_else(gone)?;
    check(spec, wishes)?;
    let name = &wishes.credentials_secret_ref.name;
    let credential = credential(name, &secret(ctx, client, name).await?.data)?;
    let roots = roots(ctx, client, wishes).await?;
    let server_name = wishes.tls.as_ref().and_then(|tls| tls.server_name.clone());
    let access = Access { url: wishes.url.clone(), roots, server_name, patience: Patience::default() };
    Ok(Connection { access, credential, initialize: wishes.initialize_admin, pair: own_pair(ctx, client).await? })
}

impl Connection {
    /// The server at its end: the one that is known, where nothing changed about how it is spoken to.
    ///
    /// # Errors
    /// The [`Fault`] of an address or authorities that are none.
    pub fn server(
        self,
        kept: Option<Arc<RegistrationServer>>,
        names: &Arc<NameLocks>,
        tally: Arc<RequestMetrics>,
    ) -> Result<Arc<RegistrationServer>, RegistrationProblem> {
        if let Some(kept) = kept.filter(|kept| kept.is(&self.access, &self.credential, self.initialize)) {
            kept.take(self.pair);
            return Ok(kept);
        }
        let server = RegistrationServer::new(self, Arc::clone(names), tally);
        server.map(Arc::new).map_err(|error| RegistrationProblem::new(Reason::InvalidSpec, error.to_string()))
    }
}

/// What the schema checks in a cluster.
fn check(spec: &PortainerClientSpec, wishes: &Wishes) -> Result<(), RegistrationProblem> {
    let invalid = |message: String| Err(RegistrationProblem::new(Reason::InvalidSpec, message));
    if !wishes.url.starts_with("https://") && !wishes.allow_http {
        return invalid(format!("spec.server.{}", rules::HTTP_ALLOWED.1));
    }
    let unverified = spec.environment.tls_verification == TlsVerification::ClientOnly;
    if unverified && !spec.environment.acknowledge_unverified_server {
        return invalid(rules::UNVERIFIED_ACKNOWLEDGED.1.to_owned());
    }
    Ok(())
}

/// The credential in a Secret of that name.
///
/// # Errors
/// The [`Fault`] that says what the Secret should hold.
pub fn credential(name: &str, data: &Data) -> Result<ServerCredential, RegistrationProblem> {
    let text = |key: &str| -> Option<Zeroizing<String>> {
        let text = std::str::from_utf8(data.get(key)?).ok()?.trim();
        (!text.is_empty()).then(|| Zeroizing::new(text.to_owned()))
    };
    match (text("apiKey"), text("username"), text("password")) {
        (Some(key), ..) => Ok(ServerCredential::ApiKey(key)),
        (None, Some(username), Some(password)) => {
            Ok(ServerCredential::Password { username: username.to_string(), password })
        }
        _ => {
            let message =
                format!("Secret {name} holds neither apiKey nor username and password of a Portainer administrator");
            Err(RegistrationProblem::new(Reason::CredentialsNotFound, message))
        }
    }
}

async fn roots<S: Store>(
    ctx: &Context<S>,
    client: &Object,
    wishes: &Wishes,
) -> Result<Option<Vec<u8>>, RegistrationProblem> {
    let Some(reference) = wishes.trust() else { return Ok(None) };
    let stored = secret(ctx, client, &reference.name).await?;
    let found = stored.data.get(&reference.key).map(<[u8]>::to_vec);
    let missing = || format!("Secret {} has no key {} with Portainer's CA", reference.name, reference.key);
    found.map(Some).ok_or_else(|| RegistrationProblem::new(Reason::CredentialsNotFound, missing()))
}

async fn secret<S: Store>(ctx: &Context<S>, client: &Object, name: &str) -> Result<StoredItem, RegistrationProblem> {
    let found = ctx.store.read(StoredKind::Secrets, &client.at.beside(name)).await;
    let found = found.map_err(|error| RegistrationProblem::new(Reason::StoreFailed, error.to_string()))?;
    found.ok_or_else(|| {
        RegistrationProblem::new(
            Reason::CredentialsNotFound,
            format!("Secret {name}, which spec.server names, is missing"),
        )
    })
}

/// Portainer's client certificate as it is stored now.
async fn own_pair<S: Store>(ctx: &Context<S>, client: &Object) -> Result<ClientPair, RegistrationProblem> {
    let stored = ctx.store.read(StoredKind::Secrets, &client.secret()).await;
    let stored = stored.map_err(|error| RegistrationProblem::new(Reason::StoreFailed, error.to_string()))?;
    let ours = stored.filter(|stored| stored.owner.as_ref() == Some(&client.at));
    pair(ours.as_ref().map(|stored| &stored.data))
}

/// The client certificate in a Secret.
///
/// # Errors
/// The [`Fault`] where there is none.
pub fn pair(data: Option<&Data>) -> Result<ClientPair, RegistrationProblem> {
    let found = data.and_then(|data| data.get("tls.crt").zip(data.get("tls.key")));
    let leaf = found.and_then(|(certificate, _)| Certificate::from_pem(certificate).ok());
    let missing =
        || RegistrationProblem::new(Reason::NotRegistered, "Portainer's client certificate is not issued yet");
    let ((certificate, key), leaf) = found.zip(leaf).ok_or_else(missing)?;
    Ok(ClientPair {
        certificate: certificate.to_vec(),
        key: Zeroizing::new(key.to_vec()),
        fingerprint: leaf.fingerprint(),
    })
}
