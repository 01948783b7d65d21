//! Registration from the API server to a Docker host: the controller's binary, a Portainer of the tests' own, dockerds.

mod calls;
mod failures;
mod fixture;
mod journey;
mod killed;
mod reasons;
mod server;
