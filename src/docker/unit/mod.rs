//! systemd's units of Docker: unit text in, facts, changed command lines and Dockseal's own units out. It starts
//! nothing.

mod environment;
mod exec_line;
mod flags;
pub mod parse;
mod quoting;
mod render;
mod start;

pub use environment::{variable, variables};
pub use exec_line::{ExecError, ExecLine};
pub use flags::TlsFlag;
pub use render::{
    BINARY, DOCKER_SOCKET_DROP_IN, DROP_IN, SERVICE, SOCKET, SOCKET_NAME, SOCKET_UNIT, SOCKET_WANT, closed_drop_in,
    docker_socket_drop_in, drop_in, socket_unit,
};

pub use start::{StartEnvironment, StartSettings};

#[cfg(test)]
mod tests;
