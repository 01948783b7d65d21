//! The step on dockerd killed at each of its steps, then taken again, at once and after a power cut.

use crate::cuts::{Cut, Cuts};
use crate::home::{At, Home};
use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::Probe;
use anyhow::{Context, Result, ensure};

/// A power cut follows on every so-manyth kill.
const POWER_CUT_EVERY: usize = 4;

/// Cuts the ordered step everywhere; `ends` is what must be so after it was taken again.
fn everywhere(at: &At, what: &str, ends: impl Fn() -> Result<()>) -> Result<()> {
    let probe = Probe::start([at.address()])?;
    let cuts = Cuts::begin(at)?;
    let mut places = cuts.record()?;
    ends().context("without a cut")?;
    places.extend([120, 180, 240, 300, 400].map(Cut::After));
    let (mut killed, mut power) = (0, 0);
    for (index, place) in places.iter().enumerate() {
        if !cuts.cut(place)? {
            ensure!(matches!(place, Cut::After(_)), "{place:?} was not reached");
            continue;
        }
        killed += 1;
        if index % POWER_CUT_EVERY == POWER_CUT_EVERY - 1 {
            power += 1;
            at.host.crash()?;
            at.host.start()?;
            at.host.docker_ready().with_context(|| format!("{place:?}, then a power cut\n{}", at.facts()))?;
        }
        at.step().and_then(|_| ends()).with_context(|| format!("after a kill at {place:?}"))?;
    }
    let count = probe.finish();
    println!("{what}: killed at {killed} places, {power} of them with a power cut after it");
    ensure!(count.leaked == 0, "{:?}", count.first_leak);
    ensure!(count.denied > 0, "nobody was denied");
    Ok(())
}

#[test]
fn a_first_delivery() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = At::on(&host)?;
    at.order(&Home::default())?;
    everywhere(&at, "a first delivery", || {
        ensure!(at.answer()?.holds, "{:?}", at.answer()?);
        at.served()
    })
}

#[test]
fn a_renewal() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    let at = At::on(&host)?;
    let home = Home::default();
    at.up_and_served(&home)?;
    at.order(&home.renewed())?;
    let before = served(&at)?;
    everywhere(&at, "a renewal", || {
        ensure!(at.answer()?.holds, "{:?}", at.answer()?);
        ensure!(served(&at)? != before, "the old certificate is served");
        at.served()
    })
}

/// Fingerprint of the leaf that the last step found to be served.
fn served(at: &At) -> Result<String> {
    Ok(at.note("answer.json")?["served"].to_string())
}
