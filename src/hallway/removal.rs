//! Objects that go: what was delivered and their Secret go with them where the policies say so, else everything stays.

use super::{House, Surroundings, Walk};
use crate::api::condition::Reason;
use crate::api::status::ControllerStatus;
use crate::api::{Kind, Object};
use crate::decide::Refusal;
use crate::decide::deletion::{self, Step, Ties};
use crate::decide::delivery::Courier;
use crate::decide::leaf;
use crate::decide::status::Event;
use crate::world::store::Shelf;
use crate::world::{Store, StoreError};
use k8s_openapi::jiff::Timestamp;

/// Where an object's walk leads.
#[derive(Clone, Debug)]
pub enum Way {
    /// On: the object lives.
    On,
    /// On until then: it is to be deleted, and others still need it.
    OnUntil(Timestamp),
    /// Out: nothing else is to be done.
    Out(Box<Walk>),
}

/// Does what goes with an object's end, or with its finalizer.
pub async fn walk<S: Store>(house: &House<S>, object: &Object, around: &Surroundings) -> Result<Way, StoreError> {
    let ties = Ties {
        in_use: around.in_use,
        courier: &around.courier,
        deregisters: around.standing.deletes,
        registered: around.standing.left,
    };
    let plan = deletion::plan(object, &ties, house.clock.now());
    if plan.orphans {
        let message = "removed although its environments could not be removed from Portainer: remove them there";
        let event = Event { warning: true, reason: Reason::FinalizerForced, message: message.to_owned() };
        super::report(house, object, &object.previous, &[event]).await?;
    }
    if plan.abandons {
        let who = Courier::asked(object).words();
        let message = format!("removed although {who} has not removed what it delivered, which stays");
        let event = Event { warning: true, reason: Reason::FinalizerForced, message };
        super::report(house, object, &object.previous, &[event]).await?;
    }
    match plan.step {
        Step::Live => Ok(Way::On),
        Step::SetFinalizer(held) => {
            house.store.set_finalizer(object, held).await?;
            Ok(Way::On)
        }
        Step::Gone => Ok(Way::Out(Box::new(Walk::over()))),
        Step::DeleteSecret(last) => match delete_secret(house, object).await {
            Err(error) if last => {
                tracing::warn!(object = %object.at, %error, "its Secret stays");
                give_up(house, object).await
            }
            done => {
                done?;
                let_go(house, object).await
            }
        },
        Step::Wait(until) => Ok(Way::OnUntil(until)),
        Step::WaitForHost(until) => wait(house, object, leaf::status::removing(object, house.clock.now()), until).await,
        Step::WaitForPortainer(until) => {
            let status = leaf::status::deregistering(object, &around.standing, house.clock.now());
            wait(house, object, status, until).await
        }
        Step::LetGo => let_go(house, object).await,
        Step::GiveUp => give_up(house, object).await,
    }
}

/// What the user reads while it waits.
pub fn in_use() -> Refusal {
    let message = "it is to be deleted with its Secret, and waits for the hosts and clients that it signs for: \
                   delete them first";
    Refusal::spec(Reason::InUse, message)
}

async fn wait<S: Store>(
    house: &House<S>,
    object: &Object,
    status: ControllerStatus,
    until: Timestamp,
) -> Result<Way, StoreError> {
    super::report(house, object, &status, &[]).await?;
    Ok(Way::Out(Box::new(Walk { wake: Some(until), status: Some(status), ..Walk::over() })))
}

async fn delete_secret<S: Store>(house: &House<S>, object: &Object) -> Result<(), StoreError> {
    delete(house, object, Shelf::Secrets, &object.secret_name()).await?;
    if object.at.kind == Kind::DockerCA {
        delete(house, object, Shelf::ConfigMaps, &format!("{}-ca-bundle", object.at.name)).await?;
    }
    Ok(())
}

async fn give_up<S: Store>(house: &House<S>, object: &Object) -> Result<Way, StoreError> {
    let message = format!("removed without deleting its Secret {}", object.secret_name());
    let event = Event { warning: true, reason: Reason::FinalizerForced, message };
    super::report(house, object, &object.previous, &[event]).await?;
    let_go(house, object).await
}

async fn let_go<S: Store>(house: &House<S>, object: &Object) -> Result<Way, StoreError> {
    house.store.set_finalizer(object, false).await?;
    Ok(Way::Out(Box::new(Walk::over())))
}

async fn delete<S: Store>(house: &House<S>, object: &Object, shelf: Shelf, name: &str) -> Result<(), StoreError> {
    let at = object.at.beside(name);
    match house.store.read(shelf, &at).await? {
        Some(stored) if stored.owner.as_ref() == Some(&object.at) => {
            house.store.delete(shelf, &at, &stored.version).await
        }
        _ => Ok(()),
    }
}
