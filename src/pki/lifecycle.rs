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
    if life == 0 {
        return dates.not_before; // minutes, made elsewhere: due at once
    }
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

/// The whole second that an instant is in, as Kubernetes writes instants.
pub fn whole_seconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn hours(count: i64) -> SignedDuration {
        SignedDuration::from_hours(count)
    }

    #[test]
    fn dates_are_whole_seconds_backdated_and_bounded() {
        let now = at("2026-11-22T10:00:00.9Z");
        let free = dates(now, hours(24), None);
        assert_eq!(free, Dates { not_before: at("2026-11-22T09:55:00Z"), not_after: at("2026-11-23T10:00:00Z") });
        assert_eq!(issued_at(free.not_before), at("2026-11-22T10:00:00Z"));
        let bound = at("2026-11-23T00:00:00Z");
        assert_eq!(dates(now, hours(24), Some(bound)).not_after, bound);
        assert_eq!(dates(now, hours(1), Some(bound)).not_after, at("2026-11-22T11:00:00Z"));
    }

    #[test]
    fn renewal_is_at_two_thirds_and_up_to_a_twentieth_of_that_earlier() {
        let dates = dates(at("2026-11-22T10:00:00Z"), hours(300), None);
        let after = |before, jitter| at("2026-11-22T10:00:00Z").duration_until(renew_at(dates, before, jitter));
        assert_eq!(after(None, 0), hours(200));
        assert_eq!(after(None, 1000), hours(200));
        assert!(after(None, 999) >= hours(190) && after(None, 999) < hours(191));
        assert_eq!(after(Some(hours(100)), 0), hours(200));
        assert_eq!(after(Some(hours(1)), 0), hours(299));
        assert_eq!(after(Some(hours(300)), 0), hours(200), "a clamped life may be shorter than renewBefore");
    }

    #[test]
    fn arithmetic_ends_at_the_ends_of_time() {
        assert_eq!(saturating(Timestamp::MAX, hours(1)), Timestamp::MAX);
        assert_eq!(saturating(Timestamp::MIN, -hours(1)), Timestamp::MIN);
        let over = Dates { not_before: at("2026-11-22T10:00:00Z"), not_after: at("2026-11-22T09:00:00Z") };
        assert_eq!(renew_at(over, None, 7), over.not_before, "an end before the start is due at once");
    }

    #[test]
    fn jitter_is_a_number_for_ever() {
        assert_eq!(jitter("", ""), 0xaf63_a24c_8601_89fe, "FNV-1a of a slash: other numbers would move every renewal");
        assert_ne!(jitter("home", "a"), jitter("home", "b"));
        assert_ne!(jitter("a", "b"), jitter("b", "a"));
    }
}
