//! A delivery: what the Secret holds becomes files on this host, dockerd serves them, and what came of it is reported.
//! The same for a companion in a cluster, one outside, and `up --host`.

use super::daemon::{self, DAEMON_JSON};
use crate::api::AssignedHost;
use crate::api::condition::{ConditionType, Reason};
use crate::api::docker_host_cert::Mode;
use crate::api::status::CompanionStatus;
use crate::decide::delivery::files::{Shown, Step, plan};
use crate::decide::delivery::order::{Answer, Order, listens};
use crate::decide::delivery::report::{Outcome, delivered, report};
use crate::decide::delivery::restart::serving;
use crate::decide::delivery::{Material, material};
use crate::decide::status::Verdict;
use crate::docker::daemon_json::DaemonJson;
use crate::docker::listen::Listen;
use crate::docker::unit::BINARY;
use crate::pki::certificate::all_from_pem;
use crate::pki::lifecycle::saturating;
use crate::pki::material::Data;
use crate::pki::sign::self_signed_client;
use crate::pki::{Certificate, KeyAlgorithm};
use crate::world::daemon_host::Entry;
use crate::world::docker_probe::{self, Identity, Plain, Tls};
use crate::world::entropy::{KeyForge, serial};
use crate::world::host_files::{DeliveryError, Directory, Files, Generation, Over, Owner, PublicName, Seen};
use crate::world::systemd::Systemd;
use crate::world::{Clock, daemon_host};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Unit in which the step that works on dockerd runs.
const STEP_UNIT: &str = "dockseal-step.service";
/// So often another step may be in the way of ours.
const MOST_STEPS: usize = 5;
/// A client certificate of ours is good for as long as the files that it came with may lie about.
const PROBE_LIFE: SignedDuration = SignedDuration::from_hours(36_500 * 24);
/// What others may have changed without our being told is looked at so often.
const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// What failed for a reason that may pass is tried again.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// A host that is delivered to.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The DockerHostCert and its wishes.
    pub host: AssignedHost,
    /// What its Secret holds, where there is one.
    pub secret: Option<Arc<Data>>,
    /// Directories that may be delivered to.
    pub roots: Vec<PathBuf>,
    /// What was reported before.
    pub previous: CompanionStatus,
    /// This process runs in a container of the host's dockerd.
    pub contained: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Done {
    /// What is reported from now on.
    pub status: CompanionStatus,
    /// When to look again though nothing changes.
    pub wake: Timestamp,
}

/// Delivers. It fails in no other way than that the status says so.
pub async fn deliver(delivery: &Delivery, clock: &Clock, forge: &KeyForge) -> Done {
    let now = clock.now();
    let done = match delivery.host.removing {
        true => remove(delivery, clock).await,
        false => bring(delivery, clock, forge).await,
    };
    let (outcome, wake) = done.unwrap_or_else(|verdict| {
        let again = verdict.reason == Reason::DirectoryUnusable;
        let kept = kept(delivery);
        (Outcome { delivered: Some(verdict), ..kept }, again.then(|| saturating(now, AGAIN)))
    });
    let status = report(&outcome, &delivery.previous, delivery.host.generation, now);
    let look = saturating(now, LOOK_EVERY);
    Done { status, wake: wake.map_or(look, |wake| wake.min(look)) }
}

/// What is reported of a host that may not be delivered here; nothing is touched.
pub fn refuse(delivery: &Delivery, why: String, clock: &Clock) -> Done {
    let now = clock.now();
    let outcome = Outcome { delivered: Some(verdict(false, Reason::NotListed, why)), ..kept(delivery) };
    let status = report(&outcome, &delivery.previous, delivery.host.generation, now);
    Done { status, wake: saturating(now, LOOK_EVERY) }
}

/// What is in place though nothing new could be brought.
fn kept(delivery: &Delivery) -> Outcome {
    let host = &delivery.previous.host;
    Outcome {
        in_place: host.delivered_fingerprint.clone().zip(host.delivered_bundle.clone()),
        served: host.served_fingerprint.clone(),
        ..Outcome::default()
    }
}

fn verdict(holds: bool, reason: Reason, message: impl Into<String>) -> Verdict {
    Verdict::new(ConditionType::Delivered, holds, reason, message)
}

fn refusal(error: DeliveryError) -> Verdict {
    let reason = match error {
        DeliveryError::Taken(_) | DeliveryError::TakeOver { .. } => Reason::FileConflict,
        DeliveryError::Claimed { .. } => Reason::HostConflict,
        DeliveryError::Outside { .. } => Reason::NotListed,
        _ => Reason::DirectoryUnusable,
    };
    verdict(false, reason, error.to_string())
}

type Outcomes = Result<(Outcome, Option<Timestamp>), Verdict>;

async fn bring(delivery: &Delivery, clock: &Clock, forge: &KeyForge) -> Outcomes {
    match brought(delivery, clock, forge).await {
        Err(verdict) if delivery.host.delivery.mode == Mode::Daemon => still(delivery, verdict).await,
        outcome => outcome,
    }
}

/// Nothing can be brought: a door that stands open is closed all the same.
async fn still(delivery: &Delivery, verdict: Verdict) -> Outcomes {
    let Ok(answer) = ask(delivery, None, BTreeSet::new()).await else { return Err(verdict) };
    match answer.reason() {
        Reason::ExposedByOthers | Reason::ExposureClosed => {
            let serving = Some(daemon::verdict(&answer));
            Ok((Outcome { delivered: Some(verdict), serving, ..kept(delivery) }, answer.wake))
        }
        _ => Err(verdict),
    }
}

/// Before anything is written for the first time: whether something of others' is in the way of dockerd's using it.
async fn could_be_served(delivery: &Delivery, trusts: &BTreeSet<String>) -> Result<(), Verdict> {
    let said = ask(delivery, None, trusts.clone()).await;
    let serving = said.map_or_else(|serving| serving, |answer| daemon::verdict(&answer));
    match serving.reason {
        Reason::NotServed | Reason::DaemonUnusable => Ok(()), // the files are of use as soon as that has passed
        _ => Err(serving),
    }
}

async fn brought(delivery: &Delivery, clock: &Clock, forge: &KeyForge) -> Outcomes {
    let host = &delivery.host;
    let missing = || verdict(false, Reason::SecretMissing, format!("Secret {} is not there yet", host.secret_name));
    let secret = delivery.secret.as_ref().ok_or_else(missing)?;
    let now = clock.now();
    let material = material::read(&host.secret_name, secret, now)?;
    let trusts = material::valid_keys(&material.bundle, now);
    if host.delivery.mode == Mode::Daemon
        && look(delivery)?.is_none_or(|seen| seen.current.is_none())
        && let Err(serving) = could_be_served(delivery, &trusts).await
    {
        let delivered = verdict(false, serving.reason, format!("nothing was delivered: {}", serving.message));
        let outcome = Outcome { delivered: Some(delivered), serving: Some(serving), ..Outcome::default() };
        return Ok((outcome, Some(saturating(now, AGAIN))));
    }
    let probe = probe(forge, now).await;
    let blocking = (delivery.clone(), material.clone());
    let placed = tokio::task::spawn_blocking(move || place(&blocking.0, &blocking.1, &probe, now));
    let placed = placed.await.expect("placing files does not panic")?;
    let outcome = Outcome { in_place: Some(in_place(&material)), ..Outcome::default() };
    let directory = &host.delivery.directory;
    match host.delivery.mode {
        Mode::Files => {
            let (serving, served) = look_at_daemon(host, &placed, &material).await;
            let outcome = Outcome { delivered: Some(delivered(directory, &material)), serving, served, ..outcome };
            retire(delivery, &[placed.generation])?;
            Ok((outcome, None))
        }
        Mode::Daemon => {
            let answer = ask(delivery, Some(placed.generation), trusts).await;
            Ok(daemon_outcome(delivery, &material, placed.generation, answer, outcome, now))
        }
    }
}

fn in_place(material: &Material) -> (String, String) {
    (material.certificate.fingerprint(), material.bundle_digest())
}

/// What the step on the host says, as conditions.
fn daemon_outcome(
    delivery: &Delivery,
    material: &Material,
    generation: u64,
    answer: Result<Answer, Verdict>,
    outcome: Outcome,
    now: Timestamp,
) -> (Outcome, Option<Timestamp>) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(serving) => {
            // What was begun is to be ended soon.
            return (Outcome { serving: Some(serving), ..kept(delivery) }, Some(saturating(now, AGAIN)));
        }
    };
    let shown = look(delivery).ok().flatten().and_then(|seen| seen.current);
    let in_place = shown == Some(generation);
    let verdict = match in_place {
        true => delivered(&delivery.host.delivery.directory, material),
        false => verdict(false, Reason::RolledBack, answer.message.clone()),
    };
    let keep = [Some(generation), answer.loaded].into_iter().flatten().collect::<Vec<_>>();
    if answer.holds
        && let Err(error) = retire(delivery, &keep)
    {
        tracing::warn!(error = error.message, "failed to remove old files");
    }
    let outcome = match in_place {
        true => outcome,
        false => Outcome { in_place: kept(delivery).in_place, ..outcome },
    };
    let wake = answer.wake;
    let serving = Some(daemon::verdict(&answer));
    (Outcome { delivered: Some(verdict), serving, served: answer.served, ..outcome }, wake)
}

/// The files are where they are to be.
#[derive(Clone, Debug)]
struct Placed {
    generation: u64,
    identity: Option<Identity>,
}

/// A client certificate of our own, by which this host alone lets us in.
struct Probe {
    certificate: Certificate,
    key_pem: zeroize::Zeroizing<String>,
}

async fn probe(forge: &KeyForge, now: Timestamp) -> Probe {
    let key = forge.make(KeyAlgorithm::EcdsaP256).await;
    let dates = crate::pki::lifecycle::dates(now, PROBE_LIFE, None);
    let certificate = self_signed_client("Dockseal's own proof", &key, dates, serial());
    Probe { certificate: certificate.expect("a short name"), key_pem: key.to_pem() }
}

fn owner(host: &AssignedHost) -> Owner {
    Owner { object: host.object().to_string(), uid: host.uid.clone() }
}

fn look(delivery: &Delivery) -> Result<Option<Seen>, Verdict> {
    let directory = Directory::find(&delivery.roots, Path::new(&delivery.host.delivery.directory)).map_err(refusal)?;
    directory.map(|directory| directory.look(&delivery.host.name)).transpose().map_err(refusal)
}

fn place(delivery: &Delivery, material: &Material, probe: &Probe, now: Timestamp) -> Result<Placed, Verdict> {
    let host = &delivery.host;
    let directory = Directory::open(&delivery.roots, Path::new(&host.delivery.directory)).map_err(refusal)?;
    let seen = directory.look(&host.name).map_err(refusal)?;
    let shown = shown(&seen, host, material);
    let generation = match plan(&host.delivery.directory, &shown, material, host.delivery.take_over, now) {
        Step::Refuse(verdict) => return Err(verdict),
        Step::Use(generation) => {
            directory.claim(&owner(host), seen.owner.as_ref()).map_err(refusal)?;
            generation
        }
        Step::Write(take_over) => {
            directory.claim(&owner(host), seen.owner.as_ref()).map_err(refusal)?;
            if take_over {
                directory.take_over(&host.name).map_err(refusal)?;
            }
            write(&directory, &host.name, material, probe)?
        }
    };
    show(&directory, host, &shown, generation)?;
    let seen = directory.look(&host.name).map_err(refusal)?;
    let identity = seen.generations.iter().find(|there| there.number == generation).and_then(identity);
    Ok(Placed { generation, identity })
}

fn write(directory: &Directory, name: &str, material: &Material, probe: &Probe) -> Result<u64, Verdict> {
    let certificate = material.certificate.to_pem();
    let probe_pem = probe.certificate.to_pem();
    let ca = [material.bundle_pem.as_slice(), probe_pem.as_bytes()].concat();
    let files = Files {
        ca: &ca,
        cert: certificate.as_bytes(),
        key: &material.key_pem,
        probe_cert: probe_pem.as_bytes(),
        probe_key: probe.key_pem.as_bytes(),
    };
    directory.write_generation(name, &files).map_err(refusal)
}

/// Has the public names show the generation; where dockerd may be using what they show, its own step does.
fn show(directory: &Directory, host: &AssignedHost, shown: &Shown, generation: u64) -> Result<(), Verdict> {
    let ours_to_move = host.delivery.mode == Mode::Files || shown.current.is_none() && shown.foreign.is_empty();
    if ours_to_move && shown.current != Some(generation) {
        directory.point(generation).map_err(refusal)?;
    }
    let over = if shown.delivered { Over::Anything } else { Over::Nothing };
    directory.link_names(&host.name, over).map_err(refusal)
}

/// What is in the directory, as the decision needs it.
fn shown(seen: &Seen, host: &AssignedHost, material: &Material) -> Shown {
    let names = [
        ("ca.pem".to_owned(), &seen.ca),
        (format!("{}.pem", host.name), &seen.cert),
        (format!("{}.key", host.name), &seen.key),
    ];
    let ours = owner(host);
    let another = seen.owner.as_ref().filter(|there| there.object != ours.object);
    let foreign = |there: &PublicName| !matches!(there, PublicName::Absent | PublicName::Ours);
    let trusted = match &seen.ca {
        PublicName::File(bytes) => all_from_pem(bytes).ok(),
        _ => None,
    };
    let matching = seen.generations.iter().rev().find(|generation| holds(generation, material));
    Shown {
        owner: another.map(|there| there.object.clone()),
        delivered: another.is_none() && seen.owner.is_some() && seen.current.is_some(),
        current: seen.current,
        matching: matching.map(|generation| generation.number),
        linked: names.iter().all(|(_, there)| **there == PublicName::Ours),
        foreign: names.into_iter().filter(|(_, there)| foreign(there)).map(|(name, _)| name).collect(),
        trusted_before: trusted,
    }
}

/// Whether a generation is whole and holds what is wanted.
fn holds(generation: &Generation, material: &Material) -> bool {
    let Some((ca, probe)) = generation.ca.as_ref().zip(generation.probe_cert.as_ref()) else { return false };
    let certificate = generation.cert.as_ref().and_then(|pem| Certificate::from_pem(pem).ok());
    generation.flaws.is_empty()
        && generation.probe_key.is_some()
        && certificate.is_some_and(|certificate| certificate.der == material.certificate.der)
        && generation.key.as_ref().is_some_and(|key| **key == **material.key_pem)
        && ca.strip_prefix(material.bundle_pem.as_slice()) == Some(&**probe)
}

fn identity(generation: &Generation) -> Option<Identity> {
    let certificate = Certificate::from_pem(generation.probe_cert.as_ref()?).ok()?;
    let key = crate::pki::PrivateKey::from_pem(generation.probe_key.as_ref()?, None).ok()?;
    Some(Identity { certificate: certificate.der, key: key.to_pkcs8_der() })
}

/// Generations that dockerd may still be using stay.
fn retire(delivery: &Delivery, keep: &[u64]) -> Result<(), Verdict> {
    let path = Path::new(&delivery.host.delivery.directory);
    let Some(directory) = Directory::find(&delivery.roots, path).map_err(refusal)? else { return Ok(()) };
    let seen = directory.look(&delivery.host.name).map_err(refusal)?;
    let oldest = keep.iter().min().copied().unwrap_or_default();
    let before = seen.generations.iter().rev().map(|there| there.number).find(|number| *number < oldest);
    let keep: Vec<u64> = keep.iter().copied().chain(before).collect();
    directory.retire(&keep).map_err(refusal)
}

/// In mode Files dockerd is the user's: it is asked what it serves where it answers at all.
async fn look_at_daemon(
    host: &AssignedHost,
    placed: &Placed,
    material: &Material,
) -> (Option<Verdict>, Option<String>) {
    let Some(address) = listens(host).ok().and_then(|listens| Some(listens.first()?.dial())) else {
        return (None, None);
    };
    if docker_probe::plain(address).await == Plain::Answered {
        let message =
            format!("dockerd answers everybody on {address}, without a certificate: whoever reaches it is root here");
        return (Some(serving(Reason::ExposedByOthers, message)), None);
    }
    let answer = docker_probe::tls(address, placed.identity.as_ref()).await;
    let served = answer.leaf().and_then(|der| Certificate::from_der(der).ok()).map(|leaf| leaf.fingerprint());
    let wanted = served.as_deref() == Some(&material.certificate.fingerprint());
    let verdict = match answer {
        Tls::Answered(_) if wanted => {
            let message = format!("dockerd serves the certificate on {address}");
            Some(Verdict::new(ConditionType::Serving, true, Reason::Serving, message))
        }
        Tls::Answered(_) | Tls::Refused(Some(_), _) => {
            let message = format!("dockerd on {address} does not use the delivered files yet: restart it");
            Some(serving(Reason::NotServed, message))
        }
        Tls::Refused(None, _) | Tls::Closed(_) => None,
    };
    (verdict, served)
}

/// Has the step on this host's dockerd taken, in a unit of its own.
async fn ask(delivery: &Delivery, files: Option<u64>, trusts: BTreeSet<String>) -> Result<Answer, Verdict> {
    let order = Order { host: delivery.host.clone(), files, trusts, contained: delivery.contained };
    let unsupported = |error: String| {
        let message = format!(
            "mode: Daemon needs systemd's system bus, which cannot be used ({error}), and nothing was touched: use mode: \
             Files and restart dockerd yourself"
        );
        serving(Reason::UnsupportedHost, message)
    };
    let systemd = Systemd::reach().await.map_err(|error| unsupported(error.to_string()))?;
    for _ in 0..MOST_STEPS {
        if let Some(answer) =
            one_step(&systemd, &order).await.map_err(|error| serving(Reason::DaemonUnusable, error))?
        {
            return Ok(answer);
        }
    }
    Err(serving(Reason::DaemonUnusable, "another step is under way again and again; this one is taken later"))
}

/// Asks, and waits; none where another step was under way, or its unit not gone yet, so that ours was not taken.
async fn one_step(systemd: &Systemd, order: &Order) -> Result<Option<Answer>, String> {
    let asked = order.clone();
    let prepared = tokio::task::spawn_blocking(move || {
        daemon_host::install_binary(Path::new(BINARY))?;
        daemon_host::keep(daemon::ANSWER, None::<&Answer>)?; // an old one is not to be taken for a new one
        daemon_host::keep(daemon::ORDER, Some(&asked))
    });
    prepared.await.expect("writing files does not panic").map_err(|error| error.to_string())?;
    systemd.run_apart(STEP_UNIT, &[BINARY, "daemon-step"]).await.map_err(|error| error.to_string())?;
    let answer = daemon_host::recall::<Answer>(daemon::ANSWER).map_err(|error| error.to_string())?;
    Ok(answer.filter(|answer| answer.order == *order))
}

/// Takes away what was delivered, once dockerd no longer needs it.
async fn remove(delivery: &Delivery, clock: &Clock) -> Outcomes {
    let gone = verdict(false, Reason::Removed, "what was delivered has been removed");
    let again = Some(saturating(clock.now(), AGAIN));
    if delivery.host.delivery.mode == Mode::Daemon {
        match ask(delivery, None, BTreeSet::new()).await {
            Ok(answer) if answer.reason() == Reason::Removed => {}
            Ok(answer) => return Ok((Outcome { serving: Some(daemon::verdict(&answer)), ..kept(delivery) }, again)),
            Err(serving) => return Ok((Outcome { serving: Some(serving), ..kept(delivery) }, again)),
        }
    }
    let path = Path::new(&delivery.host.delivery.directory);
    if let Some(directory) = Directory::find(&delivery.roots, path).map_err(refusal)? {
        let seen = directory.look(&delivery.host.name).map_err(refusal)?;
        if seen.owner == Some(owner(&delivery.host)) {
            if let Some(user) = user(&delivery.host, &seen).await {
                return Ok((Outcome { delivered: Some(in_use(path, &user)), ..kept(delivery) }, again));
            }
            directory.release(&delivery.host.name).map_err(refusal)?;
        }
    }
    Ok((Outcome { delivered: Some(gone), ..Outcome::default() }, None))
}

fn in_use(directory: &Path, user: &str) -> Verdict {
    let directory = directory.display();
    let message = format!(
        "what was delivered to {directory} stays for now, since {user}: without the files dockerd would not start. Take \
         the TLS settings that name them out of its configuration and restart it; then they are removed"
    );
    verdict(true, Reason::InUse, message)
}

/// Who still uses the files: a configuration that names them, or a dockerd that serves one of our certificates or lets
/// our own proof in. What cannot be seen from here, as from a container without the host's network, is not asked.
async fn user(host: &AssignedHost, seen: &Seen) -> Option<String> {
    let below = |path: &str| Path::new(path).starts_with(&host.delivery.directory);
    let configured = daemon_host::read(Path::new(DAEMON_JSON)).ok();
    let configured = configured.as_ref().and_then(Entry::bytes).and_then(|bytes| DaemonJson::parse(bytes).ok());
    let tls = configured.map(|json| json.tls()).unwrap_or_default();
    if [tls.tlscacert, tls.tlscert, tls.tlskey].iter().flatten().any(|path| below(path)) {
        return Some(format!("{DAEMON_JSON} names it"));
    }
    if let Ok(systemd) = Systemd::reach().await {
        let command = systemd.command("docker.service").await.unwrap_or_default();
        if command.iter().any(|word| word.split('=').any(below)) {
            return Some("docker.service starts dockerd with it".into());
        }
    }
    let ours = |leaf: &str| {
        let certificates = seen.generations.iter().filter_map(|there| Certificate::from_pem(there.cert.as_ref()?).ok());
        certificates.into_iter().any(|certificate| certificate.fingerprint() == leaf)
    };
    for address in listens(host).unwrap_or_default().iter().map(Listen::dial) {
        let proof = seen.generations.iter().rev().find_map(identity);
        let answer = docker_probe::tls(address, proof.as_ref()).await;
        let served = answer.leaf().and_then(|der| Certificate::from_der(der).ok()).map(|leaf| leaf.fingerprint());
        let lets_proof_in =
            matches!(answer, Tls::Answered(_)) && !matches!(docker_probe::tls(address, None).await, Tls::Answered(_));
        if lets_proof_in || served.is_some_and(|served| ours(&served)) {
            return Some(format!("dockerd serves it on {address}"));
        }
    }
    None
}
