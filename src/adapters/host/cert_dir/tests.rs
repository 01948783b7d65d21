//! Words and names. Everything that touches a file system is in tests/cert_dir.rs.

use super::layout::{FileNames, STATE_DIR};
use super::public_links::copy_mode;
use super::*;
use rustix::io::Errno;
use std::path::Path;

#[test]
fn errors_say_what_to_do() {
    let failed = |error| error::failed("write", Path::new("/certs/ca.pem"), error).to_string();
    for (error, words) in [
        (Errno::ROFS, "/certs/ca.pem is mounted read-only: mount it writable, or choose another directory"),
        (
            Errno::NOSPC,
            "no space left in /certs/ca.pem: No space left on device (os error 28): remove some files there",
        ),
        (Errno::DQUOT, "remove some files there"),
        (Errno::NOSYS, "use Linux 5.6 or newer"),
        (Errno::LOOP, "/certs/ca.pem is a symbolic link, which is neither read nor written through: remove it"),
        (
            Errno::ACCESS,
            "failed to write /certs/ca.pem: Permission denied (os error 13): run as the user it belongs to",
        ),
        (Errno::IO, "failed to write /certs/ca.pem: Input/output error"),
    ] {
        assert!(failed(error).contains(words), "{}", failed(error));
    }
    let outside = DeliveryError::Outside { directory: "/srv/x".into(), roots: vec!["/etc/docker".into()] };
    assert!(outside.to_string().starts_with("/srv/x is not below a directory that certificates may be delivered to"));
    assert!(outside.to_string().contains("(/etc/docker): choose one below those"));
}

#[test]
fn keys_are_their_owners_alone() {
    assert_eq!(["pandora.key", ".probe.key"].map(layout::mode), [0o400; 2]);
    assert_eq!(["ca.pem", "pandora.pem", "key.pem", "owner"].map(layout::mode), [0o444; 4]);
    assert_eq!(copy_mode("a.pem", b"-----BEGIN CERTIFICATE-----"), 0o444);
    assert_eq!(copy_mode("a.pem", b"x-----BEGIN RSA PRIVATE KEY-----"), 0o400);
}

#[test]
fn no_object_is_named_as_a_file_of_ours() {
    for name in ["probe", "current", "owner", "lock", "1", "ca.pem"] {
        let names = FileNames::of(name).unwrap();
        let [ca, cert, key] = names.public();
        let ours = [layout::PROBE_CERT, layout::PROBE_KEY, ca, STATE_DIR];
        assert!(!ours.contains(&cert) && !ours.contains(&key), "{name}");
    }
}
