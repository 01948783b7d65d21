//! Go's own encoding/pem and crypto/x509, which Docker is built with, as a judge: built once, asked over a pipe.
#![allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dockseal::pki::Certificate;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The judge's process. It ends with the value.
pub struct GoJudge {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What Go makes of PEM.
pub struct GoPem {
    /// Label and bytes of each block.
    pub blocks: Vec<(String, Vec<u8>)>,
    /// The certificates that Docker trusts by it, in DER.
    pub trusted: Vec<Vec<u8>>,
    /// Why the last certificate that cannot be parsed cannot be.
    pub error: String,
}

impl GoJudge {
    /// Builds the judge, where it is not built yet, and starts it.
    pub fn start() -> GoJudge {
        let mut process = Command::new(build());
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).env("GODEBUG", "");
        let mut process = process.spawn().unwrap();
        let questions = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        GoJudge { process, questions, answers }
    }

    /// Reads PEM, as dockerd reads the file of `--tlscacert`.
    pub fn pem(&mut self, bytes: &[u8]) -> GoPem {
        let answer = self.ask(&json!({ "PEM": BASE64_STANDARD.encode(bytes) }));
        let bytes = |value: &Value| BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).unwrap();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        GoPem {
            blocks: list(&answer["Blocks"])
                .iter()
                .map(|block| (block["Label"].as_str().unwrap().to_owned(), bytes(&block["Bytes"])))
                .collect(),
            trusted: list(&answer["Trusted"]).iter().map(bytes).collect(),
            error: answer["Error"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Verifies a chain, leaf first, by `roots` in PEM at `now`: nothing, or Go's own words.
    pub fn verify(&mut self, roots: &[u8], chain: &[&Certificate], usage: &str, now: Timestamp) -> Result<(), String> {
        let chain: Vec<_> = chain.iter().map(|certificate| BASE64_STANDARD.encode(&certificate.der)).collect();
        let answer = self.ask(&json!({
            "Roots": BASE64_STANDARD.encode(roots), "Chain": chain, "Usage": usage, "Now": now.to_string(),
        }));
        match answer["Error"].as_str() {
            Some("") | None => Ok(()),
            Some(error) => Err(error.to_owned()),
        }
    }

    /// Serves with that certificate and key to whom `clients` signed, up to that version of TLS, and gives the port.
    pub fn serve(&mut self, [cert, key, clients]: [&[u8]; 3], newest: u16) -> u16 {
        let [cert, key, clients] = [cert, key, clients].map(|pem| BASE64_STANDARD.encode(pem));
        let server = json!({ "Cert": cert, "Key": key, "Clients": clients, "Newest": newest });
        let answer = self.ask(&json!({ "Serve": server }));
        answer["Port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port")
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.questions.as_mut().unwrap(), "{question}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for GoJudge {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.process.wait();
    }
}

/// The program, built by the Go of this machine; Go itself knows whether it is up to date.
fn build() -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("go-judge-{}", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go_judge");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(".").current_dir(source);
    go.envs([
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "off"),
        ("CGO_ENABLED", "0"),
        ("GOFLAGS", "-mod=readonly -buildvcs=false"),
    ]);
    static BUILT: std::sync::Once = std::sync::Once::new();
    BUILT.call_once(|| {
        let built = go.status().expect("Go is not installed: tests/needs.sh go says where it is");
        assert!(built.success(), "go build");
    });
    program
}
