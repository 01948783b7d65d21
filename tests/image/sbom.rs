//! The bill of materials: what is linked, with its digest from Cargo.lock, and nothing that only builds or tests.

use crate::made::{Image, project};
use anyhow::{Context, ensure};

#[test]
fn it_has_what_is_linked_and_no_more() -> anyhow::Result<()> {
    let image = Image::make()?;
    let bill = image.bill()?;
    let lock = std::fs::read_to_string(project().join("Cargo.lock"))?;
    let components = bill["components"].as_array().context("a bill has components")?;
    let names: Vec<&str> = components.iter().filter_map(|component| component["name"].as_str()).collect();
    for linked in ["rustls", "aws-lc-sys", "kube-client", "tokio", "rust-std", "ca-certificates"] {
        ensure!(names.contains(&linked), "{linked} is not in {names:?}");
    }
    for foreign in ["dockseal", "proptest", "cc", "thiserror-impl", "windows-sys"] {
        ensure!(!names.contains(&foreign), "{foreign} is in the bill, but not in the image");
    }
    for component in components {
        ensure!(component["licenses"][0]["expression"].is_string(), "no licence: {component}");
        let version = component["version"].as_str().context("a component has a version")?;
        ensure!(version != "unknown", "{component}");
        let Some(digest) = component["hashes"][0]["content"].as_str() else { continue };
        let entry = format!("name = {}\nversion = \"{version}\"\n", component["name"]);
        let rest = lock.split(&entry).nth(1).with_context(|| format!("Cargo.lock has no {entry}"))?;
        ensure!(rest.lines().nth(1) == Some(&format!("checksum = \"{digest}\"")), "{component}");
    }
    let hashed = components.iter().filter(|component| component["hashes"].is_array()).count();
    ensure!(hashed + 3 == components.len(), "all but the libc, the standard library and the roots are from Cargo.lock");
    let layer = &image.manifest()?["layers"][0]["digest"];
    let subject = bill["metadata"]["component"]["hashes"][0]["content"].as_str().context("the bill is of an image")?;
    ensure!(layer == &format!("sha256:{subject}"), "the bill is of another layer: {subject}");
    Ok(())
}

/// Where Rust has no musl, binary.sh links glibc in, and its licence is another one.
#[test]
fn it_names_the_libc_that_is_linked() -> anyhow::Result<()> {
    for (target, linked, foreign) in [("musl", "musl", "glibc"), ("gnu", "glibc", "musl")] {
        let mut command = std::process::Command::new(project().join("image/bill.sh"));
        command.arg(project().join("Cargo.lock")).arg(format!("x86_64-unknown-linux-{target}"));
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bill: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let components = bill["components"].as_array().context("a bill has components")?;
        let named = |name: &str| components.iter().find(|component| component["name"] == name);
        let libc = named(linked).with_context(|| format!("{linked} is not in the bill"))?;
        ensure!(libc["version"] != "unknown" && named(foreign).is_none(), "{libc}");
    }
    Ok(())
}
