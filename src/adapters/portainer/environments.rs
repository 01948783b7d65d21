//! What is asked about environments, and what is done with them.

use super::call::Call;

use super::{Answer, Operation, PortainerApi, PortainerError, judged, words};
use crate::portainer::multipart::FilePart;
use crate::portainer::wire::{self, path};
use crate::portainer::{Environment, EnvironmentChange, File, NewEnvironment, TlsFiles};
use hyper::{Method, StatusCode};

impl PortainerApi {
    /// All environments. Nobody but an administrator sees them: others get an empty list.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn environments(&self) -> Answer<Vec<Environment>> {
        self.read(Call::get(Operation::List, path::LIST).long()).await
    }

    /// The environments of exactly that name; Portainer does not always keep them to one.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn named(&self, name: &str) -> Answer<Vec<Environment>> {
        let mut found: Vec<Environment> = self.read(Call::get(Operation::List, path::named(name)).long()).await?;
        found.retain(|environment| environment.name == name);
        Ok(found)
    }

    /// An environment, where there is one of that id.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn environment(&self, id: i64) -> Answer<Option<Environment>> {
        match self.read(Call::get(Operation::Inspect, path::description(id)).long()).await {
            Err(PortainerError::NotFound) => Ok(None),
            done => done.map(Some),
        }
    }

    /// Makes an environment. Portainer asks the host first, and leaves the key on its disk where that fails.
    ///
    /// # Errors
    /// [`PortainerError`]; after [`PortainerError::TimedOut`] and after [`PortainerError::Refused`] with 500 it may
    /// have made one.
    pub async fn create(&self, new: &NewEnvironment, files: &TlsFiles) -> Answer<Environment> {
        let file = |file, file_name, content| FilePart { field: wire::create_file(file), file_name, content };
        let mut parts = vec![file(File::Cert, "cert.pem", &*files.cert), file(File::Key, "key.pem", &files.key)];
        if new.verify_server {
            parts.push(file(File::Ca, "ca.pem", &files.ca));
        }
        let call = Call::new(Operation::Create, Method::POST, path::ENVIRONMENTS);
        self.read(call.form(&wire::create_fields(new), &parts).asks_host().long()).await
    }

    /// Changes an environment. Portainer does not ask the host.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn change(&self, id: i64, change: &EnvironmentChange) -> Answer<Environment> {
        // The answer holds the whole snapshot.
        self.read(Call::new(Operation::Change, Method::PUT, path::environment(id)).json(change).long()).await
    }

    /// Puts a file in its place. It is used by the next snapshot, and by users after the next [`Portainer::change`].
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn upload(&self, id: i64, file: File, pem: &[u8]) -> Answer<()> {
        let part = FilePart { field: wire::UPLOAD_FILE, file_name: "file.pem", content: pem };
        let call = Call::new(Operation::Upload, Method::POST, path::upload(file));
        self.ask(call.form(&[(wire::UPLOAD_FOLDER, id.to_string())], &[part])).await.map(drop)
    }

    /// Pings the host through Portainer, as its users reach it.
    ///
    /// # Errors
    /// [`PortainerError::HostUnreachable`] where Portainer does not reach it.
    pub async fn ping(&self, id: i64) -> Answer<()> {
        let mut reply = self.as_it_is(Call::get(Operation::Ping, path::ping(id))).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            self.me().await?; // the session may have ended; if not, it is Docker that refuses
            reply = self.as_it_is(Call::get(Operation::Ping, path::ping(id))).await?;
        }
        let shows = |text: &str| self.0.session.is_shown_in(text);
        match reply.status {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED => Err(PortainerError::HostUnreachable("Docker answers 401".to_owned())),
            // What stands in front of Portainer answers with a page.
            StatusCode::BAD_GATEWAY if !reply.html => {
                Err(PortainerError::HostUnreachable(match reply.body.is_empty() {
                    true => "it gets no answer of Docker's".to_owned(),
                    false => words(&reply, shows),
                }))
            }
            _ => Err(judged(&reply, shows)),
        }
    }

    /// Has a snapshot taken; whether the host answered is the environment's status afterwards.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn snapshot(&self, id: i64) -> Answer<()> {
        self.ask(Call::new(Operation::Snapshot, Method::POST, path::snapshot(id)).asks_host()).await.map(drop)
    }

    /// Removes an environment, where there is one of that id.
    ///
    /// # Errors
    /// [`PortainerError`].
    pub async fn delete(&self, id: i64) -> Answer<()> {
        match self.ask(Call::new(Operation::Delete, Method::DELETE, path::environment(id))).await {
            Ok(_) | Err(PortainerError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
