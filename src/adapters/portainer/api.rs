//! Each operation of the port [`PortainerServer`] as one or two HTTP calls of Portainer's API.

use super::call::Call;
use super::client::PortainerApi;
use super::error::PortainerError;
use super::port::{PortainerServer, Response};
use super::request_metrics::Operation;
use crate::portainer::multipart::FilePart;
use crate::portainer::wire::{self, NewTag};
use crate::portainer::{
    Environment, EnvironmentChange, File, Group, NewEnvironment, SystemStatus, Tag, TlsFiles, User, path,
};
use hyper::{Method, StatusCode};

impl PortainerServer for PortainerApi {
    fn status(&self) -> Response<'_, SystemStatus> {
        Box::pin(async { self.read_anonymously(Call::get(Operation::Status, path::STATUS)).await })
    }

    fn has_administrator(&self) -> Response<'_, bool> {
        Box::pin(async {
            match self.send_anonymously(Call::get(Operation::Status, path::ADMIN_CHECK)).await {
                Ok(_) => Ok(true),
                Err(PortainerError::NotFound) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    fn initialize(&self) -> Response<'_, ()> {
        Box::pin(async {
            let api_key = || PortainerError::Forbidden("an administrator needs a username and a password".into());
            let user = self.login_body().ok_or_else(api_key)?;
            match self.send_anonymously(Call::of_user(Operation::Initialize, path::ADMIN_INIT, user)).await {
                Ok(_) | Err(PortainerError::NameInUse) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    fn me(&self) -> Response<'_, User> {
        Box::pin(self.read(Call::get(Operation::Me, path::ME)))
    }

    fn groups(&self) -> Response<'_, Vec<Group>> {
        Box::pin(self.read(Call::get(Operation::Groups, path::GROUPS)))
    }

    fn tags(&self) -> Response<'_, Vec<Tag>> {
        Box::pin(self.read(Call::get(Operation::Tags, path::TAGS)))
    }

    fn create_tag<'a>(&'a self, name: &'a str) -> Response<'a, Tag> {
        Box::pin(async move {
            match self.read(Call::new(Operation::Tag, Method::POST, path::TAGS).json(&NewTag { name })).await {
                Err(PortainerError::NameInUse) => {
                    let found = self.tags().await?.into_iter().find(|tag| tag.name == name);
                    found.ok_or(PortainerError::NameInUse)
                }
                made => made,
            }
        })
    }

    fn environments(&self) -> Response<'_, Vec<Environment>> {
        Box::pin(self.read(Call::get(Operation::List, path::LIST)))
    }

    fn named<'a>(&'a self, name: &'a str) -> Response<'a, Vec<Environment>> {
        Box::pin(async move {
            let mut found: Vec<Environment> = self.read(Call::get(Operation::List, path::named(name))).await?;
            found.retain(|environment| environment.name == name);
            Ok(found)
        })
    }

    fn environment(&self, id: i64) -> Response<'_, Option<Environment>> {
        Box::pin(async move {
            match self.read(Call::get(Operation::Inspect, path::description(id))).await {
                Err(PortainerError::NotFound) => Ok(None),
                found => found.map(Some),
            }
        })
    }

    fn create<'a>(&'a self, new: &'a NewEnvironment, files: &'a TlsFiles) -> Response<'a, Environment> {
        let file = |file, file_name, content| FilePart { field: wire::create_file(file), file_name, content };
        let mut parts = vec![file(File::Cert, "cert.pem", &*files.cert), file(File::Key, "key.pem", &files.key)];
        if new.verify_server {
            parts.push(file(File::Ca, "ca.pem", &files.ca));
        }
        let call = Call::new(Operation::Create, Method::POST, path::ENVIRONMENTS);
        Box::pin(self.read(call.form(&wire::create_fields(new), &parts).asks_host()))
    }

    fn change<'a>(&'a self, id: i64, change: &'a EnvironmentChange) -> Response<'a, Environment> {
        Box::pin(self.read(Call::new(Operation::Change, Method::PUT, path::environment(id)).json(change)))
    }

    fn upload<'a>(&'a self, id: i64, file: File, pem: &'a [u8]) -> Response<'a, ()> {
        let part = FilePart { field: wire::UPLOAD_FILE, file_name: "file.pem", content: pem };
        let call = Call::new(Operation::Upload, Method::POST, path::upload(file));
        let call = call.form(&[(wire::UPLOAD_FOLDER, id.to_string())], &[part]);
        Box::pin(async move { self.send(call).await.map(drop) })
    }

    fn ping(&self, id: i64) -> Response<'_, ()> {
        Box::pin(async move {
            let mut reply = self.send_once(Call::get(Operation::Ping, path::ping(id))).await?;
            if reply.status == StatusCode::UNAUTHORIZED {
                self.me().await?; // the session may have ended; if not, the 401 is Docker's
                reply = self.send_once(Call::get(Operation::Ping, path::ping(id))).await?;
            }
            let has_secret = |text: &str| self.has_secret(text);
            match reply.status {
                StatusCode::OK => Ok(()),
                StatusCode::UNAUTHORIZED => Err(PortainerError::HostUnreachable("Docker answers 401".to_owned())),
                // A proxy in front of Portainer answers with a page.
                StatusCode::BAD_GATEWAY if !reply.html => {
                    Err(PortainerError::HostUnreachable(match reply.body.is_empty() {
                        true => "it gets no answer from Docker".to_owned(),
                        false => reply.message(has_secret),
                    }))
                }
                _ => Err(reply.error(has_secret)),
            }
        })
    }

    fn snapshot(&self, id: i64) -> Response<'_, ()> {
        let call = Call::new(Operation::Snapshot, Method::POST, path::snapshot(id)).asks_host();
        Box::pin(async move { self.send(call).await.map(drop) })
    }

    fn delete(&self, id: i64) -> Response<'_, ()> {
        Box::pin(async move {
            match self.send(Call::new(Operation::Delete, Method::DELETE, path::environment(id))).await {
                Ok(_) | Err(PortainerError::NotFound) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }
}
