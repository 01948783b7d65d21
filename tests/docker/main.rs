//! What `dockseal up` makes, judged by openssl and by a real dockerd with the Docker CLI.

#[path = "../support/mod.rs"]
mod support;

mod adopted;
mod docker;
mod issued;
mod openssl;
