//! One step, done: calls to Portainer, and what is known after them. Whatever happened in between, the next step is
//! decided by what Portainer shows.

use super::error::{RegistrationError, of, unreachable};
use super::{RegistrationRequest, RegistrationServer, Run, is_down, probe, proved};
use crate::adapters::Clock;
use crate::adapters::portainer::PortainerError;
use crate::decide::registration::find::is_adopted;
use crate::decide::registration::{Proof, RegistrationStep};
use crate::portainer::{EnvironmentChange, File, NewEnvironment};

/// Does one step. True where nothing is left to do.
pub async fn apply(
    server: &RegistrationServer,
    errand: &RegistrationRequest,
    step: RegistrationStep,
    run: &mut Run,
    clock: &Clock,
) -> Result<bool, RegistrationError> {
    match step {
        RegistrationStep::Done => return Ok(true),
        RegistrationStep::Wait(fault) => return Err(RegistrationError::Host(fault)),
        RegistrationStep::MakeTags(names) => make_tags(server, errand, &names).await?,
        RegistrationStep::Create(new) => create(server, errand, &new, run).await?,
        RegistrationStep::Drop(twins) => drop_twins(server, errand, &twins).await?,
        RegistrationStep::Upload(id, change) => upload(server, errand, id, &change, run).await?,
        RegistrationStep::Change(id, changes) => {
            change(server, errand, id, &changes).await?;
            if changes.url.is_some() || changes.tls.is_some() {
                run.report.reason.clear(); // what was proved was something else
            }
        }
        RegistrationStep::Prove(id) => prove(server, errand, id, run, clock).await?,
    }
    Ok(false)
}

/// Hosts that are registered for the first time want the same tags at the same time: each is made once.
async fn make_tags(
    server: &RegistrationServer,
    errand: &RegistrationRequest,
    names: &[String],
) -> Result<(), RegistrationError> {
    let _alone = server.tagging.lock().await;
    for name in names {
        if server.snapshot().tag(name).is_some() {
            continue;
        }
        let tag = server.portainer.create_tag(name).await.map_err(|error| of(&error, errand))?;
        server.learn(|snapshot| {
            snapshot.tags.retain(|known| known.name != tag.name);
            snapshot.tags.push(tag);
        });
    }
    Ok(())
}

async fn create(
    server: &RegistrationServer,
    errand: &RegistrationRequest,
    new: &NewEnvironment,
    run: &mut Run,
) -> Result<(), RegistrationError> {
    run.report.id = None; // the one that it had is not there
    let created = server.portainer.create(new, &errand.files(&server.pair())).await;
    let error = match created {
        Ok(environment) => {
            given(server, errand, environment.id, run);
            server.put(environment);
            return again(server, errand).await.map(|_| ());
        }
        Err(error) => error,
    };
    let unknown =
        matches!(error, PortainerError::TimedOut | PortainerError::Refused { .. } | PortainerError::Unreadable(_));
    if !unknown && error != PortainerError::NameInUse {
        return Err(of(&error, errand));
    }
    // It may be there all the same: the answer says less than the list.
    match (again(server, errand).await?, &error) {
        (true, _) => Ok(()),
        (false, PortainerError::Refused { status: 500, words }) => {
            Err(RegistrationError::Host(unreachable(errand, words)))
        }
        (false, PortainerError::TimedOut) => {
            let words =
                "it did not answer for over two minutes, as it does where a host takes connections and says nothing";
            Err(RegistrationError::Host(unreachable(errand, words)))
        }
        (false, error) => Err(of(error, errand)),
    }
}

/// Looks at the environments of the order's name; true where there are any.
async fn again(server: &RegistrationServer, errand: &RegistrationRequest) -> Result<bool, RegistrationError> {
    let name = &errand.order.name;
    let found = server.portainer.named(name).await.map_err(|error| of(&error, errand))?;
    let any = !found.is_empty();
    server.put_named(name, found);
    Ok(any)
}

async fn drop_twins(
    server: &RegistrationServer,
    errand: &RegistrationRequest,
    twins: &[i64],
) -> Result<(), RegistrationError> {
    for id in twins {
        server.portainer.delete(*id).await.map_err(|error| of(&error, errand))?;
        server.gone(*id);
    }
    Ok(())
}

async fn upload(
    server: &RegistrationServer,
    errand: &RegistrationRequest,
    id: i64,
    changes: &EnvironmentChange,
    run: &mut Run,
) -> Result<(), RegistrationError> {
    let files = errand.files(&server.pair());
    let trust = errand.order.verify_server.then_some((File::Ca, files.ca.as_slice()));
    for (file, pem) in trust.into_iter().chain([(File::Cert, files.cert.as_slice()), (File::Key, files.key.as_slice())])
    {
        server.portainer.upload(id, file, pem).await.map_err(|error| of(&error, errand))?;
    }
    change(server, errand, id, changes).await?;
    given(server, errand, id, run);
    run.uploaded = true;
    Ok(())
}

/// Portainer has what is wanted now. That it works is still to be proved.
fn given(server: &RegistrationServer, errand: &RegistrationRequest, id: i64, run: &mut Run) {
    let report = &mut run.report;
    *report = crate::api::status::EnvironmentReport {
        id: Some(id),
        instance_id: Some(server.snapshot().instance.clone()),
        client_fingerprint: Some(errand.material.client.clone()),
        trust_bundle: errand.order.verify_server.then(|| errand.material.bundle.clone()),
        reason: String::new(),
        message: String::new(),
        ..errand.order.report(errand.registrar)
    };
    let family = errand.order.family(&errand.namespace);
    let snapshot = server.snapshot();
    let tagged = snapshot.environments.get(&id).is_some_and(|found| is_adopted(&family, &snapshot, found));
    report.adopted = tagged || (errand.previous.adopted && errand.previous.id == Some(id));
    report.proved_fingerprint = errand.previous.proved_fingerprint.clone();
    report.proved_at = errand.previous.proved_at.clone();
}

async fn change(
    server: &RegistrationServer,
    errand: &RegistrationRequest,
    id: i64,
    changes: &EnvironmentChange,
) -> Result<(), RegistrationError> {
    match server.portainer.change(id, changes).await {
        Ok(environment) => {
            server.put(environment);
            Ok(())
        }
        Err(PortainerError::NotFound) => {
            server.gone(id);
            Ok(())
        }
        Err(PortainerError::NameInUse) => {
            again(server, errand).await?;
            Err(of(&PortainerError::NameInUse, errand))
        }
        Err(error) => {
            server.doubt(); // a tag or a group may have gone
            Err(of(&error, errand))
        }
    }
}

/// Through Portainer's own proxy: nothing else is proof.
async fn prove(
    server: &RegistrationServer,
    errand: &RegistrationRequest,
    id: i64,
    run: &mut Run,
    clock: &Clock,
) -> Result<(), RegistrationError> {
    let error = match server.portainer.ping(id).await {
        Ok(()) => {
            proved(errand, &mut run.report, clock.now());
            return refresh(server, errand, id).await;
        }
        Err(error) => error,
    };
    match error {
        PortainerError::NotFound => {
            server.gone(id);
            Ok(())
        }
        PortainerError::HostUnreachable(words) | PortainerError::Refused { status: 500, words } => {
            run.report.client_fingerprint = None; // the next try gives it everything anew
            match (&errand.material.proof, &run.uploaded) {
                (Proof::Not(fault), _) => Err(RegistrationError::Host(fault.clone())),
                (Proof::Serves(_), true) => Err(RegistrationError::Host(unreachable(errand, &words))),
                (Proof::Serves(_), false) => Ok(()),
                (Proof::Ask, uploaded) => {
                    probe::reaches(server, errand).await.map_err(RegistrationError::Host)?;
                    if *uploaded { Err(RegistrationError::Host(unreachable(errand, &words))) } else { Ok(()) }
                }
            }
        }
        PortainerError::TimedOut => {
            run.report.client_fingerprint = None;
            Err(RegistrationError::Host(unreachable(errand, "it takes connections and says nothing")))
        }
        // What Docker answers comes through: the credential itself is proved by looks.
        PortainerError::Forbidden(words) => {
            Err(RegistrationError::Host(unreachable(errand, &format!("it refuses it: {words}"))))
        }
        error => Err(of(&error, errand)),
    }
}

/// What Portainer's page shows is a snapshot, which may be an old one.
async fn refresh(server: &RegistrationServer, errand: &RegistrationRequest, id: i64) -> Result<(), RegistrationError> {
    let down = server.snapshot().environments.get(&id).is_some_and(is_down);
    let changed =
        errand.previous.client_fingerprint.as_ref() != Some(&errand.material.client) || errand.previous.id != Some(id);
    if (down || changed)
        && let Err(error) = server.portainer.snapshot(id).await
    {
        tracing::debug!(environment = errand.order.name, %error, "Portainer took no snapshot, and takes one by itself");
    }
    if !down {
        return Ok(());
    }
    let shown = server.portainer.environment(id).await.map_err(|error| of(&error, errand))?;
    let still_down = shown.as_ref().is_some_and(is_down);
    shown.into_iter().for_each(|environment| server.put(environment));
    match still_down {
        true => Err(RegistrationError::Host(
            probe::too_new_for(server, errand)
                .await
                .unwrap_or_else(|| unreachable(errand, "its ping gets through, and its snapshot of the host fails")),
        )),
        false => Ok(()),
    }
}
