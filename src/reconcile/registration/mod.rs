//! Registration in Portainer: PortainerClients, hosts and Secrets in, calls to Portainer and reports for statuses out. The
//! controller, `dockseal up` and companions use it. It never touches an environment that is not ours.

mod apply;
mod cache;
mod client_pair;
mod client_refresh;
mod companion;
pub mod connect;
mod delegate;
mod deregister;
mod error;
mod host;
mod host_state;
mod outcome;
mod probe;
mod refresh;
mod refresh_schedule;
mod register;
mod registrations;
mod report;
mod request;
pub mod server;

pub use client_pair::{ClientPair, client_pair};
pub use companion::CompanionRegistration;
pub use connect::Connection;
pub use deregister::deregister;
pub use host::HostSync;
pub use outcome::{RegistrationOutcome, SyncOutcome};
pub use register::register;
pub use registrations::Registrations;
pub use report::{RegistrationReports, companions_register};
pub use request::RegistrationRequest;
pub use server::RegistrationServer;
