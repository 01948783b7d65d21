//! Lifetimes: when a certificate starts, ends and is renewed. Pure arithmetic on instants.

use super::sign::Dates;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How far `notBefore` lies before the issuance, for clocks that differ.
pub const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// Dates of a certificate issued at `now` for `duration`, ended with its issuer at `bound`.
pub fn dates(now: Timestamp, duration: SignedDuration, bound: Option<Timestamp>) -> Dates {
    let not_after = whole_seconds(saturating(now, duration));
    Dates {
        not_before: whole_seconds(saturating(now, -BACKDATE)),
        not_after: bound.map_or(not_after, |bound| not_after.min(bound)),
    }
}

/// When it was issued.
pub fn issued_at(not_before: Timestamp) -> Timestamp {
    saturating(not_before, BACKDATE)
}

/// When a certificate is renewed: `renew_before` (default a third of its life) before its end, and up to a twentieth
/// of the time until then earlier, by `jitter`, so that a fleet made in one minute does not renew in one.
pub fn renew_at(dates: Dates, renew_before: Option<SignedDuration>, jitter: u64) -> Timestamp {
    let issued = issued_at(dates.not_before);
    let life = issued.duration_until(dates.not_after).as_secs().max(0);
    let before = renew_before.map(|span| span.as_secs()).filter(|before| *before < life).unwrap_or(life / 3);
    let until = life - before;
    let earlier = (jitter % 1000) as i64 * (until / 20) / 1000;
    saturating(issued, SignedDuration::from_secs(until - earlier))
}

/// A number that is the same for the same object, whenever and wherever asked (FNV-1a).
pub fn jitter(namespace: &str, name: &str) -> u64 {
    let bytes = namespace.bytes().chain([b'/']).chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `instant + span`, at most the ends of time.
pub fn saturating(instant: Timestamp, span: SignedDuration) -> Timestamp {
    instant.saturating_add(span).unwrap_or(instant)
}

fn whole_seconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}
