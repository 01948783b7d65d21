//! (e) `dockseal up --once` for many hosts, against the same made with openssl as the how-tos do it.

use super::table::Table;
use anyhow::ensure;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Both, one after the other, in a directory of their own.
pub fn up_against_openssl(table: &mut Table, hosts: usize) -> anyhow::Result<()> {
    let dir = Scratch::new()?;
    let up = up(&dir.0, hosts)?;
    let again = self::up(&dir.0, hosts)?;
    let openssl = openssl(&dir.0, hosts)?;
    table.row(format!("(e) up --once, {hosts} hosts"), format!("{up:.2} s"));
    table.row("(e) up --once again, nothing to do", format!("{again:.2} s"));
    table.row(format!("(e) openssl, {hosts} hosts: genpkey, req, x509 -req each"), format!("{openssl:.2} s"));
    table.row("(e) openssl takes times as long", format!("{:.1}", openssl / up));
    Ok(())
}

fn up(dir: &Path, hosts: usize) -> anyhow::Result<f64> {
    let mut yaml = String::from(
        "apiVersion: dockseal.dev/v1alpha1\nkind: DockerCA\nmetadata: {name: bench}\nspec: {subject: {commonName: Bench}}\n",
    );
    for number in 0..hosts {
        write!(
            yaml,
            "---\napiVersion: dockseal.dev/v1alpha1\nkind: DockerHostCert\nmetadata: {{name: host-{number}}}\n\
             spec: {{caRef: {{name: bench}}, hostname: host-{number}.bench.example, ipAddresses: [192.168.1.7]}}\n"
        )?;
    }
    let file = dir.join("fleet.yaml");
    std::fs::write(&file, yaml)?;
    let started = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockseal"));
    command.arg("up").arg(&file).arg("--once").args(["--timeout", "600s", "--state"]).arg(dir.join("state"));
    let status = command.stdout(Stdio::null()).status()?;
    ensure!(status.success(), "up --once: {status}");
    Ok(started.elapsed().as_secs_f64())
}

fn openssl(dir: &Path, hosts: usize) -> anyhow::Result<f64> {
    let script = format!(
        "set -e; mkdir -p o; cd o\n\
         openssl req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=Bench -days 1825\n\
         for n in $(seq {hosts}); do\n\
         openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $n.key\n\
         openssl req -new -key $n.key -subj /CN=host-$n.bench.example -out $n.csr\n\
         printf 'subjectAltName=DNS:host-%s.bench.example,IP:192.168.1.7,IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n' $n >$n.ext\n\
         openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile $n.ext -out $n.pem\n\
         done"
    );
    let started = Instant::now();
    let status = Command::new("sh")
        .arg("-c")
        .arg(script)
        .current_dir(dir)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "openssl: {status}");
    Ok(started.elapsed().as_secs_f64())
}

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Scratch> {
        let dir = std::env::temp_dir().join(format!("dockseal-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Scratch(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
