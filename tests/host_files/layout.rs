//! Where everything is, who may read it, and what is seen.

use super::place::*;
use dockseal::world::host_files::{DeliveryError, Directory, Over, Owner, PublicName};
use std::fs;
use std::path::Path;

#[test]
fn a_delivery_has_its_layout_and_modes() {
    let place = Place::new("layout");
    let directory = place.open();
    assert_eq!(deliver(&directory, "one"), 1);
    let certs = place.certs();
    let found = tree(&certs);
    assert_eq!(
        found,
        [
            ".dockseal",
            ".dockseal/1",
            ".dockseal/1/.probe.key",
            ".dockseal/1/.probe.pem",
            ".dockseal/1/ca.pem",
            ".dockseal/1/pandora.key",
            ".dockseal/1/pandora.pem",
            ".dockseal/current",
            ".dockseal/lock",
            ".dockseal/owner",
            "ca.pem",
            "pandora.key",
            "pandora.pem"
        ]
    );
    for name in found.iter().filter(|name| !fs::symlink_metadata(certs.join(name)).unwrap().is_symlink()) {
        let wanted = match name.as_str() {
            ".dockseal" | ".dockseal/1" => 0o755,
            ".dockseal/lock" => 0o600,
            name if name.ends_with(".key") => 0o400,
            _ => 0o444,
        };
        assert_eq!(mode(&certs.join(name)), wanted, "{name}");
    }
    assert_eq!(fs::read_link(certs.join(".dockseal/current")).unwrap(), Path::new("1"));
    for name in PUBLIC {
        assert_eq!(fs::read_link(certs.join(name)).unwrap(), Path::new(".dockseal/current").join(name));
    }
    assert_eq!(shown(&certs), ["one"; 3]);
}

#[test]
fn what_was_written_is_seen() {
    let place = Place::new("seen");
    let directory = place.open();
    assert_eq!(directory.look(NAME).unwrap(), Default::default());
    deliver(&directory, "one");
    let second = deliver(&directory, "two");
    let seen = directory.look(NAME).unwrap();
    assert_eq!((seen.owner.as_ref(), seen.current, seen.leftovers), (Some(&owner()), Some(2), false));
    assert_eq!((&seen.ca, &seen.cert, &seen.key), (&PublicName::Ours, &PublicName::Ours, &PublicName::Ours));
    assert_eq!(seen.generations.iter().map(|generation| generation.number).collect::<Vec<_>>(), [1, 2]);
    let current = seen.shown().unwrap();
    assert_eq!((current.number, current.key.as_deref()), (second, Some(&b"two\nkey\n"[..])));
    assert_eq!(current.flaws, [] as [String; 0]);
    assert!(seen.is_delivered_by(&owner()));
    let other = Owner { object: "DockerHostCert/home/other".to_owned(), uid: String::new() };
    assert!(matches!(directory.claim(&other, None), Err(DeliveryError::Claimed { .. })));
    directory.claim(&other, Some(&owner())).unwrap();
    assert_eq!(directory.look(NAME).unwrap().owner, Some(other));
}

#[test]
fn what_is_removed_is_ours_alone() {
    let place = Place::new("release");
    let directory = place.open();
    for word in ["one", "two", "three"] {
        deliver(&directory, word);
    }
    directory.retire(&[2]).unwrap();
    assert_eq!(directory.look(NAME).unwrap().generations.len(), 2);
    fs::write(place.certs().join("ca-key.pem"), "not ours").unwrap();
    fs::remove_file(place.certs().join("pandora.pem")).unwrap();
    fs::write(place.certs().join("pandora.pem"), "not ours").unwrap();
    directory.release(NAME).unwrap();
    assert_eq!(tree(&place.certs()), ["ca-key.pem", "pandora.pem"]);
    directory.release(NAME).unwrap();
}

#[test]
fn files_of_others_stay_until_they_are_taken_over() {
    let place = Place::new("takeover");
    make(&place.certs(), 0o755);
    for name in PUBLIC {
        fs::write(place.certs().join(name), format!("old\n{name}\n")).unwrap();
    }
    let directory = place.open();
    assert!(matches!(directory.look(NAME).unwrap().ca, PublicName::File(_)));
    directory.claim(&owner(), None).unwrap();
    let number = directory.write_generation(NAME, &Set::new("new").files()).unwrap();
    directory.point(number).unwrap();
    assert!(matches!(directory.link_names(NAME, Over::Nothing), Err(DeliveryError::Taken(_))));
    assert!(matches!(directory.link_names(NAME, Over::Same), Err(DeliveryError::Taken(_))));
    assert_eq!(shown(&place.certs()), ["old"; 3]);
    let old = directory.take_over(NAME).unwrap().unwrap();
    assert_eq!((shown(&place.certs()), directory.look(NAME).unwrap().current), (vec!["old".to_owned(); 3], Some(old)));
    assert_eq!(directory.take_over(NAME).unwrap(), None);
    deliver(&directory, "new");
    assert_eq!(shown(&place.certs()), ["new"; 3]);
    fs::remove_file(place.certs().join("ca.pem")).unwrap();
    fs::write(place.certs().join("ca.pem"), "edited").unwrap();
    assert!(matches!(directory.link_names(NAME, Over::Nothing), Err(DeliveryError::Taken(_))));
    directory.link_names(NAME, Over::Anything).unwrap();
    assert_eq!(shown(&place.certs()), ["new"; 3]);
}

#[test]
fn a_directory_that_is_missing_is_made_where_it_is_to_be() {
    let place = Place::new("missing");
    assert!(Directory::find(&place.roots(), &place.certs()).unwrap().is_none());
    assert!(!place.certs().exists());
    let roots = [place.path("far/away")];
    drop(Directory::open(&roots, &place.path("far/away/below/it")).unwrap());
    for made in ["far", "far/away", "far/away/below", "far/away/below/it"] {
        assert_eq!(mode(&place.path(made)), 0o755);
    }
    for outside in ["far/awayward", "far", "else"] {
        assert!(matches!(Directory::open(&roots, &place.path(outside)), Err(DeliveryError::Outside { .. })));
    }
    assert!(matches!(Directory::open(&roots, &place.path("far/away/../x")), Err(DeliveryError::NotPlain(_))));
    assert!(matches!(Directory::open(&roots, Path::new("far/away")), Err(DeliveryError::NotPlain(_))));
}
