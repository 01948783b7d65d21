//! Writes the objects of an account: a plan comes in, what could not be written goes out. An object of someone else is
//! never written.

use super::write_failures::WriteFailures;
use super::{AccountPlan, Accounts};
use crate::adapters::StoreError;
use crate::adapters::account_store::AccountStore;
use crate::api::account::{AccountResource, ObservedResource, ResourceKey, ResourceKind};
use crate::decide::delivery::rbac::{AccountStep, steps};
use crate::reconcile::Context;
use std::collections::HashMap;

impl Accounts {
    /// Writes what differs, as far as it can be written: a namespace that is being deleted must not keep the hosts of
    /// others waiting.
    pub(super) async fn apply<S: AccountStore>(
        &self,
        ctx: &Context<S>,
        account: &str,
        plan: &AccountPlan,
        failures: &mut WriteFailures,
    ) {
        let steps = match self.open().observed.resources(account) {
            Some(seen) => steps(&plan.owner, &plan.resources, seen),
            None => steps(&plan.owner, &plan.resources, &HashMap::new()),
        };
        failures.extend_conflicts(plan.conflict.as_ref());
        for step in steps {
            let (kind, namespace) = (step.key().kind, step.key().at.namespace.clone());
            match self.execute(ctx, step).await {
                Ok(Some(conflict)) => {
                    failures.extend_conflicts(Some(&conflict));
                    if kind == ResourceKind::ServiceAccount {
                        return; // someone else's account must not get rights because of its name
                    }
                }
                Ok(None) => {}
                Err(error) => failures.failed(namespace, error),
            }
        }
    }

    /// Executes one step; returns an object of someone else that is in the way.
    async fn execute<S: AccountStore>(
        &self,
        ctx: &Context<S>,
        step: AccountStep,
    ) -> Result<Option<ResourceKey>, StoreError> {
        match step {
            AccountStep::Conflict(key) => Ok(Some(key)),
            AccountStep::Create(resource) => self.make(ctx, &resource).await,
            AccountStep::Replace(resource, version) => {
                self.write_observed(&resource, ctx.store.replace_resource(&resource, &version)).await?;
                Ok(None)
            }
            AccountStep::Recreate(resource, version) => {
                ctx.store.delete_resource(&resource.key, &version).await?;
                self.open().observed.forget(&resource.key, &version);
                self.make(ctx, &resource).await
            }
            AccountStep::Delete(key, version) => {
                ctx.store.delete_resource(&key, &version).await?;
                self.open().observed.forget(&key, &version);
                Ok(None)
            }
        }
    }

    /// Creates an object, or labels one of ours again that has lost its label; returns one of someone else instead.
    async fn make<S: AccountStore>(
        &self,
        ctx: &Context<S>,
        resource: &AccountResource,
    ) -> Result<Option<ResourceKey>, StoreError> {
        match self.write_observed(resource, ctx.store.create_resource(resource)).await {
            Err(StoreError::Exists(at)) => {
                let Some(found) = ctx.store.read_resource(&resource.key).await? else {
                    return Err(StoreError::Changed(at));
                };
                if found.owner.as_ref() != Some(&resource.owner) {
                    self.open().observed.notice(&resource.key, Some(found));
                    return Ok(Some(resource.key.clone()));
                }
                self.write_observed(resource, ctx.store.replace_resource(resource, &found.version)).await.map(|()| None)
            }
            done => done.map(|()| None),
        }
    }

    /// Writes an object, and remembers it as the watch will show it.
    async fn write_observed(
        &self,
        resource: &AccountResource,
        write: impl Future<Output = Result<String, StoreError>>,
    ) -> Result<(), StoreError> {
        self.open().observed.begin(&resource.key);
        let written = write.await;
        let seen = |version: &String| ObservedResource {
            version: version.clone(),
            owner: Some(resource.owner.clone()),
            labelled: true,
            body: resource.body.clone(),
        };
        self.open().observed.end(&resource.key, written.as_ref().ok().map(seen));
        written.map(|_| ())
    }
}
