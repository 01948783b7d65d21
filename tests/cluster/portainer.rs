//! Registration from the API server to a Docker host: the controller's binary, a Portainer of the tests' own, dockerds.

mod bad_days;
mod bed;
mod calls;
mod journey;
mod killed;
mod reasons;
mod server;
