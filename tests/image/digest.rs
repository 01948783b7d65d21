//! The same sources make the same bytes.

use crate::made::{Image, project, sha256};
use crate::scratch::Scratch;
use std::process::Command;

#[test]
fn made_twice_it_has_one_digest() -> anyhow::Result<()> {
    let (here, there) = (Image::make()?, Image::make_of(project(), elsewhere)?);
    assert_eq!(here.digest, there.digest);
    assert_eq!(sha256(&here.tar())?, sha256(&there.tar())?);
    assert_eq!(here.bill()?, there.bill()?);
    Ok(())
}

/// Another place, language, time zone and mask of modes.
fn elsewhere(command: &mut Command) {
    command.current_dir("/").env("LC_ALL", "C.UTF-8").env("TZ", "Asia/Tokyo").env("GZIP", "-1");
}

/// The binary, too, from another copy of the sources and with nothing of what cargo built before.
#[test]
#[ignore = "builds everything anew, which takes minutes: make test-long"]
fn built_elsewhere_it_has_one_digest() -> anyhow::Result<()> {
    let here = Image::make()?;
    let elsewhere = Scratch::new("another-place-to-build-in")?;
    let sources = elsewhere.path().join("copy");
    elsewhere.run(&format!(
        "mkdir copy; tar -C {} --exclude=./target --exclude=./.git --exclude=./fuzz -cf - . | tar -C copy -xf -",
        project().display()
    ))?;
    let there = Image::make_of(&sources, |command| {
        command.env("XDG_CACHE_HOME", elsewhere.path().join("cache"));
    })?;
    assert_eq!(here.digest, there.digest);
    Ok(())
}
