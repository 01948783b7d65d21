//! What is asked of a server itself: what it is, who we are to it, its groups and tags.

use super::call::Call;
use super::{Answer, Operation, PortainerApi, PortainerError, read};
use crate::portainer::wire::{NewTag, path};
use crate::portainer::{Group, SystemStatus, Tag, User};
use hyper::Method;

impl PortainerApi {
    /// What the server says of itself. No credential is sent.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn status(&self) -> Answer<SystemStatus> {
        read(&self.stranger(Call::get(Operation::Status, path::STATUS)).await?)
    }

    /// Whether it has an administrator. No credential is sent.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn has_administrator(&self) -> Answer<bool> {
        match self.stranger(Call::get(Operation::Status, path::ADMIN_CHECK)).await {
            Ok(_) => Ok(true),
            Err(PortainerError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes the first administrator with our name and password, where there is none yet.
    ///
    /// # Errors
    /// [`PortainerError`]; [`PortainerError::Forbidden`] to an API key, which is no user.
    pub async fn initialize(&self) -> Answer<()> {
        let nobody = || PortainerError::Forbidden("an administrator is made of a username and a password".into());
        let user = self.0.session.user().ok_or_else(nobody)?;
        match self.stranger(Call::of_user(Operation::Initialize, path::ADMIN_INIT, user)).await {
            Ok(_) | Err(PortainerError::NameInUse) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Who we are.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn me(&self) -> Answer<User> {
        self.read(Call::get(Operation::Me, path::ME)).await
    }

    /// The groups of environments.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn groups(&self) -> Answer<Vec<Group>> {
        self.read(Call::get(Operation::Groups, path::GROUPS).long()).await
    }

    /// The tags.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn tags(&self) -> Answer<Vec<Tag>> {
        self.read(Call::get(Operation::Tags, path::TAGS).long()).await
    }

    /// Makes a tag, or finds the one of that name.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn create_tag(&self, name: &str) -> Answer<Tag> {
        match self.read(Call::new(Operation::Tag, Method::POST, path::TAGS).json(&NewTag { name })).await {
            Err(PortainerError::NameInUse) => {
                let found = self.tags().await?.into_iter().find(|tag| tag.name == name);
                found.ok_or(PortainerError::NameInUse)
            }
            done => done,
        }
    }
}
