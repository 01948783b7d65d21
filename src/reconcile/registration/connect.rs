//! A PortainerClient and the Secrets that it names in, everything that a connection to its server needs out. It reads the
//! store and calls no server.

use super::client_pair::{ClientPair, client_pair};
use crate::adapters::Store;
use crate::adapters::portainer::{Access, RequestTimeouts, ServerCredential};
use crate::adapters::store::{StoredItem, StoredKind};
use crate::api::condition::Reason;
use crate::api::portainer_client::{PortainerClientSpec, Server, TlsVerification};
use crate::api::{Object, ObjectName, Spec, rules};
use crate::decide::registration::RegistrationProblem;
use crate::pki::material::Data;
use crate::reconcile::Context;
use zeroize::Zeroizing;

/// How a server is reached, and the client certificate that it is given.
#[derive(Clone, Debug)]
pub struct Connection {
    pub access: Access,
    pub credential: ServerCredential,
    /// Its first administrator may be made.
    pub initialize: bool,
    pub client_pair: ClientPair,
}

/// The connection to the server of a PortainerClient.
///
/// # Errors
/// The [`RegistrationProblem`] that says what is missing.
pub async fn connection<S: Store>(ctx: &Context<S>, client: &Object) -> Result<Connection, RegistrationProblem> {
    let Spec::Portainer(spec) = &client.spec else { unreachable!("only a PortainerClient has a server") };
    let missing = || RegistrationProblem::new(Reason::NotRegistered, "spec.server is not set");
    let server = spec.server.as_ref().ok_or_else(missing)?;
    check(spec, server)?;
    let name = &server.credentials_secret_ref.name;
    let credential = credential(name, &secret(ctx, client, name).await?.data)?;
    let roots = roots(ctx, client, server).await?;
    let server_name = server.tls.as_ref().and_then(|tls| tls.server_name.clone());
    let access = Access { url: server.url.clone(), roots, server_name, timeouts: RequestTimeouts::default() };
    let client_pair = stored_client_pair(ctx, client).await?;
    Ok(Connection { access, credential, initialize: server.initialize_admin, client_pair })
}

/// Checks what the CRD's schema checks in a cluster.
fn check(spec: &PortainerClientSpec, server: &Server) -> Result<(), RegistrationProblem> {
    let invalid = |message: String| Err(RegistrationProblem::new(Reason::InvalidSpec, message));
    if !server.url.starts_with("https://") && !server.allow_http {
        return invalid(format!("spec.server.{}", rules::HTTP_ALLOWED.1));
    }
    let unverified = spec.environment.tls_verification == TlsVerification::ClientOnly;
    if unverified && !spec.environment.acknowledge_unverified_server {
        return invalid(rules::UNVERIFIED_ACKNOWLEDGED.1.to_owned());
    }
    Ok(())
}

/// The credential in the Secret of that name.
///
/// # Errors
/// The [`RegistrationProblem`] that says what the Secret should hold.
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
    server: &Server,
) -> Result<Option<Vec<u8>>, RegistrationProblem> {
    let Some(reference) = server.trust() else { return Ok(None) };
    let stored = secret(ctx, client, &reference.name).await?;
    let found = stored.data.get(&reference.key).map(<[u8]>::to_vec);
    let missing = || format!("Secret {} has no key {} with Portainer's CA", reference.name, reference.key);
    found.map(Some).ok_or_else(|| RegistrationProblem::new(Reason::CredentialsNotFound, missing()))
}

async fn secret<S: Store>(
    ctx: &Context<S>,
    client: &Object,
    name: &ObjectName,
) -> Result<StoredItem, RegistrationProblem> {
    let found = ctx.store.read(StoredKind::Secrets, &client.at.beside(name)).await;
    let found = found.map_err(|error| RegistrationProblem::new(Reason::StoreFailed, error.to_string()))?;
    found.ok_or_else(|| {
        let message = format!("Secret {name}, which spec.server names, is missing");
        RegistrationProblem::new(Reason::CredentialsNotFound, message)
    })
}

/// Portainer's client certificate as it is stored now.
async fn stored_client_pair<S: Store>(ctx: &Context<S>, client: &Object) -> Result<ClientPair, RegistrationProblem> {
    let stored = ctx.store.read(StoredKind::Secrets, &client.secret()).await;
    let stored = stored.map_err(|error| RegistrationProblem::new(Reason::StoreFailed, error.to_string()))?;
    let ours = stored.filter(|stored| stored.owner.as_ref() == Some(&client.at));
    client_pair(ours.as_ref().map(|stored| &stored.data))
}
