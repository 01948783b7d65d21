//! A look at a server: who it is, whether we may work there, and what is in it. Mostly the list alone.

use super::RegistrationServer;
use super::error::of_server;
use super::server::LOOKS;
use crate::adapters::Clock;
use crate::adapters::portainer::PortainerError;
use crate::api::condition::Reason;
use crate::decide::registration::RegistrationProblem;
use crate::portainer::User;

impl RegistrationServer {
    /// Looks at it.
    ///
    /// # Errors
    /// The [`Fault`] that keeps every host of it from being registered.
    pub async fn look(&self, clock: &Clock) -> Result<(), RegistrationProblem> {
        let done = self.look_now(clock).await;
        if done.is_err() {
            self.doubt();
        }
        done
    }

    async fn look_now(&self, clock: &Clock) -> Result<(), RegistrationProblem> {
        let whole = {
            let looked = self.looked.lock();
            looked.whole.is_none() || looked.lists >= LOOKS
        };
        if whole {
            self.introduce().await?;
        }
        self.begin_list();
        let list = self.portainer.environments().await.map_err(|error| of_server(&error))?;
        // Who may not see anything is shown an empty list.
        if list.is_empty() && !whole && !self.snapshot().environments.is_empty() {
            self.introduce().await?;
        }
        self.take_list(list);
        let mut looked = self.looked.lock();
        looked.lists += 1;
        if whole {
            (looked.whole, looked.lists) = (Some(clock.now()), 0);
        }
        Ok(())
    }

    /// Asks who it is and who we are, before any key is shown to it; then for groups and tags.
    async fn introduce(&self) -> Result<(), RegistrationProblem> {
        let server = |error: PortainerError| of_server(&error);
        let status = self.portainer.status().await.map_err(server)?;
        self.ensure_administrator().await?;
        may_write(&self.portainer.me().await.map_err(server)?)?;
        let groups = self.portainer.groups().await.map_err(server)?;
        let tags = self.portainer.tags().await.map_err(server)?;
        self.learn(|snapshot| {
            (snapshot.instance, snapshot.version) = (status.instance_id, status.version);
            (snapshot.groups, snapshot.tags) = (groups, tags);
        });
        Ok(())
    }

    async fn ensure_administrator(&self) -> Result<(), RegistrationProblem> {
        if self.portainer.has_administrator().await.map_err(|error| of_server(&error))? {
            return Ok(());
        }
        if !self.initialize {
            return Err(of_server(&PortainerError::NotInitialised));
        }
        self.portainer.initialize().await.map_err(|error| of_server(&error))
    }
}

fn may_write(user: &User) -> Result<(), RegistrationProblem> {
    if user.is_administrator() {
        return Ok(());
    }
    let message = format!(
        "the credential is {}'s, who is no administrator of Portainer: registering needs one; an apiKey has its \
         user's role",
        user.username
    );
    Err(RegistrationProblem::new(Reason::NotAdministrator, message))
}
