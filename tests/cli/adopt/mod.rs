//! `dockseal adopt`: the how-tos' own commands, and a Portainer, into manifests that `dockseal up` takes.

mod openssl;
mod portainer;

use std::path::Path;
use std::process::{Command, Stdio};

/// What a run of the binary said.
struct CommandOutput {
    code: i32,
    out: String,
    err: String,
}

/// Runs `dockseal` in a directory, with no terminal and no cluster.
fn dockseal(dir: &Path, words: &[&str], environment: &[(&str, &str)]) -> CommandOutput {
    let output = Command::new(env!("CARGO_BIN_EXE_dockseal"))
        .args(words)
        .current_dir(dir)
        .env("KUBECONFIG", "/nonexistent")
        .env_remove("PORTAINER_API_KEY")
        .env_remove("DOCKSEAL_STATE")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    CommandOutput { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}
