//! Refreshes what is known of a server: who it is, whether the credential may write, and what is in it. Mostly it asks for
//! the list of environments alone. It writes nothing but a first administrator.

use super::error::server_problem;
use super::server::RegistrationServer;
use crate::adapters::Clock;
use crate::adapters::portainer::PortainerError;
use crate::api::condition::Reason;
use crate::decide::registration::RegistrationProblem;
use crate::portainer::User;

impl RegistrationServer {
    /// Refreshes the snapshot.
    ///
    /// # Errors
    /// The [`RegistrationProblem`] that prevents each of its hosts from being registered.
    pub async fn refresh(&self, clock: &Clock) -> Result<(), RegistrationProblem> {
        let result = self.try_refresh(clock).await;
        if result.is_err() {
            self.mark_stale();
        }
        result
    }

    async fn try_refresh(&self, clock: &Clock) -> Result<(), RegistrationProblem> {
        let full = self.is_full_refresh_due();
        if full {
            self.refresh_server().await?;
        }
        self.begin_list();
        let list = self.portainer().environments().await.map_err(|error| server_problem(&error))?;
        // A user without rights gets an empty list.
        if list.is_empty() && !full && !self.snapshot().environments.is_empty() {
            self.refresh_server().await?;
        }
        self.put_list(list);
        self.note_refresh(full.then(|| clock.now()));
        Ok(())
    }

    /// Asks for identity and rights before Portainer is given any key; then for groups and tags.
    async fn refresh_server(&self) -> Result<(), RegistrationProblem> {
        let problem = |error: PortainerError| server_problem(&error);
        let portainer = self.portainer();
        let status = portainer.status().await.map_err(problem)?;
        self.ensure_administrator().await?;
        require_administrator(&portainer.me().await.map_err(problem)?)?;
        let groups = portainer.groups().await.map_err(problem)?;
        let tags = portainer.tags().await.map_err(problem)?;
        self.update(|snapshot| {
            (snapshot.instance, snapshot.version) = (status.instance_id, status.version);
            (snapshot.groups, snapshot.tags) = (groups, tags);
        });
        Ok(())
    }

    async fn ensure_administrator(&self) -> Result<(), RegistrationProblem> {
        if self.portainer().has_administrator().await.map_err(|error| server_problem(&error))? {
            return Ok(());
        }
        if !self.may_initialize() {
            return Err(server_problem(&PortainerError::NotInitialised));
        }
        self.portainer().initialize().await.map_err(|error| server_problem(&error))
    }
}

fn require_administrator(user: &User) -> Result<(), RegistrationProblem> {
    if user.is_administrator() {
        return Ok(());
    }
    let message = format!(
        "the credential belongs to {}, who is not an administrator of Portainer: registering needs an administrator; an \
         apiKey has the role of its user",
        user.username
    );
    Err(RegistrationProblem::new(Reason::NotAdministrator, message))
}
