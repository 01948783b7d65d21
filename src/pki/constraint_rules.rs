//! Name constraints that Docker cannot use, or that a renewal cannot keep: the extension in DER in, what is wrong out.

use super::der_reader::{DerReader, SEQUENCE};

const PERMITTED: u8 = 0xa0;
const EXCLUDED: u8 = 0xa1;

/// What is wrong with the extension's value; none where Docker enforces all of it. What stands in it and is not enforced
/// harms nobody where it is not critical.
pub(super) fn fault(value: DerReader<'_>, critical: bool) -> Option<String> {
    checked(value, critical).err()
}

fn checked(mut value: DerReader<'_>, critical: bool) -> Result<(), String> {
    let unreadable = || "cannot be read".to_owned();
    let mut lists = value.inside(SEQUENCE).filter(|_| value.is_empty()).ok_or_else(unreadable)?;
    let mut count = 0;
    for tag in [PERMITTED, EXCLUDED] {
        let Some(list) = lists.optional(tag).map_err(|()| unreadable())? else { continue };
        let mut subtrees = DerReader(list);
        while !subtrees.is_empty() {
            count += 1;
            subtree(subtrees.inside(SEQUENCE).ok_or_else(unreadable)?, tag, critical)?;
        }
    }
    match (count, lists.is_empty()) {
        (0, _) => Err("name nothing".to_owned()),
        (_, false) => Err(unreadable()),
        _ => Ok(()),
    }
}

fn subtree(mut subtree: DerReader<'_>, list: u8, critical: bool) -> Result<(), String> {
    let (tag, base, _) = subtree.any().ok_or("cannot be read")?;
    if !subtree.is_empty() {
        return Err("have a minimum or maximum, which verifiers refuse".to_owned());
    }
    match tag {
        0x81 => mailbox(base),
        0x82 => domain("DNS name", base),
        0x86 if list == PERMITTED => {
            Err("permit certain URIs, and the certificates of Dockseal's clients name others".to_owned())
        }
        0x86 => domain("URI", base),
        0x87 => network(base),
        _ if critical => Err("limit something else than names and addresses, which Docker cannot check".to_owned()),
        _ => Ok(()),
    }
}

/// A domain, or a whole address of plain letters.
fn mailbox(base: &[u8]) -> Result<(), String> {
    let Some(at) = base.iter().position(|byte| *byte == b'@') else { return domain("e-mail address", base) };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_+".contains(byte);
    match base[..at].split(|byte| *byte == b'.').all(|part| !part.is_empty() && part.iter().all(plain)) {
        true => domain("e-mail address", base[at + 1..].strip_prefix(b".").map_or(&base[at + 1..], |_| b".")),
        false => Err(format!("hold an e-mail address that is none: {}", base.escape_ascii())),
    }
}

/// A domain, with or without a dot in front, in visible ASCII and without empty parts.
fn domain(what: &str, base: &[u8]) -> Result<(), String> {
    let inner = base.strip_prefix(b".").unwrap_or(base);
    let sound = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_graphic);
    match base.is_empty() || inner.split(|byte| *byte == b'.').all(sound) {
        true => Ok(()),
        false => Err(format!("hold a {what} that is none: {}", base.escape_ascii())),
    }
}

/// Address and mask, of ones and then zeros.
fn network(base: &[u8]) -> Result<(), String> {
    if !matches!(base.len(), 8 | 32) {
        return Err("hold a network that is neither IPv4 nor IPv6".to_owned());
    }
    let mask = base[base.len() / 2..].iter().fold(0u128, |mask, byte| mask << 8 | u128::from(*byte));
    let aligned = mask << (128 - 4 * base.len());
    match aligned.checked_shl(aligned.leading_ones()).unwrap_or_default() == 0 {
        true => Ok(()),
        false => Err("hold a network whose mask has gaps".to_owned()),
    }
}
