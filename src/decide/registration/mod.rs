//! Decisions about registration in Portainer: what an environment should be and what the server shows in, the next step
//! or the status out. It calls nobody.

pub mod backoff;
pub mod conflict;
pub mod delegation;
pub mod deregister;
pub mod desired;
pub mod find;
pub mod plan;
pub mod problem;
pub mod selection;
pub mod snapshot;
pub mod status;

pub use deregister::{DeregisterRequest, Deregistration};
pub use desired::{DesiredEnvironment, Proof, dialled_url};
pub use plan::{RegistrationStep, plan};
pub use problem::RegistrationProblem;
pub use snapshot::ServerSnapshot;
pub use status::RegistrationStatus;

#[cfg(test)]
mod tests;
