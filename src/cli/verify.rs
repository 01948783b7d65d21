//! `dockseal verify`: a host's object and Secrets, or files, and a live address; verdicts on standard output.

use super::args::{VerdictForm, VerifyArgs};
use super::exit::{CliError, Exit};
use super::object_arg::Reference;
use super::output::{Colour, Output};
use super::progress::with_progress;
use super::source::{Source, block_on};
use crate::adapters::Clock;
use crate::adapters::disk::atomic_files;
use crate::adapters::docker::scan::scan;
use crate::adapters::net::tls_client::ClientKeyPair;
use crate::adapters::terminal::printable;
use crate::api::{Kind, Object, Spec};
use crate::decide::leaf::desired;
use crate::decide::registration::desired::dialled;
use crate::decide::verify::{Check, CheckOutcome, Client, HostFacts, VerifyReport, judge, renewal, report::schema};
use crate::pki::material::Data;
use crate::pki::{Certificate, KeyError, PrivateKey, TrustBundle, certificate, file_kind};
use anyhow::{Context, bail};
use k8s_openapi::jiff::Timestamp;
use std::path::Path;
use std::process::ExitCode;

const DOCKER_PORT: u16 = 2376;

pub fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    if args.schema {
        Output::standard().print(&schema())?;
        return Ok(Exit::Done.into());
    }
    let address = args.address.as_deref().map(parse_address).transpose()?;
    let clock = Clock::system();
    let report = block_on(async {
        let question = match &args.file {
            Some(file) => of_files(file, args, address.clone())?,
            None => of_host(args, address.clone(), clock.now()).await?,
        };
        Ok(asked(&question, &clock).await)
    })?;
    print(&report, args.output)?;
    Ok(exit(report.result).into())
}

/// The exit code of the worst verdict.
fn exit(result: CheckOutcome) -> Exit {
    match result {
        CheckOutcome::Ok => Exit::Done,
        CheckOutcome::Unknown | CheckOutcome::Warning => Exit::NotReady,
        CheckOutcome::Fail => Exit::Failed,
    }
}

/// What is scanned, and what is expected of it.
struct VerifyTarget {
    known: HostFacts,
    address: (String, u16),
    trust_pem: Option<Vec<u8>>,
    client: Option<ClientKeyPair>,
}

async fn asked(question: &VerifyTarget, clock: &Clock) -> VerifyReport {
    let (host, port) = (question.address.0.as_str(), question.address.1);
    let scan = scan((host, port), question.trust_pem.as_deref(), question.client.as_ref(), clock);
    let visited = with_progress(&format!("{host}, port {port}"), scan).await;
    judge(&question.known, &visited, clock.now())
}

/// `HOST:PORT`, `HOST`, `[IPV6]:PORT` or an IPv6 address alone.
fn parse_address(text: &str) -> anyhow::Result<(String, u16)> {
    let wrong = || CliError::usage(format!("{text:?} is not an address: write HOST:PORT, an IPv6 address in brackets"));
    let text = text.strip_prefix("tcp://").unwrap_or(text).trim_end_matches('/');
    let bare = text.ends_with(']') || text.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !bare => (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
        _ => (text, DOCKER_PORT),
    };
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    let plain = |letter: char| letter.is_alphanumeric() || ".-_:%".contains(letter);
    match !host.is_empty() && host.chars().all(plain) {
        true => Ok((host.to_owned(), port)),
        false => Err(wrong()),
    }
}

fn of_files(file: &Path, args: &VerifyArgs, address: Option<(String, u16)>) -> anyhow::Result<VerifyTarget> {
    let trust = trust_of(file)?;
    let client = match (&args.client_cert, &args.client_key) {
        (Some(cert), Some(key)) => Some((cert, client_pair(cert, key)?)),
        _ => None,
    };
    let (named, client) = match client {
        Some((path, (found, pair))) => (Client::Known(path.display().to_string(), Box::new(found)), Some(pair)),
        None => (Client::None("none is given with --client-cert and --client-key".to_owned()), None),
    };
    let trust_pem = Some(trust.to_pem().into_bytes());
    let trust = trust.certificates().to_vec();
    Ok(VerifyTarget {
        known: HostFacts {
            host: None,
            trust,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            stored: None,
            renewal: None,
            client: named,
        },
        address: address.expect("--file requires --address"),
        trust_pem,
        client,
    })
}

/// The certificates in a file. What cannot be read in it is said, and the others count: Docker does the same in silence.
fn trust_of(file: &Path) -> anyhow::Result<TrustBundle> {
    let (bytes, name) = (atomic_files::read_bytes(file)?, file.display().to_string());
    let (readable, unreadable) = file_kind::read_certificates(&name, &bytes);
    let trust = TrustBundle::new(readable);
    match (trust.certificates().is_empty(), unreadable.first()) {
        (true, Some(why)) => bail!("{name} holds no certificate in PEM: {}", printable(why)),
        (true, None) => bail!("{name} holds no certificate in PEM"),
        (false, _) => unreadable.iter().for_each(|why| {
            eprintln!("dockseal: {name}: {}; Docker passes over it without a word", printable(why));
        }),
    }
    Ok(trust)
}

/// The client's certificate and key in two files.
fn client_pair(cert_file: &Path, key_file: &Path) -> anyhow::Result<(Certificate, ClientKeyPair)> {
    let (cert, key) = (atomic_files::read_bytes(cert_file)?, atomic_files::read_bytes(key_file)?);
    let because = |file: &Path, bytes: &[u8], error: &dyn std::fmt::Display| {
        let (name, error) = (file.display().to_string(), error.to_string());
        let why = file_kind::unreadable(&name, bytes).into_iter().next().unwrap_or(error);
        anyhow::anyhow!("{name}: {}", printable(&why))
    };
    let found = Certificate::from_pem(&cert).map_err(|error| because(cert_file, &cert, &error))?;
    if let Err(error) = PrivateKey::from_pem(&key, None) {
        return Err(match error {
            KeyError::PassphraseNeeded => {
                let name = key_file.display();
                anyhow::anyhow!(
                    "{name}: the private key is encrypted, and Docker's clients ask for no passphrase: \
                     openssl pkey -in {name} -out NEW.key, in a directory that nobody else reads"
                )
            }
            error => because(key_file, &key, &error),
        });
    }
    Ok((found, ClientKeyPair { cert: cert.to_vec(), key: key.to_vec().into() }))
}

async fn of_host(args: &VerifyArgs, address: Option<(String, u16)>, now: Timestamp) -> anyhow::Result<VerifyTarget> {
    let source = with_progress("the cluster", Source::open(&args.source)).await?;
    let reference = Reference::parse(args.host.as_deref().unwrap_or_default())?;
    let host = source.object(&reference, &[Kind::DockerHostCert]).await?;
    let wanted = desired(&host).map_err(|problem| CliError::not_ready(format!("{}: {}", host.at, problem.message)))?;
    let Spec::Host(spec) = &host.spec else { unreachable!("a DockerHostCert has a host's spec") };
    let address = address.or_else(|| dialled(spec)).context("the DockerHostCert names no address: give --address")?;
    let secret = noted(source.secret(&host).await);
    let (client, pair, bundle) = match client(&source, &host, args.client.as_deref(), now).await? {
        Some((name, found, data)) => {
            let client = Client::Known(name, Box::new(found));
            (client, pair(&data), data.get("ca.crt").map(<[u8]>::to_vec))
        }
        None => {
            let authority = host.authority().expect("a leaf has an authority");
            (Client::None(format!("there is none of DockerCA {authority}")), None, None)
        }
    };
    let stored = secret.as_ref().and_then(|data| Certificate::from_pem(data.get("tls.crt")?).ok());
    let trust_pem = secret.as_ref().and_then(|data| data.get("ca.crt").map(<[u8]>::to_vec)).or(bundle);
    let trust = trust_pem.as_deref().and_then(|pem| certificate::all_from_pem(pem).ok()).unwrap_or_default();
    let renewal = stored.as_ref().map(|stored| renewal(&wanted, stored, &trust, now));
    Ok(VerifyTarget {
        known: HostFacts {
            host: Some((host.at.namespace.to_string(), host.at.name.to_string())),
            trust,
            dns_names: wanted.profile.dns_names,
            ip_addresses: wanted.profile.ip_addresses,
            stored,
            renewal,
            client,
        },
        address,
        trust_pem,
        client: pair,
    })
}

/// A Secret that cannot be read leaves some checks unknown; the others are done all the same.
fn noted(secret: anyhow::Result<Data>) -> Option<Data> {
    secret.inspect_err(|error| eprintln!("dockseal: {error:#}")).ok()
}

fn pair(data: &Data) -> Option<ClientKeyPair> {
    Some(ClientKeyPair { cert: data.get("tls.crt")?.to_vec(), key: data.get("tls.key")?.to_vec().into() })
}

/// The client that is named, else the first valid one of the same authority.
async fn client(
    source: &Source,
    host: &Object,
    name: Option<&str>,
    now: Timestamp,
) -> anyhow::Result<Option<(String, Certificate, Data)>> {
    let kinds = [Kind::DockerClientCert, Kind::PortainerClient];
    if let Some(name) = name {
        let found = source.object(&Reference::parse(name)?, &kinds).await?;
        let data = source.secret(&found).await?;
        return Ok(Some(read_client(&found, data).with_context(|| format!("the Secret of {} is damaged", found.at))?));
    }
    let mut objects = source.objects(&kinds, None).await?;
    objects.retain(|object| object.at.namespace == host.at.namespace && object.authority() == host.authority());
    let mut ended = None;
    for object in &objects {
        let found = source.secret(object).await.ok().and_then(|data| read_client(object, data));
        match found {
            Some(found) if found.1.is_valid_at(now) => return Ok(Some(found)),
            found => ended = ended.or(found),
        }
    }
    Ok(ended)
}

fn read_client(object: &Object, data: Data) -> Option<(String, Certificate, Data)> {
    let certificate = Certificate::from_pem(data.get("tls.crt")?).ok()?;
    Some((format!("{}/{}", object.at.kind, object.at.name), certificate, data))
}

fn print(report: &VerifyReport, form: VerdictForm) -> anyhow::Result<()> {
    let output = Output::standard();
    let text = match form {
        VerdictForm::Json => serde_json::to_string_pretty(report)? + "\n",
        VerdictForm::Yaml => serde_saphyr::to_string(report)?,
        VerdictForm::Table | VerdictForm::Wide => lines(report, form, &output),
    };
    output.print(&text)
}

fn lines(report: &VerifyReport, form: VerdictForm, output: &Output) -> String {
    let mut text = match &report.host {
        Some(host) => format!("{host} at {}\n", report.address),
        None => format!("{}\n", report.address),
    };
    if let (VerdictForm::Wide, Some(served)) = (form, &report.served) {
        let served = [
            ("subject", &served.subject),
            ("issuer", &served.issuer),
            ("serial", &served.serial),
            ("fingerprint", &served.fingerprint),
        ];
        text.extend(served.iter().map(|(name, value)| format!("{:8} {name:<15} {}\n", "", printable(value))));
    }
    text.extend(report.checks.iter().map(|check| line(check, output)));
    text
}

/// A verdict, and below it the remedy.
fn line(check: &Check, output: &Output) -> String {
    let colour = match check.result {
        CheckOutcome::Ok => Some(Colour::Green),
        CheckOutcome::Fail => Some(Colour::Red),
        CheckOutcome::Warning => Some(Colour::Alarm),
        CheckOutcome::Unknown => None,
    };
    let word = output.coloured(&format!("{:<8}", check.result.word()), colour);
    let first = format!("{word} {:<15} {}\n", check.id.word(), printable(&check.message));
    match &check.remedy {
        Some(remedy) => format!("{first}{:25}> {remedy}\n", ""),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, host, port) in [
            ("pandora:2377", "pandora", 2377),
            ("pandora", "pandora", 2376),
            ("tcp://1.2.3.4:2376/", "1.2.3.4", 2376),
            ("[fd00::7]:1", "fd00::7", 1),
            ("fd00::7", "fd00::7", 2376),
            ("[fd00::7]", "fd00::7", 2376),
        ] {
            assert_eq!(parse_address(text).ok(), Some((host.to_owned(), port)), "{text}");
        }
        for text in ["", ":2376", "pandora:", "pandora:0", "pandora:70000", "a b:1", "user@host:1"] {
            let error = parse_address(text).expect_err(text);
            assert_eq!(crate::cli::exit::of(&error), Exit::Usage, "{text}");
        }
    }
}
