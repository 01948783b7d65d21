//! One planned step in, calls to Portainer and what is known after them out. It decides no step: the next one is planned
//! from what Portainer shows then.

use super::error::{RegistrationError, call_error, host_unreachable};
use super::probe;
use super::request::RegistrationRequest;
use super::server::RegistrationServer;
use crate::adapters::Clock;
use crate::adapters::portainer::PortainerError;
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::decide::registration::find::is_adopted;
use crate::decide::registration::plan::DOWN;
use crate::decide::registration::{Proof, RegistrationStep};
use crate::pki::lifecycle::whole_seconds;
use crate::portainer::{Environment, EnvironmentChange, File, NewEnvironment};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

type Applied<T = ()> = Result<T, RegistrationError>;

/// What one run has found out so far.
pub(super) struct RegistrationRun {
    report: EnvironmentReport,
    uploaded: bool,
}

impl RegistrationRun {
    pub(super) fn new(report: EnvironmentReport) -> RegistrationRun {
        RegistrationRun { report, uploaded: false }
    }

    pub(super) fn report(&self) -> &EnvironmentReport {
        &self.report
    }

    pub(super) fn into_report(self) -> EnvironmentReport {
        self.report
    }

    /// Portainer has the files that are wanted. That they work is still to be proved.
    fn note_files(&mut self, server: &RegistrationServer, request: &RegistrationRequest, id: i64) {
        let snapshot = server.snapshot();
        let family = request.desired.family(&request.namespace);
        let tagged = snapshot.environments.get(&id).is_some_and(|found| is_adopted(&family, &snapshot, found));
        let previous = &request.previous;
        self.report = EnvironmentReport {
            id: Some(id),
            instance_id: Some(snapshot.instance.clone()),
            client_fingerprint: Some(request.input.client.clone()),
            trust_bundle: request.desired.verify_server.then(|| request.input.bundle.clone()),
            adopted: tagged || (previous.adopted && previous.id == Some(id)),
            proved_fingerprint: previous.proved_fingerprint.clone(),
            proved_at: previous.proved_at.clone(),
            ..request.desired.report(request.registrar)
        };
    }

    /// Portainer reaches the host.
    fn note_proof(&mut self, request: &RegistrationRequest, now: Timestamp) {
        if let Proof::Serves(served) = &request.input.proof {
            self.report.proved_fingerprint = Some(served.clone());
        }
        self.report.proved_at = Some(Time(whole_seconds(now)));
        self.report.reason = Reason::Registered.as_str().to_owned();
    }
}

/// Does one step. True if nothing is left to do.
pub(super) async fn apply(
    server: &RegistrationServer,
    request: &RegistrationRequest,
    step: RegistrationStep,
    run: &mut RegistrationRun,
    clock: &Clock,
) -> Applied<bool> {
    match step {
        RegistrationStep::Done => return Ok(true),
        RegistrationStep::Wait(problem) => return Err(RegistrationError::Host(problem)),
        RegistrationStep::MakeTags(names) => make_tags(server, request, &names).await?,
        RegistrationStep::Create(new) => create(server, request, &new, run).await?,
        RegistrationStep::DeleteDuplicates(ids) => delete_duplicates(server, request, &ids).await?,
        RegistrationStep::Upload(id, change) => upload(server, request, id, &change, run).await?,
        RegistrationStep::Change(id, changes) => {
            change(server, request, id, &changes).await?;
            if changes.url.is_some() || changes.tls.is_some() {
                run.report.reason.clear(); // the last proof was for other settings
            }
        }
        RegistrationStep::Prove(id) => prove(server, request, id, run, clock).await?,
    }
    Ok(false)
}

/// New hosts may need the same tags at the same time: each tag is made once.
async fn make_tags(server: &RegistrationServer, request: &RegistrationRequest, names: &[String]) -> Applied {
    let _lock = server.lock_tags().await;
    for name in names {
        if server.snapshot().tag(name).is_some() {
            continue;
        }
        let tag = server.portainer().create_tag(name).await.map_err(|error| call_error(&error, request))?;
        server.update(|snapshot| {
            snapshot.tags.retain(|known| known.name != tag.name);
            snapshot.tags.push(tag);
        });
    }
    Ok(())
}

async fn create(
    server: &RegistrationServer,
    request: &RegistrationRequest,
    new: &NewEnvironment,
    run: &mut RegistrationRun,
) -> Applied {
    run.report.id = None; // the known one does not exist
    let error = match server.portainer().create(new, &request.files(&server.client_pair())).await {
        Ok(environment) => {
            run.note_files(server, request, environment.id);
            server.put(environment);
            return list_named(server, request).await.map(drop);
        }
        Err(error) => error,
    };
    let may_exist = matches!(
        error,
        PortainerError::TimedOut
            | PortainerError::Refused { .. }
            | PortainerError::Unreadable(_)
            | PortainerError::NameInUse
    );
    if !may_exist {
        return Err(call_error(&error, request));
    }
    // The list says whether it exists; the error does not.
    match (list_named(server, request).await?, &error) {
        (true, _) => Ok(()),
        (false, PortainerError::Refused { status: 500, message }) => {
            Err(RegistrationError::Host(host_unreachable(request, message)))
        }
        (false, PortainerError::TimedOut) => {
            let cause = "Portainer did not answer for over two minutes, as when a host accepts connections and sends \
                         nothing";
            Err(RegistrationError::Host(host_unreachable(request, cause)))
        }
        (false, error) => Err(call_error(error, request)),
    }
}

/// Lists the environments of the desired name; true if there are any.
async fn list_named(server: &RegistrationServer, request: &RegistrationRequest) -> Applied<bool> {
    let name = &request.desired.name;
    let found = server.portainer().named(name).await.map_err(|error| call_error(&error, request))?;
    let any = !found.is_empty();
    server.put_named(name, found);
    Ok(any)
}

async fn delete_duplicates(server: &RegistrationServer, request: &RegistrationRequest, ids: &[i64]) -> Applied {
    for id in ids {
        server.portainer().delete(*id).await.map_err(|error| call_error(&error, request))?;
        server.remove(*id);
    }
    Ok(())
}

async fn upload(
    server: &RegistrationServer,
    request: &RegistrationRequest,
    id: i64,
    changes: &EnvironmentChange,
    run: &mut RegistrationRun,
) -> Applied {
    let files = request.files(&server.client_pair());
    let ca = request.desired.verify_server.then_some((File::Ca, files.ca.as_slice()));
    let pair = [(File::Cert, files.cert.as_slice()), (File::Key, files.key.as_slice())];
    for (file, pem) in ca.into_iter().chain(pair) {
        server.portainer().upload(id, file, pem).await.map_err(|error| call_error(&error, request))?;
    }
    change(server, request, id, changes).await?;
    run.note_files(server, request, id);
    run.uploaded = true;
    Ok(())
}

async fn change(
    server: &RegistrationServer,
    request: &RegistrationRequest,
    id: i64,
    changes: &EnvironmentChange,
) -> Applied {
    match server.portainer().change(id, changes).await {
        Ok(environment) => {
            server.put(environment);
            Ok(())
        }
        Err(PortainerError::NotFound) => {
            server.remove(id);
            Ok(())
        }
        Err(PortainerError::NameInUse) => {
            list_named(server, request).await?;
            Err(call_error(&PortainerError::NameInUse, request))
        }
        Err(error) => {
            server.mark_stale(); // a tag or a group may be gone
            Err(call_error(&error, request))
        }
    }
}

/// Pings through Portainer's own proxy: nothing else is proof.
async fn prove(
    server: &RegistrationServer,
    request: &RegistrationRequest,
    id: i64,
    run: &mut RegistrationRun,
    clock: &Clock,
) -> Applied {
    let unreachable = |cause: &str| Err(RegistrationError::Host(host_unreachable(request, cause)));
    let error = match server.portainer().ping(id).await {
        Ok(()) => {
            run.note_proof(request, clock.now());
            return take_snapshot(server, request, id).await;
        }
        Err(error) => error,
    };
    match error {
        PortainerError::NotFound => {
            server.remove(id);
            Ok(())
        }
        PortainerError::HostUnreachable(cause) | PortainerError::Refused { status: 500, message: cause } => {
            run.report.client_fingerprint = None; // the next step uploads all files again
            if let Proof::Not(problem) = &request.input.proof {
                return Err(RegistrationError::Host(problem.clone()));
            }
            if request.input.proof == Proof::Ask {
                probe::check_reachable(server, request).await.map_err(RegistrationError::Host)?;
            }
            if run.uploaded { unreachable(&cause) } else { Ok(()) }
        }
        PortainerError::TimedOut => {
            run.report.client_fingerprint = None;
            unreachable("the host accepts connections and sends nothing")
        }
        // Docker's answer comes through; the refresh checks the credential itself.
        PortainerError::Forbidden(cause) => unreachable(&format!("the ping is forbidden: {cause}")),
        error => Err(call_error(&error, request)),
    }
}

/// Portainer's page shows its last snapshot, which may be an old one.
async fn take_snapshot(server: &RegistrationServer, request: &RegistrationRequest, id: i64) -> Applied {
    let down = server.snapshot().environments.get(&id).is_some_and(is_down);
    let previous = &request.previous;
    let changed = previous.client_fingerprint.as_ref() != Some(&request.input.client) || previous.id != Some(id);
    if (down || changed)
        && let Err(error) = server.portainer().snapshot(id).await
    {
        let environment = &request.desired.name;
        tracing::debug!(environment, %error, "Portainer took no snapshot now; it takes one regularly by itself");
    }
    if !down {
        return Ok(());
    }
    let shown = server.portainer().environment(id).await.map_err(|error| call_error(&error, request))?;
    let still_down = shown.as_ref().is_some_and(is_down);
    shown.into_iter().for_each(|environment| server.put(environment));
    if !still_down {
        return Ok(());
    }
    let cause = "Portainer's ping reaches the host, but its snapshot of the host fails";
    let problem = probe::version_problem(server, request).await;
    Err(RegistrationError::Host(problem.unwrap_or_else(|| host_unreachable(request, cause))))
}

/// Its last snapshot failed, as the list shows it.
fn is_down(environment: &Environment) -> bool {
    environment.status == DOWN
}
