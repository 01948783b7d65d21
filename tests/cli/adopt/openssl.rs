//! A how-to's directory: what is made of it, what is said of it, and whether old and new clients reach old and new hosts.

use super::{CommandOutput, dockseal};
use crate::support::dockerd::Dockerd;
use crate::support::scratch::Scratch;
use std::path::{Path, PathBuf};

/// A how-to: the names that it gives to its files.
struct HowTo {
    ca_key: &'static str,
    ca: &'static str,
    server_key: &'static str,
    server: &'static str,
    client_key: &'static str,
    client: &'static str,
    bits: u32,
}

const HOW_TOS: [HowTo; 3] = [
    HowTo {
        ca_key: "ca-key.pem",
        ca: "ca.pem",
        server_key: "server-key.pem",
        server: "server-cert.pem",
        client_key: "key.pem",
        client: "cert.pem",
        bits: 4096,
    },
    HowTo {
        ca_key: "ca.key",
        ca: "ca.crt",
        server_key: "pandora.key",
        server: "pandora.crt",
        client_key: "portainer.key",
        client: "portainer.crt",
        bits: 2048,
    },
    HowTo {
        ca_key: "ca-key-docker_api.pem",
        ca: "ca-docker_api.pem",
        server_key: "server-key-docker_api.pem",
        server: "server-cert-docker_api.pem",
        client_key: "key-docker_api.pem",
        client: "cert-docker_api.pem",
        bits: 2048,
    },
];

impl HowTo {
    /// Its commands, one after the other.
    fn follow(&self, scratch: &Scratch) -> anyhow::Result<()> {
        let HowTo { ca_key, ca, server_key, server, client_key, client, bits } = self;
        scratch.run(&format!(
            "umask 077
openssl genrsa -aes256 -passout pass:old-pass -out {ca_key} {bits}
openssl req -new -x509 -days 365 -key {ca_key} -passin pass:old-pass -sha256 -out {ca} \
  -subj '/C=DE/ST=Saarland/L=SB/O=Bodky/OU=IT/CN=Docker CA/emailAddress=admin@bodkys.house'
openssl genrsa -out {server_key} 2048
openssl req -subj /CN=pandora.bodkys.house -sha256 -new -key {server_key} -out server.csr
echo 'subjectAltName = DNS:pandora.bodkys.house,DNS:docker.bodkys.house,IP:192.168.1.7,IP:127.0.0.1' >extfile.cnf
echo 'extendedKeyUsage = serverAuth' >>extfile.cnf
openssl x509 -req -days 365 -sha256 -in server.csr -CA {ca} -CAkey {ca_key} -passin pass:old-pass \
  -CAcreateserial -out {server} -extfile extfile.cnf
openssl genrsa -out {client_key} 2048
openssl req -subj /CN=client -new -key {client_key} -out client.csr
echo 'extendedKeyUsage = clientAuth' >extfile-client.cnf
openssl x509 -req -days 365 -sha256 -in client.csr -CA {ca} -CAkey {ca_key} -passin pass:old-pass \
  -CAcreateserial -out {client} -extfile extfile-client.cnf"
        ))?;
        Ok(())
    }
}

/// What is said of an authority of `openssl req -x509`.
fn no_key_usage(path: &str) -> String {
    format!(
        "note      {path}: it has no keyUsage, and strict verifiers such as Python 3.13's refuse that: Dockseal makes a \
         further certificate with the same key at once\n"
    )
}

fn adopt(scratch: &Scratch, words: &[&str]) -> CommandOutput {
    dockseal(scratch.path(), &[&["adopt", "--openssl", "made"], words].concat(), &[])
}

/// A directory `made`, with a how-to followed in it.
fn followed(how_to: &HowTo) -> anyhow::Result<(Scratch, PathBuf)> {
    let scratch = Scratch::new("takeover")?;
    scratch.run("mkdir made")?;
    let inner = Scratch::new("how-to")?;
    how_to.follow(&inner)?;
    scratch.run(&format!("cp -p {}/* made/", inner.path().display()))?;
    scratch.write("pass", "old-pass\n")?;
    let made = scratch.path().join("made");
    Ok((scratch, made))
}

#[test]
fn each_how_to_is_taken_over_and_old_and_new_clients_reach_old_and_new_hosts() -> anyhow::Result<()> {
    for how_to in &HOW_TOS {
        let (scratch, made) = followed(how_to)?;
        let before = scratch.run("cd made; ls -l --time-style=full-iso; sha256sum *")?;
        let said = adopt(&scratch, &["--passphrase-file", "pass"]);
        assert_eq!((said.code, said.err.as_str()), (0, no_key_usage(how_to.ca).as_str()), "{}", how_to.ca_key);
        assert_eq!(scratch.run("cd made; ls -l --time-style=full-iso; sha256sum *")?, before, "nothing is changed");
        scratch.write("adopted.yaml", &said.out)?;
        let up = ["up", "adopted.yaml", "--once", "--timeout", "120s", "--state", "state"];
        let up = dockseal(scratch.path(), &up, &[]);
        assert_eq!(up.code, 0, "{}\n{}", up.err, said.out);

        let new = |name: &str| scratch.path().join("state/secrets/default").join(name);
        let (new_host, new_client) = (new("pandora-docker-host"), new("client-docker-client"));
        scratch.run(&format!(
            "mkdir old; cp made/{} old/ca.pem; cp made/{} old/cert.pem; cp made/{} old/key.pem",
            how_to.ca, how_to.client, how_to.client_key
        ))?;
        let old_client = scratch.path().join("old");
        let files = ["cert.pem", "key.pem", "ca.pem"].map(|file| new_host.join(file));
        let host = Dockerd::start(&files[0], &files[1], &files[2])?;
        host.serves(&old_client)?;
        host.serves(&new_client)?;
        drop(host);
        let files = [how_to.server, how_to.server_key, how_to.ca].map(|file| made.join(file));
        let host = Dockerd::start(&files[0], &files[1], &files[2])?;
        host.serves(&old_client)?;
        host.serves(&new_client)?;
        let names = scratch
            .run(&format!("openssl x509 -in {} -noout -ext subjectAltName", new_host.join("cert.pem").display()))?;
        let wanted = "DNS:pandora.bodkys.house, DNS:docker.bodkys.house, IP Address:192.168.1.7, IP Address:127.0.0.1";
        assert!(names.contains(wanted), "{names}");
        renewed_the_old_go_on(&scratch, &said.out, &new_host, &[&old_client, &new_client])?;
        // The authority goes on with its own key, encrypted as it was.
        let ca = new("docker-ca-docker-ca");
        let key = |file: &str| format!("openssl pkey -in {file} -passin pass:old-pass -pubout");
        let kept = scratch.run(&key(&ca.join("tls.key").display().to_string()))?;
        assert_eq!(kept, scratch.run(&key(&format!("made/{}", how_to.ca_key)))?);
    }
    Ok(())
}

/// Renewed, by the same authority, host and clients still know each other.
fn renewed_the_old_go_on(scratch: &Scratch, adopted: &str, host: &Path, clients: &[&Path]) -> anyhow::Result<()> {
    let serial = || scratch.run(&format!("openssl x509 -in {} -noout -serial", host.join("cert.pem").display()));
    let before = serial()?;
    let now = scratch.run("date -u +%FT%TZ")?;
    let mut yaml = adopted.to_owned();
    for kind in ["DockerHostCert", "DockerClientCert"] {
        let metadata = format!("kind: {kind}\nmetadata:\n");
        anyhow::ensure!(yaml.contains(&metadata), "{kind}: {yaml}");
        let asked = format!("{metadata}  annotations: {{dockseal.dev/renew-requested-at: \"{}\"}}\n", now.trim());
        yaml = yaml.replace(&metadata, &asked);
    }
    scratch.write("renewed.yaml", &yaml)?;
    let up = dockseal(scratch.path(), &["up", "renewed.yaml", "--once", "--timeout", "120s", "--state", "state"], &[]);
    assert_eq!(up.code, 0, "{}", up.err);
    assert_ne!(serial()?, before, "it was not renewed");
    let files = ["cert.pem", "key.pem", "ca.pem"].map(|file| host.join(file));
    let dockerd = Dockerd::start(&files[0], &files[1], &files[2])?;
    clients.iter().try_for_each(|client| dockerd.serves(client))
}

/// A small directory, made quickly: an authority on P-256 and what a test adds.
fn quick(script: &str) -> anyhow::Result<Scratch> {
    let scratch = Scratch::new("quick")?;
    scratch.run(&format!(
        "mkdir made; cd made; umask 077
ca() {{ openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout \"$1.key\" -out \"$1.pem\" \
  -subj \"/CN=$2\" -days 365 2>/dev/null; }}
leaf() {{ openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout \"$1.key\" -out \"$1.csr\" \
  -subj \"/CN=$2\" 2>/dev/null; printf \"$3\" >\"$1.ext\"; openssl x509 -req -in \"$1.csr\" -CA ca.pem -CAkey ca.key \
  -CAcreateserial -extfile \"$1.ext\" -out \"$1.pem\" -days \"${{4:-365}}\" 2>/dev/null; }}
ca ca 'Docker CA'
{script}"
    ))?;
    Ok(scratch)
}

#[test]
fn what_is_insecure_is_said_and_what_is_not_is_not() -> anyhow::Result<()> {
    let server = "subjectAltName=DNS:pandora\\nextendedKeyUsage=serverAuth\\n";
    let said = |script: &str| -> anyhow::Result<CommandOutput> { Ok(adopt(&quick(script)?, &[])) };
    let sound = said(&format!("leaf server pandora '{server}'; leaf cert ci 'extendedKeyUsage=clientAuth\\n'"))?;
    let own = "insecure  ca.key: the authority's private key is not encrypted: anyone who reads the file can sign \
               for every host; spec.passphraseSecretRef makes Dockseal keep it encrypted\n";
    assert_eq!((sound.code, sound.err), (0, own.to_owned() + &no_key_usage("ca.pem")));
    assert!(
        sound.out.contains("kind: DockerHostCert") && sound.out.contains("kind: DockerClientCert"),
        "{}",
        sound.out
    );
    for (script, words) in [
        ("leaf server pandora 'subjectAltName=DNS:pandora\\n'", "server.pem: no extended key usage"),
        (
            "leaf server pandora 'subjectAltName=DNS:pandora\\nextendedKeyUsage=serverAuth,clientAuth\\n'",
            "server.pem: clientAuth beside",
        ),
        ("leaf server pandora 'extendedKeyUsage=serverAuth\\n'", "server.pem: a common name and no subjectAltName"),
        ("leaf server pandora 'extendedKeyUsage=serverAuth\\n' 3650", "server.pem: valid for 3650 days"),
        ("leaf cert ci 'extendedKeyUsage=clientAuth,serverAuth\\n'", "cert.pem: serverAuth beside clientAuth"),
        (
            "leaf cert ci 'extendedKeyUsage=clientAuth\\n'; chmod 644 cert.key",
            "cert.key: a private key that others on this machine can read (mode 0644)",
        ),
        (
            "leaf cert ci 'extendedKeyUsage=clientAuth\\n'; openssl x509 -req -sha1 -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile cert.ext -out cert.pem 2>/dev/null",
            "cert.pem: signed with SHA-1",
        ),
        (
            "leaf cert ci 'extendedKeyUsage=clientAuth\\n'; openssl req -new -newkey rsa:1024 -nodes -keyout cert.key -out cert.csr -subj /CN=ci 2>/dev/null; openssl x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile cert.ext -out cert.pem 2>/dev/null",
            "cert.pem: an RSA key of 1024 bits",
        ),
        (
            "leaf cert ci 'extendedKeyUsage=clientAuth\\n'; openssl req -new -key cert.key -out b.csr -subj /CN=b; openssl x509 -req -in b.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile cert.ext -out b.pem 2>/dev/null",
            "same private key as",
        ),
    ] {
        let said = said(script)?;
        assert_eq!(said.code, 0, "{script}: {}", said.err);
        assert!(
            said.err.lines().any(|line| line.starts_with("insecure ") && line.contains(words)),
            "{script}: {}",
            said.err
        );
    }
    Ok(())
}

#[test]
fn what_cannot_be_taken_over_says_why() -> anyhow::Result<()> {
    let server = "leaf server pandora 'subjectAltName=DNS:pandora\\nextendedKeyUsage=serverAuth\\n'";
    for (script, code, words) in [
        (format!("{server}; rm ca.key"), 1, "left out  ca.pem: the private key of"),
        (
            format!("{server}; ca other Other; mv other.key ca.key; rm other.pem"),
            1,
            "left out  ca.pem: the private key of",
        ),
        (
            "openssl req -x509 -key ca.key -subj /CN=ca -days 3 -sha1 -out ca.pem".into(),
            1,
            "left out  ca.pem: CN=ca: it is signed with SHA-1",
        ),
        (
            "openssl req -x509 -key ca.key -subj /CN=ca -days 3 -addext keyUsage=digitalSignature -out ca.pem".into(),
            1,
            "no keyCertSign",
        ),
        (
            format!("{server}; ca ca Another"),
            0,
            "left out  server.pem: it is signed by CN=Docker CA, which is not adopted",
        ),
        (
            format!("{server}; mkdir old; mv server.pem server.key old/; {server} 400"),
            0,
            "left out  old/server.pem: there is a newer certificate",
        ),
        (
            format!("{server}; echo subjectAltName=DNS:pandora,DNS:later >extfile.cnf"),
            0,
            "note      extfile.cnf: it names later, which no",
        ),
        (
            format!("{server}; openssl x509 -in ca.pem -outform DER -out ca.der; rm ca.pem"),
            1,
            "left out  ca.der: it is a certificate in DER, and PEM is needed: openssl x509 -inform DER -in ca.der -out ca.pem",
        ),
        (
            format!("{server}; openssl pkcs12 -export -in server.pem -inkey server.key -passout pass:x -out nas.p12"),
            0,
            "left out  nas.p12: it is a PKCS#12 file (.p12, .pfx), and PEM is needed: openssl pkcs12 -in nas.p12",
        ),
        (
            format!("{server}; openssl crl2pkcs7 -nocrl -certfile server.pem -out nas.p7b"),
            0,
            "left out  nas.p7b: it is a PKCS#7 file",
        ),
        (
            format!("{server}; iconv -f UTF-8 -t UTF-16 server.pem >nas.pem; rm server.pem"),
            0,
            "left out  nas.pem: it is text in UTF-16",
        ),
        (
            format!("{server}; sed -i '3s/./!/' server.pem"),
            0,
            "left out  server.pem: block 1 (CERTIFICATE) is damaged: the text between BEGIN and END",
        ),
        (
            format!("{server}; head -n 3 server.pem >nas.pem"),
            0,
            "left out  nas.pem: block 1 (CERTIFICATE) is damaged: it has no END line",
        ),
        (format!("{server}; ln -s gone.pem nas.pem"), 0, "left out  nas.pem: it is a link to a file that is not there"),
        (format!("{server}; head -c 2000000 /dev/zero >nas.pem"), 0, "left out  nas.pem: it is larger than 1 MiB"),
        (
            "cat ca.pem >>ca.key; ca b B; cat b.key >>ca.key".into(),
            0,
            "left out  ca.key: ca.key holds more than the authority's key",
        ),
    ] {
        let scratch = quick(&script)?;
        let said = adopt(&scratch, &[]);
        assert_eq!(said.code, code, "{script}: {}", said.err);
        assert!(said.err.contains(words), "{script}: {}", said.err);
        assert_eq!(said.out.is_empty(), code == 1, "{script}");
    }
    let empty = Scratch::new("empty")?;
    empty.run("mkdir made; echo words >made/README; openssl genrsa -out made/key.pem 2048 2>/dev/null")?;
    assert_eq!(adopt(&empty, &[]).code, 3);
    assert_eq!(dockseal(empty.path(), &["adopt", "--openssl", "nowhere"], &[]).code, 3);
    assert_eq!(dockseal(empty.path(), &["adopt"], &[]).code, 2);
    Ok(())
}

#[test]
fn a_passphrase_is_never_said_and_has_its_place() -> anyhow::Result<()> {
    let scratch = quick("openssl ec -in ca.key -aes256 -passout pass:old-pass -out locked.key 2>/dev/null; rm ca.key")?;
    scratch.write("pass", "old-pass\n")?;
    scratch.write("wrong", "new-pass\n")?;
    let given = adopt(&scratch, &["--passphrase-file", "pass", "--name", "homelab"]);
    assert_eq!((given.code, given.err), (0, no_key_usage("ca.pem")));
    assert!(given.out.contains("old-pass") && given.out.contains("name: homelab\n"), "{}", given.out);
    // Without a terminal nobody is asked: the manifests are made, and the user has to put the passphrase in.
    let none = adopt(&scratch, &[]);
    assert_eq!(none.code, 0);
    assert!(none.err.contains("locked.key: the private key is encrypted, and was not opened"), "{}", none.err);
    assert!(none.out.contains("PUT-THE-PASSPHRASE-HERE") && !none.out.contains("old-pass"), "{}", none.out);
    let wrong = adopt(&scratch, &["--passphrase-file", "wrong"]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("locked.key: the passphrase does not open the private key"), "{}", wrong.err);
    assert!(!wrong.err.contains("new-pass"));
    // On a terminal it is asked for, and not printed.
    let program = env!("CARGO_BIN_EXE_dockseal");
    let typed =
        format!("(sleep 2; echo old-pass; sleep 2) | script -qec '{program} adopt --openssl made >out 2>err' screen");
    scratch.run(&typed)?;
    let out = std::fs::read_to_string(scratch.path().join("out"))?;
    let err = std::fs::read_to_string(scratch.path().join("err"))?;
    let screen = std::fs::read_to_string(scratch.path().join("screen"))?;
    assert!(screen.contains("Passphrase of locked.key: ") && !screen.contains("old-pass"), "{screen}");
    assert!(out.contains("PUT-THE-PASSPHRASE-HERE") && !out.contains("old-pass"), "{out}");
    assert!(!err.contains("was not opened") && err.contains("put the passphrase of locked.key where"), "{err}");
    Ok(())
}

/// What a manifest says is what `up` reads: names that YAML would take for something else are quoted.
#[test]
fn names_stay_texts() -> anyhow::Result<()> {
    let scratch = quick(
        "leaf a 1234 'subjectAltName=DNS:1234,DNS:*.bodkys.house,IP:fd00::7\\nextendedKeyUsage=serverAuth\\n'
leaf b yes 'extendedKeyUsage=clientAuth\\n'; leaf c 192.168.1.9 'subjectAltName=IP:192.168.1.9\\nextendedKeyUsage=serverAuth\\n'
leaf d ca 'subjectAltName=DNS:ca\\nextendedKeyUsage=serverAuth\\n'",
    )?;
    let said = adopt(&scratch, &[]);
    scratch.write("adopted.yaml", &said.out)?;
    let up = ["up", "adopted.yaml", "--once", "--timeout", "120s", "--state", "state"];
    let up = dockseal(scratch.path(), &up, &[]);
    assert_eq!(up.code, 0, "{}\n{}", up.err, said.out);
    let secrets = scratch.run("ls state/secrets/default")?;
    for name in ["1234-docker-host", "yes-docker-client", "host-192-168-1-9-docker-host", "ca-host-docker-host"] {
        assert!(secrets.lines().any(|line| line == name), "{name}: {secrets}");
    }
    let names =
        scratch.run("openssl x509 -in state/secrets/default/1234-docker-host/cert.pem -noout -ext subjectAltName")?;
    let wanted = "DNS:1234, DNS:*.bodkys.house, IP Address:FD00:0:0:0:0:0:0:7, IP Address:127.0.0.1";
    assert!(names.contains(wanted), "{names}");
    Ok(())
}
