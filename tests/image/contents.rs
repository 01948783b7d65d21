//! What the image has in it, and what it says of itself.

use crate::made::{CREATED, Image, REVISION};
use anyhow::{Context, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

/// Names, modes and owners as `tar -tv` prints them.
const FILES: &str = "\
drwxr-xr-x 0/0 etc/
-rw-r--r-- 0/0 etc/group
-rw-r--r-- 0/0 etc/passwd
drwxr-xr-x 0/0 etc/ssl/
drwxr-xr-x 0/0 etc/ssl/certs/
-rw-r--r-- 0/0 etc/ssl/certs/ca-certificates.crt
drwxr-xr-x 0/0 usr/
drwxr-xr-x 0/0 usr/bin/
-rwxr-xr-x 0/0 usr/bin/dockseal
";

#[test]
fn the_files_are_these_and_no_others() -> anyhow::Result<()> {
    let image = Image::make()?;
    let listed = image.dir.run("tar -tvf made/root.tar --numeric-owner | awk '{ print $1, $2, $6 }'")?;
    assert_eq!(listed, FILES);
    let read = |name: &str| std::fs::read_to_string(image.root().join(name));
    assert!(read("etc/passwd")?.lines().any(|line| line.starts_with("nonroot:x:65532:65532:")));
    assert!(read("etc/group")?.lines().any(|line| line == "nonroot:x:65532:"));
    let manifest = image.manifest()?;
    let layer = manifest["layers"][0]["size"].as_u64().context("a layer has a size")?;
    ensure!(manifest["layers"].as_array().is_some_and(|layers| layers.len() == 1), "one layer: {manifest}");
    ensure!(layer < 20 << 20, "the image is {layer} bytes; it was to stay under 20 MiB");
    println!("layer {layer} bytes, binary {}", std::fs::metadata(image.root().join("usr/bin/dockseal"))?.len());
    Ok(())
}

#[test]
fn it_runs_as_nobody_in_particular_and_says_what_it_is() -> anyhow::Result<()> {
    let config = Image::make()?.config()?;
    assert_eq!((&config["os"], &config["architecture"]), (&json!("linux"), &json!("amd64")));
    assert_eq!(config["created"], CREATED.1);
    let expected = json!({
        "User": "65532:65532",
        "Entrypoint": ["/usr/bin/dockseal"],
        "Env": ["PATH=/usr/bin"],
        "WorkingDir": "/",
        "Labels": {
            "org.opencontainers.image.title": env!("CARGO_PKG_NAME"),
            "org.opencontainers.image.description": env!("CARGO_PKG_DESCRIPTION"),
            "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            "org.opencontainers.image.revision": REVISION,
            "org.opencontainers.image.created": CREATED.1,
        },
    });
    assert_eq!(config["config"], expected);
    Ok(())
}

/// The page's own line takes it out; it is the one that the image has, and knows its version.
#[test]
fn the_program_is_taken_out_as_the_page_says() -> anyhow::Result<()> {
    let image = Image::make()?;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))?;
    let line =
        page.lines().find(|line| line.starts_with("tar -xf target/image/root.tar")).context("the page says how")?;
    image.dir.run(&format!("mkdir target; ln -s ../made target/image; {line}"))?;
    let said = image.dir.run("./dockseal --version; cmp dockseal root/usr/bin/dockseal")?;
    assert_eq!(said, concat!("dockseal ", env!("CARGO_PKG_VERSION"), "\n"));
    Ok(())
}

/// /etc/ssl/certs of the machine that builds has its administrator's own authorities, which users must not trust.
#[test]
fn the_authorities_are_the_packages_and_none_of_this_machine() -> anyhow::Result<()> {
    let image = Image::make()?;
    let roots: Vec<_> = CertificateDer::pem_file_iter(image.root().join("etc/ssl/certs/ca-certificates.crt"))?
        .collect::<Result<_, _>>()?;
    ensure!(roots.len() > 100, "there are {} authorities", roots.len());
    let Ok(own) = std::fs::read_dir("/usr/local/share/ca-certificates") else { return Ok(()) };
    for file in own {
        let file = file?.path();
        let Ok(certificate) = CertificateDer::from_pem_file(&file) else { continue };
        ensure!(!roots.contains(&certificate), "{} is in the image", file.display());
    }
    Ok(())
}

/// Program headers 3 (PT_INTERP) and 2 (PT_DYNAMIC, whose entries 1 are DT_NEEDED); see elf(5).
#[test]
fn the_binary_asks_for_no_loader_and_no_library() -> anyhow::Result<()> {
    let binary = std::fs::read(Image::make()?.root().join("usr/bin/dockseal"))?;
    let number = |at: usize, size: usize| -> anyhow::Result<usize> {
        let bytes = binary.get(at..at + size).context("the binary ends early")?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    ensure!(binary.starts_with(b"\x7fELF\x02\x01") && number(18, 2)? == 62, "it is for amd64");
    ensure!(number(16, 2)? == 3, "it is position-independent");
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for header in (0..count).map(|index| table + index * size) {
        let kind = number(header, 4)?;
        ensure!(kind != 3, "it asks for a loader");
        let (start, length) = (number(header + 8, 8)?, number(header + 32, 8)?);
        for entry in (start..start + length).step_by(16).filter(|_| kind == 2) {
            ensure!(number(entry, 8)? != 1, "it asks for a library");
        }
    }
    for sign in [env!("CARGO_MANIFEST_DIR"), "/.cargo/registry", "/image-target/"] {
        ensure!(!binary.windows(sign.len()).any(|bytes| bytes == sign.as_bytes()), "the binary says {sign}");
    }
    Ok(())
}
