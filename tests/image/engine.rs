//! Real engines take the image and run it: dockerd and containerd, Debian's.

use crate::dockerd::Dockerd;
use crate::made::{CREATED, Image, REVISION, project};
use anyhow::{Context, ensure};
use serde_json::Value;

const NAME: &str = concat!("dockseal:", env!("CARGO_PKG_VERSION"));
/// What the chart's securityContext says, in Docker's words.
const RESTRICTED: [&str; 6] =
    ["run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"];

#[test]
fn docker_loads_and_runs_it() -> anyhow::Result<()> {
    let (image, dockerd) = (Image::make()?, Dockerd::start_local()?);
    load(&image, &dockerd)?;
    for user in ["65532:65532", "0:0"] {
        let said = dockerd.docker(&[&RESTRICTED[..], &["--user", user, NAME, "--version"]].concat())?;
        assert_eq!(said.trim(), concat!("dockseal ", env!("CARGO_PKG_VERSION")), "as {user}");
    }
    let said = inspect(&dockerd, NAME)?;
    ensure!(said["Size"].as_u64().is_some_and(|size| size < 20 << 20), "{said}");
    Ok(())
}

#[test]
fn containerd_imports_it_under_the_charts_name_and_our_digest() -> anyhow::Result<()> {
    let (image, dockerd) = (Image::make()?, Dockerd::start_local()?);
    let tar = image.tar();
    let tar = tar.to_str().context("a path in UTF-8")?;
    dockerd.ctr(&["--namespace=dockseal", "images", "import", "--snapshotter=native", tar])?;
    let listed = dockerd.ctr(&["--namespace=dockseal", "images", "list"])?;
    let name = format!("docker.io/library/{NAME} ");
    ensure!(listed.lines().any(|line| line.starts_with(&name) && line.contains(&image.digest)), "{listed}");
    Ok(())
}

#[test]
fn the_dockerfile_makes_the_same() -> anyhow::Result<()> {
    let (image, dockerd) = (Image::make()?, Dockerd::start_local()?);
    load(&image, &dockerd)?;
    let arguments = [("VERSION", env!("CARGO_PKG_VERSION")), ("REVISION", REVISION), ("CREATED", CREATED.1)]
        .map(|(name, value)| format!("--build-arg={name}={value}"));
    let (file, context) = (project().join("Dockerfile"), image.dir.path().join("made"));
    let file = format!("--file={}", file.display());
    let context = context.to_str().context("a path in UTF-8")?;
    let [version, revision, created] = &arguments;
    dockerd.docker(&["build", "--tag=built", &file, version, revision, created, context])?;

    let (ours, built) = (inspect(&dockerd, NAME)?, inspect(&dockerd, "built")?);
    for field in ["User", "Entrypoint", "Cmd", "Env", "Labels", "WorkingDir", "Volumes", "ExposedPorts"] {
        assert_eq!(ours["Config"][field], built["Config"][field], "{field}");
    }
    assert_eq!((&ours["Os"], &ours["Architecture"]), (&built["Os"], &built["Architecture"]));
    for (name, directory) in [(NAME, "ours"), ("built", "built")] {
        let container = dockerd.docker(&["create", "--network=none", name])?;
        let tar = image.dir.path().join(directory).with_extension("tar");
        let tar = tar.to_str().context("a path in UTF-8")?;
        dockerd.docker(&["export", "--output", tar, container.trim()])?;
        image.dir.run(&format!("mkdir {directory}; tar -xpf {directory}.tar -C {directory} --numeric-owner"))?;
    }
    image.dir.run("diff -r --no-dereference ours built")?;
    let of = |directory| image.dir.run(&format!("cd {directory}; find . -printf '%P %M %U:%G\\n' | sort"));
    assert_eq!(of("ours")?, of("built")?);
    Ok(())
}

fn load(image: &Image, dockerd: &Dockerd) -> anyhow::Result<()> {
    let tar = image.tar();
    let said = dockerd.docker(&["load", "--input", tar.to_str().context("a path in UTF-8")?])?;
    ensure!(said.trim().ends_with(&format!("Loaded image: {NAME}")), "{said}");
    Ok(())
}

fn inspect(dockerd: &Dockerd, name: &str) -> anyhow::Result<Value> {
    let said: Value = serde_json::from_str(&dockerd.docker(&["image", "inspect", name])?)?;
    Ok(said[0].clone())
}
