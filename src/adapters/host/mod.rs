//! The machine itself: its units, its configuration files and the certificate directory.

pub mod cert_dir;
pub mod system_files;
pub mod systemd;
pub mod unit_watch;
