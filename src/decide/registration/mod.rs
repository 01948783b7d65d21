//! Registration in Portainer: what an environment should be in, what is done about it out. It calls nobody.

pub mod contest;
pub mod fault;
pub mod find;
pub mod ground;
pub mod leave;
pub mod lending;
pub mod order;
pub mod patience;
pub mod plan;
pub mod selection;
pub mod standing;
#[cfg(test)]
mod tests;

pub use fault::RegistrationProblem;
pub use ground::ServerSnapshot;
pub use leave::{DeregisterRequest, Deregistration};
pub use order::{DesiredEnvironment, Proof, dialled_url};
pub use plan::{RegistrationStep, plan};
pub use standing::RegistrationStatus;
