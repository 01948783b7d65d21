//! Objects that go: their Secret goes with them where the policy says so, else everything stays.

use super::{House, Surroundings};
use crate::api::condition::{ConditionType, Reason};
use crate::api::{Kind, Object};
use crate::decide::deletion::{self, Step};
use crate::decide::status::{Event, Verdict, conditions, fault_events, with_ready};
use crate::world::store::Shelf;
use crate::world::{Store, StoreError};
use k8s_openapi::jiff::Timestamp;

/// Some where the walk ends here, with the instant of the next one.
pub async fn walk<S: Store>(
    house: &House<S>,
    object: &Object,
    around: &Surroundings,
) -> Result<Option<Option<Timestamp>>, StoreError> {
    match deletion::plan(object, around.in_use, house.clock.now()) {
        Step::Live => Ok(None),
        Step::SetFinalizer(held) => {
            house.store.set_finalizer(object, held).await?;
            Ok(None)
        }
        Step::Gone => Ok(Some(None)),
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
        Step::Wait(until) => {
            wait(house, object).await?;
            Ok(Some(Some(until)))
        }
        Step::LetGo => let_go(house, object).await,
        Step::GiveUp => give_up(house, object).await,
    }
}

async fn delete_secret<S: Store>(house: &House<S>, object: &Object) -> Result<(), StoreError> {
    delete(house, object, Shelf::Secrets, &object.secret_name()).await?;
    if object.at.kind == Kind::DockerCA {
        delete(house, object, Shelf::ConfigMaps, &format!("{}-ca-bundle", object.at.name)).await?;
    }
    Ok(())
}

async fn give_up<S: Store>(house: &House<S>, object: &Object) -> Result<Option<Option<Timestamp>>, StoreError> {
    let message = format!("removed without deleting its Secret {}", object.secret_name());
    let event = Event { warning: true, reason: Reason::FinalizerForced, message };
    super::report(house, object, &object.previous, &[event]).await?;
    let_go(house, object).await
}

async fn let_go<S: Store>(house: &House<S>, object: &Object) -> Result<Option<Option<Timestamp>>, StoreError> {
    house.store.set_finalizer(object, false).await?;
    Ok(Some(None))
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

async fn wait<S: Store>(house: &House<S>, object: &Object) -> Result<(), StoreError> {
    let message = "it is to be deleted with its Secret, and waits for the hosts and clients that it signs for: \
                   delete them first";
    let verdicts = with_ready(vec![Verdict::new(ConditionType::Accepted, false, Reason::InUse, message)]);
    let previous = &object.previous.conditions;
    let mut status = object.previous.clone();
    status.conditions = conditions(&verdicts, previous, object.generation, house.clock.now());
    super::report(house, object, &status, &fault_events(&verdicts, previous)).await
}
