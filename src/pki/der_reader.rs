//! DER as Go's cryptobyte reads it: one element after the other, shortest lengths, small tags.

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: &[u8] = &[0x05, 0];
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// What is left to read.
#[derive(Clone, Copy)]
pub(super) struct DerReader<'a>(pub(super) &'a [u8]);

impl<'a> DerReader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn next_is(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The next element: its tag, its content, and the whole of it.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (tag, first) = (*self.0.first()?, *self.0.get(1)?);
        let bytes = usize::from(first & 0x7f);
        let (length, header) = match first {
            0..=0x7f => (usize::from(first), 2),
            0x81..=0x84 => {
                let long = self.0.get(2..2 + bytes)?;
                let length = long.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
                if long[0] == 0 || length < 0x80 {
                    return None; // not the shortest form
                }
                (length, 2 + bytes)
            }
            _ => return None,
        };
        let whole = self.0.get(..header.checked_add(length)?).filter(|_| tag & 0x1f != 0x1f)?;
        self.0 = &self.0[whole.len()..];
        Some((tag, &whole[header..], whole))
    }

    /// The content of the next element, which must have that tag.
    pub(super) fn of(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, ..)| *found == tag).map(|(_, content, _)| content)
    }

    /// A reader of the content of the next element, which must have that tag.
    pub(super) fn inside(&mut self, tag: u8) -> Option<DerReader<'a>> {
        self.of(tag).map(DerReader)
    }

    /// The next element, where it has that tag; `Err` where it has and cannot be read.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, ()> {
        match self.next_is(tag) {
            true => self.of(tag).map(Some).ok_or(()),
            false => Ok(None),
        }
    }

    /// The bytes of an INTEGER in the shortest form.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        self.of(INTEGER).filter(|bytes| match bytes {
            [] => false,
            [0, second, ..] => second & 0x80 != 0,
            [0xff, second, ..] => second & 0x80 == 0,
            _ => true,
        })
    }

    /// A BOOLEAN, which DER writes as 0 or 255.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        match self.of(BOOLEAN)? {
            [0] => Some(false),
            [0xff] => Some(true),
            _ => None,
        }
    }

    /// The bits of a BIT STRING, unused ones zero.
    pub(super) fn bits(&mut self) -> Option<&'a [u8]> {
        let (unused, bits) = self.of(BIT_STRING)?.split_first()?;
        let last = bits.last().copied().unwrap_or_default();
        let sound = *unused <= 7 && (*unused == 0 || !bits.is_empty()) && u16::from(last) & ((1 << unused) - 1) == 0;
        sound.then_some(bits)
    }
}

/// An object identifier in dots.
pub(super) fn dotted(oid: &[u8]) -> String {
    der::asn1::ObjectIdentifier::from_bytes(oid).map_or_else(|_| "an unreadable one".to_owned(), |oid| oid.to_string())
}
