//! Our certificates judged by others: openssl, webpki, and a real dockerd with the Docker CLI.

#[path = "../support/mod.rs"]
mod support;

mod adopted;
mod docker;
mod issued;
mod openssl;
mod webpki_judge;
