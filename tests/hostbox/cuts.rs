//! The step on dockerd, begun again and again from the same state, and killed each time at another of its steps.

use crate::homelab::{InstalledHost, STARTED, STOPPED};
use crate::support::hostbox::probe::Probe;
use anyhow::{Context, Result, ensure};
use std::fmt::{Display, Formatter};

/// System calls that change what outlives the process. After a kill it is there, synced
/// or not; so fsync does not count as a place.
const CHANGES: [&str; 3] = ["rename", "symlink", "unlink"];
/// D-Bus calls that change something, as a message has their names.
const CALLS: [&str; 5] = ["StopUnit", "StartUnit", "RestartUnit", "KillUnit", "\\0Reload\\0"];
const KEPT: &str = "/etc/docker /etc/systemd/system";
const TRACE: &str = "/root/trace";

/// A place at which a step is killed.
#[derive(Clone, Debug)]
pub enum Cut {
    /// Before the so-manyth call of that name is carried out; how it begins.
    Call(String, usize, String),
    /// After so many milliseconds: in the middle of a job of systemd's, for one.
    After(usize),
}

impl Display for Cut {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Cut::Call(name, count, begins) => write!(f, "call {count} of {name}({begins}"),
            Cut::After(milliseconds) => write!(f, "{milliseconds} ms"),
        }
    }
}

/// A host at the beginning of a step.
pub struct Cuts<'a> {
    at: &'a InstalledHost<'a>,
}

impl<'a> Cuts<'a> {
    /// The beginning is what the host is now, with the step ordered.
    pub fn begin(at: &'a InstalledHost<'a>) -> Result<Cuts<'a>> {
        at.host.sh(&format!(
            "rm -rf /root/before; mkdir -p /root/before/notes; cp -a --parents {KEPT} /root/before
            cp -a /var/lib/dockseal/*.json /root/before/notes"
        ))?;
        Ok(Cuts { at })
    }

    /// Back to the beginning, all that is dockerd's newly started.
    pub fn back(&self) -> Result<()> {
        let script = format!(
            "{STOPPED}; for kept in {KEPT}; do rm -rf $kept; cp -a /root/before$kept $kept; done
            rm -f /var/lib/dockseal/*.json; cp -a /root/before/notes/*.json /var/lib/dockseal; {STARTED}"
        );
        self.at.host.sh(&script).map(drop).with_context(|| self.at.facts())
    }

    /// Takes the step once, to its end, and says where it can be cut.
    pub fn record(&self) -> Result<Vec<Cut>> {
        self.at
            .host
            .sh(&format!("strace -qq -s 600 -o {TRACE} -e trace={},sendmsg dockseal daemon-step", CHANGES.join(",")))?;
        let trace = self.at.host.read(TRACE)?;
        let mut cuts = Vec::new();
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        let mut called = false;
        for line in trace.lines() {
            let Some((name, rest)) = line.split_once('(') else { continue };
            let count = counts.entry(name.to_owned()).or_default();
            *count += 1;
            let changes = CHANGES.contains(&name) && line.ends_with("= 0");
            let calls = name == "sendmsg" && CALLS.iter().any(|call| rest.contains(call));
            if changes || calls || called {
                cuts.push(Cut::Call(name.to_owned(), *count, rest.chars().take(160).collect()));
            }
            called = calls; // the message after it is sent once it is answered, or its job has ended
        }
        ensure!(cuts.len() > 5, "{trace}");
        Ok(cuts)
    }

    /// From the beginning, killed there; false where it came to its end.
    pub fn cut(&self, cut: &Cut) -> Result<bool> {
        self.back()?;
        let status = match cut {
            Cut::Call(name, count, _) => self.at.host.exec(&[
                "strace",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={name}"),
                "-e",
                &format!("inject={name}:signal=KILL:when={count}"),
                "dockseal",
                "daemon-step",
            ])?,
            Cut::After(milliseconds) => {
                let seconds = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
                self.at.host.exec(&["sh", "-c", "timeout -s KILL $0 dockseal daemon-step", &seconds])?
            }
        };
        Ok(!status.status.success())
    }
}

/// A power cut follows on every so-manyth kill.
const POWER_CUT_EVERY: usize = 2;
/// Every so-manyth place is cut, unless HOSTBOX_CUTS_EVERY says otherwise: `make test-long` cuts each.
const CUT_EVERY: usize = 4;

fn cut_every() -> usize {
    std::env::var("HOSTBOX_CUTS_EVERY").ok().and_then(|every| every.parse().ok()).unwrap_or(CUT_EVERY)
}

/// Cuts the ordered step everywhere; `ends` is what must be so after it was taken again. After a power cut dockerd
/// comes up by itself, where `starts` says that it can with what is ordered.
pub fn everywhere(at: &InstalledHost, what: &str, starts: bool, ends: impl Fn() -> Result<()>) -> Result<()> {
    let probe = Probe::start([at.address()])?;
    let cuts = Cuts::begin(at)?;
    let mut places = cuts.record()?;
    ends().context("without a cut")?;
    places.extend([120, 180, 240, 300, 400].map(Cut::After));
    let (mut killed, mut power) = (0, 0);
    let power_cut_every = if starts { POWER_CUT_EVERY } else { 4 * POWER_CUT_EVERY }; // systemd tries for long in vain
    let all = places.len();
    for (index, place) in places.iter().step_by(cut_every()).enumerate() {
        if !cuts.cut(place)? {
            ensure!(matches!(place, Cut::After(_)), "{place} was not reached");
            continue;
        }
        killed += 1;
        if index % power_cut_every == power_cut_every - 1 {
            power += 1;
            at.host.crash()?;
            at.host.start()?;
            let ready = if starts { at.host.docker_ready() } else { Ok(()) };
            ready.with_context(|| format!("{place}, then a power cut\n{}", at.facts()))?;
        }
        at.step().and_then(|_| ends()).with_context(|| format!("after a kill at {place}"))?;
    }
    println!("{what}: killed at {killed} of {all} places, {power} of them with a power cut after it");
    at.harmless(probe)
}
