//! `dockseal verify` against a real dockerd, servers that do it wrong, and files alone.

#[path = "../docker/issued.rs"]
#[allow(dead_code, reason = "the tests of x509 use the rest")]
mod issued;

use crate::schema;
use crate::support::docker_like::{DockerLike, Material};
use crate::support::dockerd::Dockerd;
use crate::support::ports;
use crate::support::scratch::Scratch;
use dockseal::decide::verify::{CheckOutcome, Question, VerifyReport};
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::LeafProfile;
use issued::{Issued, PASSPHRASE, expired, now_for_days};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A host that clients dial at a loopback address, and that nobody delivers to.
fn host_at(ip: &str, port: u16) -> anyhow::Result<Issued> {
    Issued::from(&format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: ca-pass}}
stringData: {{passphrase: {PASSPHRASE}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {{name: ca}}
spec: {{subject: {{commonName: Docker CA}}, passphraseSecretRef: {{name: ca-pass, key: passphrase}}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {{name: pandora}}
spec: {{caRef: {{name: ca}}, hostname: pandora.bodkys.house, address: {{host: {ip}, port: {port}}}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerClientCert
metadata: {{name: ci}}
spec: {{caRef: {{name: ca}}, commonName: ci}}
"
    ))
}

fn verify(dir: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dockseal"))
        .arg("verify")
        .args(words)
        .current_dir(dir)
        .env("KUBECONFIG", "/nonexistent")
        .env_remove("DOCKSEAL_STATE")
        .output()
        .unwrap()
}

/// What it prints as JSON, and the code that it ends with.
fn report(dir: &Path, words: &[&str]) -> (VerifyReport, i32) {
    let output = verify(dir, &[words, &["-o", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(schema::faults_by("verify.json", &json), Vec::<String>::new());
    let report: VerifyReport = serde_json::from_value(json).unwrap();
    (report, output.status.code().unwrap())
}

const OF_STATE: [&str; 3] = ["pandora", "--state", "state"];

/// The questions that are not answered with ok.
fn wrong(report: &VerifyReport) -> Vec<(Question, CheckOutcome)> {
    let wrong = report.checks.iter().filter(|check| check.result != CheckOutcome::Ok);
    wrong.map(|check| (check.id, check.result)).collect()
}

fn message(report: &VerifyReport, id: Question) -> &str {
    &report.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("{report:?}")).message
}

fn serving(port: u16, files: &Path, trust: &Path) -> anyhow::Result<Dockerd> {
    Dockerd::start_on(port, &files.join("cert.pem"), &files.join("key.pem"), trust)
}

#[test]
fn a_dockerd_that_is_right_is_ok_and_one_with_old_files_is_not_restarted_yet() -> anyhow::Result<()> {
    let port = ports::free()?;
    let issued = host_at("127.0.0.1", port)?;
    let (dir, files) = (issued.scratch().path(), issued.secret("pandora-docker-host"));
    let dockerd = serving(port, &files, &files.join("ca.pem"))?;
    let (right, code) = report(dir, &OF_STATE);
    assert_eq!((wrong(&right), code, right.result), (vec![], 0, CheckOutcome::Ok), "{right:?}");
    assert_eq!(right.checks.len(), 15, "{right:?}");
    assert!(message(&right, Question::OurClient).contains("DockerClientCert/ci"));
    assert!(right.docker_version.is_some());
    let table = verify(dir, &OF_STATE);
    let table = String::from_utf8(table.stdout)?;
    assert!(table.lines().filter(|line| line.starts_with("ok ")).count() == 15 && !table.contains('\x1b'), "{table}");

    // The trust bundle and a pair as files, and nothing else.
    let client = issued.secret("ci-docker-client");
    let at = |name: &str| client.join(name).display().to_string();
    let address = format!("127.0.0.1:{port}");
    let words = ["--file", &at("ca.pem"), "--address", &address];
    let (bare, code) = report(dir, &words);
    assert_eq!((wrong(&bare), code), (vec![(Question::OurClient, CheckOutcome::Unknown)], 4), "{bare:?}");
    let (cert, key) = (at("cert.pem"), at("key.pem"));
    let (with_pair, code) = report(dir, &[&words[..], &["--client-cert", &cert, "--client-key", &key]].concat());
    assert_eq!((wrong(&with_pair), code), (vec![], 0), "{with_pair:?}");

    // The name of the address counts, whatever the certificate has besides.
    let elsewhere = format!("127.0.0.2:{port}");
    let (misnamed, code) = report(dir, &[&OF_STATE[..], &["--address", &elsewhere]].concat());
    assert_eq!((wrong(&misnamed), code), (vec![(Question::Names, CheckOutcome::Fail)], 1), "{misnamed:?}");

    // A new certificate is stored, and dockerd goes on with the one that it has loaded.
    std::thread::sleep(Duration::from_millis(1100)); // notBefore is in whole seconds
    std::fs::remove_dir_all(&files)?;
    let again = ["up", "objects.yaml", "--once", "--timeout", "120s", "--state", "state"];
    assert!(Command::new(env!("CARGO_BIN_EXE_dockseal")).args(again).current_dir(dir).output()?.status.success());
    let (stale, code) = report(dir, &OF_STATE);
    assert_eq!((wrong(&stale), code), (vec![(Question::Stored, CheckOutcome::Fail)], 1), "{stale:?}");
    assert!(message(&stale, Question::Stored).contains("not restarted yet"), "{stale:?}");
    drop(dockerd);

    let (closed, code) = report(dir, &OF_STATE);
    assert_eq!((wrong(&closed), code), (vec![(Question::Port, CheckOutcome::Fail)], 1), "{closed:?}");
    assert!(message(&closed, Question::Port).contains("nobody listens"), "{closed:?}");
    Ok(())
}

#[test]
fn an_expired_certificate_and_another_authority_are_told() -> anyhow::Result<()> {
    let port = ports::free()?;
    let issued = host_at("127.0.0.1", port)?;
    let dir = issued.scratch().path();
    let profile = LeafProfile {
        common_name: "pandora.bodkys.house".into(),
        dns_names: vec!["pandora.bodkys.house".into()],
        ip_addresses: vec!["127.0.0.1".parse()?],
        usage: Usage::Server,
    };
    let old = issued.forge("old", &issued.authority()?, &profile, expired())?;
    let dockerd = serving(port, &old, &old.join("ca.pem"))?;
    let (report_, code) = report(dir, &OF_STATE);
    let expected = vec![(Question::Expiry, CheckOutcome::Fail), (Question::Stored, CheckOutcome::Fail)];
    assert_eq!((wrong(&report_), code), (expected, 1), "{report_:?}");
    drop(dockerd);

    let other = host_at("127.0.0.1", port)?;
    let files = other.secret("pandora-docker-host");
    let dockerd = serving(port, &files, &files.join("ca.pem"))?;
    let (foreign, code) = report(dir, &OF_STATE);
    let expected = [Question::OurClient, Question::Chain, Question::Stored].map(|id| (id, CheckOutcome::Fail));
    // No client is accepted, so none gets an answer of Docker's.
    assert_eq!((wrong(&foreign), code), (expected.to_vec(), 1), "{foreign:?}");
    assert!(message(&foreign, Question::Chain).contains("same name and another key"), "{foreign:?}");
    drop(dockerd);

    // Ended within a month, and not renewed.
    let soon = issued.forge("soon", &issued.authority()?, &profile, now_for_days(20))?;
    let _dockerd = serving(port, &soon, &soon.join("ca.pem"))?;
    let trust = soon.join("ca.pem").display().to_string();
    let (warned, code) = report(dir, &["--file", &trust, "--address", &format!("127.0.0.1:{port}")]);
    let expected = vec![(Question::OurClient, CheckOutcome::Unknown), (Question::Expiry, CheckOutcome::Warning)];
    assert_eq!((wrong(&warned), code), (expected, 4), "{warned:?}");
    Ok(())
}

/// A dockerd with flags of its own, for what Dockseal would never make.
struct CustomDockerd {
    child: Child,
    _dir: Scratch,
}

impl CustomDockerd {
    fn start(flags: &[&str], until: &str) -> anyhow::Result<CustomDockerd> {
        let dir = Scratch::new("loose")?;
        dir.write("daemon.json", "{}")?;
        let at = |name: &str| dir.path().join(name).display().to_string();
        let child = Command::new("dockerd")
            .args(["--config-file", &at("daemon.json"), "--data-root", &at("data"), "--exec-root", &at("exec")])
            .args(["-p", &at("pid"), "--bridge=none", "--iptables=false", "--storage-driver=vfs"])
            .args(["-H", &format!("unix://{}", at("docker.sock"))])
            .args(flags)
            .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH")?))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log"))?)
            .spawn()?;
        let mut loose = CustomDockerd { child, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(120);
        while !std::fs::read_to_string(loose._dir.path().join("log"))?.contains(until) {
            anyhow::ensure!(loose.child.try_wait()?.is_none() && Instant::now() < deadline, "dockerd does not listen");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(loose)
    }
}

impl Drop for CustomDockerd {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[test]
fn tls_without_verification_lets_everybody_in_and_so_does_2375() -> anyhow::Result<()> {
    let (ip, port) = ("127.23.76.1", ports::free()?);
    let issued = host_at(ip, port)?;
    let dir = issued.scratch().path();
    let files = issued.secret("pandora-docker-host");
    let (cert, key) = (files.join("cert.pem").display().to_string(), files.join("key.pem").display().to_string());
    let listen = format!("tcp://{ip}:{port}");
    let tls = ["-H", &listen, "--tls=true", "--tlsverify=false", "--tlscert", &cert, "--tlskey", &key];
    let dockerd = CustomDockerd::start(&tls, &format!("API listen on {ip}"))?;
    let (open, code) = report(dir, &OF_STATE);
    let expected =
        [Question::NoCertificate, Question::SelfSigned, Question::OtherAuthority].map(|id| (id, CheckOutcome::Fail));
    assert_eq!((wrong(&open), code), (expected.to_vec(), 1), "{open:?}");
    drop(dockerd);

    let _plain = CustomDockerd::start(&["-H", &format!("tcp://{ip}:2375")], &format!("API listen on {ip}"))?;
    let _docker = DockerLike::start_on(&[format!("{ip}:{port}").parse()?], &material(&files)?)?;
    let (beside, code) = report(dir, &OF_STATE);
    assert_eq!((wrong(&beside), code), (vec![(Question::PlainPort, CheckOutcome::Fail)], 1), "{beside:?}");
    let (plain, code) = report(dir, &[&OF_STATE[..], &["--address", &format!("{ip}:2375")]].concat());
    assert_eq!((message(&plain, Question::PlainHttp), code), ("plain HTTP is answered (HTTP/1.0 200 OK)", 1));
    for id in [Question::NoCertificate, Question::SelfSigned, Question::OurClient] {
        assert!(wrong(&plain).contains(&(id, CheckOutcome::Fail)), "{plain:?}");
    }
    Ok(())
}

fn material(files: &Path) -> anyhow::Result<Material> {
    let read = |name: &str| std::fs::read_to_string(files.join(name));
    Ok(Material { chain: read("cert.pem")?, key: read("key.pem")?, clients: read("ca.pem")? })
}

/// OpenSSL still speaks what rustls and Go never did.
#[test]
fn tls_1_0_and_1_1_are_told_where_they_are_spoken() -> anyhow::Result<()> {
    let issued = host_at("127.0.0.1", ports::free()?)?;
    let files = issued.secret("pandora-docker-host");
    for (flag, words) in [("-tls1", "TLS 1.0 is spoken"), ("-tls1_1", "TLS 1.1 is spoken")] {
        let port = ports::free()?;
        let mut server = Command::new("openssl")
            .args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-www", flag])
            .args(["-cipher", "ALL:@SECLEVEL=0", "-cert"])
            .arg(files.join("cert.pem"))
            .arg("-key")
            .arg(files.join("key.pem"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let deadline = Instant::now() + Duration::from_secs(90);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        let (old, code) =
            report(issued.scratch().path(), &[&OF_STATE[..], &["--address", &format!("127.0.0.1:{port}")]].concat());
        server.kill()?;
        server.wait()?;
        assert_eq!(code, 1);
        assert!(message(&old, Question::TlsVersions).starts_with(words), "{flag}: {old:?}");
    }
    Ok(())
}

#[test]
fn what_is_asked_wrongly_ends_with_its_code() -> anyhow::Result<()> {
    let issued = host_at("127.0.0.1", 1)?;
    let dir = issued.scratch().path();
    let code = |words: &[&str]| verify(dir, words).status.code();
    assert_eq!(code(&["nobody", "--state", "state"]), Some(3));
    assert_eq!(code(&["pandora", "--state", "state", "--client", "nobody"]), Some(3));
    assert_eq!(code(&[]), Some(2));
    assert_eq!(code(&["pandora", "--state", "state", "--address", "a b:1"]), Some(2));
    assert_eq!(code(&["--file", "objects.yaml"]), Some(2));
    assert_eq!(code(&["--file", "objects.yaml", "--address", "127.0.0.1:1"]), Some(1));
    Ok(())
}

/// A bundle is read block by block, and a file that is none is called what it is.
#[test]
fn a_file_that_cannot_be_read_is_called_what_it_is() -> anyhow::Result<()> {
    let scratch = Scratch::new("odd-files")?;
    scratch.run(
        "umask 077; for name in ca two; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
         -keyout $name.key -out $name.pem -subj /CN=$name -days 9 2>/dev/null; done
openssl x509 -in ca.pem -outform DER -out ca.der; openssl ec -in ca.key -aes256 -passout pass:x -out locked.key 2>/dev/null
iconv -t UTF-16 ca.pem >wide.pem; printf 'M\\374ller\\n' | cat - ca.pem >latin1.pem
sed '3s/./!/' two.pem | cat - ca.pem >damaged.pem; sed '3s/./!/' two.pem >broken.pem; : >empty.pem",
    )?;
    let pair = |key: &'static str| ["--client-cert", "ca.pem", "--client-key", key];
    let no_pair: [&str; 0] = [];
    for (file, pair, reaches_the_port, words) in [
        ("ca.pem", no_pair.to_vec(), true, ""),
        ("latin1.pem", no_pair.to_vec(), true, ""),
        ("damaged.pem", no_pair.to_vec(), true, "damaged.pem: block 1 (CERTIFICATE) is damaged: the text between"),
        ("broken.pem", no_pair.to_vec(), false, "holds no certificate in PEM: block 1 (CERTIFICATE) is damaged"),
        ("ca.der", no_pair.to_vec(), false, "openssl x509 -inform DER -in ca.der -out ca.pem"),
        ("wide.pem", no_pair.to_vec(), false, "it is text in UTF-16"),
        ("empty.pem", no_pair.to_vec(), false, "it is an empty file"),
        ("ca.key", no_pair.to_vec(), false, "holds no certificate in PEM"),
        ("ca.pem", pair("ca.key").to_vec(), true, ""),
        ("ca.pem", pair("locked.key").to_vec(), false, "the private key is encrypted, and Docker's clients ask for"),
        ("ca.pem", pair("ca.der").to_vec(), false, "it is a certificate in DER"),
    ] {
        let words_given = [&["--file", file, "--address", "127.0.0.1:1"], pair.as_slice()].concat();
        let said = verify(scratch.path(), &words_given);
        let (out, err) = (String::from_utf8(said.stdout)?, String::from_utf8(said.stderr)?);
        assert_eq!(!out.is_empty(), reaches_the_port, "{words_given:?}: {out}{err}");
        assert!(err.contains(words) && err.is_empty() == words.is_empty(), "{words_given:?}: {err}");
        assert!(
            !err.contains("mend") && !err.contains("Secret") && !err.contains("valid UTF-8"),
            "{words_given:?}: {err}"
        );
    }
    Ok(())
}
