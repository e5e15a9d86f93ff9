//! The messages between switch and store: a fixed header in network byte order, then key, value, and the carried
//! Ethernet frame, if any. UDP payload.
//!
//! Two levels: [`Packet`] is a checked view of bytes, [`Header`] and [`Message`] hold only what is legal. Parsing
//! never panics and reads nothing beyond the bytes that arrived (the prototype trusted a length from the wire).

use crate::identity::{Schema, SwitchIdentity};
use crate::serial::Serial;
use crate::time::Ticks;

/// Version of the protocol that this crate speaks.
pub const VERSION: u8 = 1;

/// UDP port of switches and store nodes: "RP" in ASCII.
pub const UDP_PORT: u16 = u16::from_be_bytes(*b"RP");

/// Bytes before the key.
pub const HEADER_LEN: usize = field::PORT.end;

/// As `port`: process the carried packet anew instead of sending it out.
pub const PORT_RECIRCULATE: u16 = 0xfffe;

/// Longest datagram that the store takes: a jumbo frame. Larger ones are nobody's carried packet.
pub const DATAGRAM_LEN_MAX: usize = 9216;

const _: () = assert!(HEADER_LEN == 30, "the P4 header, the dissector and this codec share the layout");
const _: () = assert!(UDP_PORT == 21072);

const FLAG_CREATE: u8 = 1;

mod field {
    use std::ops::Range;

    pub(super) const VERSION: usize = 0;
    pub(super) const KIND: usize = VERSION + 1;
    pub(super) const FLAGS: usize = KIND + 1;
    pub(super) const REASON: usize = FLAGS + 1;
    pub(super) const APP: Range<usize> = after(REASON + 1, 2);
    pub(super) const FINGERPRINT: Range<usize> = after(APP.end, 2);
    pub(super) const SWITCH: Range<usize> = after(FINGERPRINT.end, 2);
    pub(super) const INCARNATION: Range<usize> = after(SWITCH.end, 2);
    pub(super) const GENERATION: Range<usize> = after(INCARNATION.end, 4);
    pub(super) const SEQUENCE: Range<usize> = after(GENERATION.end, 4);
    pub(super) const TICKET: Range<usize> = after(SEQUENCE.end, 4);
    pub(super) const SENT_AT: Range<usize> = after(TICKET.end, 4);
    pub(super) const PORT: Range<usize> = after(SENT_AT.end, 2);

    const fn after(start: usize, len: usize) -> Range<usize> {
        start..start + len
    }
}

/// What a message asks or answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Switch: lease this key; carries the untouched input packet.
    Lease = 1,
    /// Switch: a new value; carries the output packet, held until the value is durable.
    Write = 2,
    /// Switch: carries an output packet that read a value not yet durable.
    Read = 3,
    /// Switch: extend the lease.
    Renew = 4,
    /// Switch: the lease is given back; all writes up to `sequence` were sent.
    Release = 5,
    /// Switch: a range of a bounded-inconsistency array.
    Snapshot = 6,
    /// Store: the lease, with value, generation and sequence; brings the input packet back.
    Grant = 17,
    /// Store: durable up to `sequence`, lease extended; brings the output packet back.
    Ack = 18,
    /// Store: no, because of [`Header::reason`]; brings the carried packet back.
    Nack = 19,
    /// Store: another switch asks for this key; finish and send [`Kind::Release`].
    Recall = 20,
}

impl Kind {
    /// Every kind, in the order of its code.
    pub const ALL: [Self; 10] = [
        Self::Lease,
        Self::Write,
        Self::Read,
        Self::Renew,
        Self::Release,
        Self::Snapshot,
        Self::Grant,
        Self::Ack,
        Self::Nack,
        Self::Recall,
    ];

    /// Its name, for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Write => "write",
            Self::Read => "read",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Snapshot => "snapshot",
            Self::Grant => "grant",
            Self::Ack => "ack",
            Self::Nack => "nack",
            Self::Recall => "recall",
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Lease,
            2 => Self::Write,
            3 => Self::Read,
            4 => Self::Renew,
            5 => Self::Release,
            6 => Self::Snapshot,
            17 => Self::Grant,
            18 => Self::Ack,
            19 => Self::Nack,
            20 => Self::Recall,
            _ => return None,
        })
    }

    /// Whether switches send it, and the store only receives it.
    #[must_use]
    pub const fn is_request(self) -> bool {
        (self as u8) < Self::Grant as u8
    }
}

/// Why the store says no.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum NackReason {
    /// There is no such record, and the request did not ask to make one.
    Absent = 1,
    /// The app's `on_create` refused to make the record.
    Refused = 2,
    /// The sender's generation is over.
    Stale = 3,
    /// A queue of the store is full.
    Busy = 4,
}

impl NackReason {
    /// Every reason, in the order of its code.
    pub const ALL: [Self; 4] = [Self::Absent, Self::Refused, Self::Stale, Self::Busy];

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Absent,
            2 => Self::Refused,
            3 => Self::Stale,
            4 => Self::Busy,
            _ => return None,
        })
    }
}

/// Why bytes are no message for us. Says where, and what was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It ends too early.
    #[error("{needed} bytes are needed for header, key and value, {found} arrived")]
    Truncated {
        /// Bytes that had to be there.
        needed: usize,
        /// Bytes that were.
        found: usize,
    },
    /// A field has a value that the protocol does not know.
    #[error("field {field} at offset {offset} has the unknown value {found}")]
    Unknown {
        /// Name of the field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
        /// What it holds.
        found: u16,
    },
    /// A legal message, but about another kind of state.
    #[error("field {field} at offset {offset} is {found}, not {expected}")]
    Stranger {
        /// Name of the field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
        /// What this end speaks.
        expected: u16,
        /// What it holds.
        found: u16,
    },
}

/// A view of bytes that are at least a header long, so that no accessor panics.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Looks at bytes as a message.
    ///
    /// # Errors
    /// If they are fewer than [`HEADER_LEN`].
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() < HEADER_LEN {
            return Err(DecodeError::Truncated { needed: HEADER_LEN, found: bytes.len() });
        }
        Ok(Self { bytes })
    }

    /// Protocol version.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.bytes[field::VERSION]
    }

    /// Code of the kind.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.bytes[field::KIND]
    }

    /// Flag bits.
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.bytes[field::FLAGS]
    }

    /// Code of the reason.
    #[must_use]
    pub fn reason(&self) -> u8 {
        self.bytes[field::REASON]
    }

    /// Number of the app.
    #[must_use]
    pub fn app(&self) -> u16 {
        self.u16_at(field::APP)
    }

    /// Fingerprint of the schema.
    #[must_use]
    pub fn fingerprint(&self) -> u16 {
        self.u16_at(field::FINGERPRINT)
    }

    /// What follows the header: key, value, frame.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// Who sent it, or is answered.
    #[must_use]
    pub fn identity(&self) -> SwitchIdentity {
        SwitchIdentity { switch: self.u16_at(field::SWITCH), incarnation: self.u16_at(field::INCARNATION) }
    }

    fn u16_at(&self, range: std::ops::Range<usize>) -> u16 {
        u16::from_be_bytes([self.bytes[range.start], self.bytes[range.start + 1]])
    }

    fn u32_at(&self, range: std::ops::Range<usize>) -> u32 {
        let at = range.start;
        u32::from_be_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }
}

/// A legal header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// What the message asks or answers.
    pub kind: Kind,
    /// LEASE only: make the record if it is absent.
    pub create: bool,
    /// Why not: `Some` exactly if `kind` is [`Kind::Nack`].
    pub reason: Option<NackReason>,
    /// Number of the app.
    pub app: u16,
    /// Fingerprint of the app's schema.
    pub fingerprint: u16,
    /// The switch that asks, or that is answered.
    pub identity: SwitchIdentity,
    /// Which grant the message belongs to; zero in LEASE.
    pub generation: Serial,
    /// Which write of the generation.
    pub sequence: Serial,
    /// Install counter of the slot when LEASE was sent.
    pub ticket: Serial,
    /// Clock of the switch when it sent the request; the store only echoes it.
    pub sent_at: Ticks,
    /// LEASE: ingress port of the carried input packet. WRITE, READ: egress port of the carried output packet, or
    /// [`PORT_RECIRCULATE`]. Echoed in answers.
    pub port: u16,
}

impl Header {
    /// Reads a header. Flag bits that this version does not know are ignored, as is a reason outside NACK.
    ///
    /// # Errors
    /// If the bytes are too few, or version, kind or a NACK's reason is unknown.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let packet = Packet::new_checked(bytes)?;
        let unknown = |field, offset, found: u8| DecodeError::Unknown { field, offset, found: found.into() };
        if packet.version() != VERSION {
            return Err(unknown("version", field::VERSION, packet.version()));
        }
        let kind =
            Kind::from_code(packet.kind()).ok_or_else(|| unknown("kind", field::KIND, packet.kind()))?;
        let reason = match kind {
            Kind::Nack => Some(
                NackReason::from_code(packet.reason())
                    .ok_or_else(|| unknown("reason", field::REASON, packet.reason()))?,
            ),
            _ => None,
        };
        Ok(Self {
            kind,
            create: kind == Kind::Lease && packet.flags() & FLAG_CREATE != 0,
            reason,
            app: packet.app(),
            fingerprint: packet.fingerprint(),
            identity: packet.identity(),
            generation: Serial(packet.u32_at(field::GENERATION)),
            sequence: Serial(packet.u32_at(field::SEQUENCE)),
            ticket: Serial(packet.u32_at(field::TICKET)),
            sent_at: Ticks(packet.u32_at(field::SENT_AT)),
            port: packet.u16_at(field::PORT),
        })
    }

    /// Writes the header: every one of the first [`HEADER_LEN`] bytes of `out`.
    ///
    /// # Panics
    /// If `out` is shorter than that.
    pub fn emit(&self, out: &mut [u8]) {
        debug_assert_eq!(self.reason.is_some(), self.kind == Kind::Nack);
        let out = &mut out[..HEADER_LEN];
        out[field::VERSION] = VERSION;
        out[field::KIND] = self.kind as u8;
        out[field::FLAGS] = if self.create { FLAG_CREATE } else { 0 };
        out[field::REASON] = self.reason.map_or(0, |reason| reason as u8);
        out[field::APP].copy_from_slice(&self.app.to_be_bytes());
        out[field::FINGERPRINT].copy_from_slice(&self.fingerprint.to_be_bytes());
        out[field::SWITCH].copy_from_slice(&self.identity.switch.to_be_bytes());
        out[field::INCARNATION].copy_from_slice(&self.identity.incarnation.to_be_bytes());
        out[field::GENERATION].copy_from_slice(&self.generation.0.to_be_bytes());
        out[field::SEQUENCE].copy_from_slice(&self.sequence.0.to_be_bytes());
        out[field::TICKET].copy_from_slice(&self.ticket.0.to_be_bytes());
        out[field::SENT_AT].copy_from_slice(&self.sent_at.0.to_be_bytes());
        out[field::PORT].copy_from_slice(&self.port.to_be_bytes());
    }
}

/// A whole message. Borrows everything, so that neither end copies a frame to read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// The header.
    pub header: Header,
    /// The flow key, as long as the schema says.
    pub key: &'a [u8],
    /// The value, as long as the schema says; zeros where it means nothing.
    pub value: &'a [u8],
    /// The carried Ethernet frame; empty if none is carried.
    pub frame: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message about the state that `schema` describes.
    ///
    /// # Errors
    /// If the header is not legal, is about another app or fingerprint, or key or value are cut short.
    pub fn parse(bytes: &'a [u8], schema: &Schema) -> Result<Self, DecodeError> {
        let header = Header::parse(bytes)?;
        let stranger = |field, range: std::ops::Range<usize>, expected, found| {
            Err(DecodeError::Stranger { field, offset: range.start, expected, found })
        };
        if header.app != schema.app {
            return stranger("app", field::APP, schema.app, header.app);
        }
        if header.fingerprint != schema.fingerprint {
            return stranger("fingerprint", field::FINGERPRINT, schema.fingerprint, header.fingerprint);
        }
        let (key_len, value_len) = (usize::from(schema.key_len), usize::from(schema.value_len));
        let needed = HEADER_LEN + key_len + value_len;
        if bytes.len() < needed {
            return Err(DecodeError::Truncated { needed, found: bytes.len() });
        }
        let (key, rest) = bytes[HEADER_LEN..].split_at(key_len);
        let (value, frame) = rest.split_at(value_len);
        Ok(Self { header, key, value, frame })
    }

    /// Bytes that [`Message::emit`] writes.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        HEADER_LEN + self.key.len() + self.value.len() + self.frame.len()
    }

    /// Writes the message: every one of the first [`Message::buffer_len`] bytes of `out`.
    ///
    /// # Panics
    /// If `out` is shorter than that.
    pub fn emit(&self, out: &mut [u8]) {
        self.header.emit(out);
        let (key, rest) = out[HEADER_LEN..].split_at_mut(self.key.len());
        let (value, rest) = rest.split_at_mut(self.value.len());
        key.copy_from_slice(self.key);
        value.copy_from_slice(self.value);
        rest[..self.frame.len()].copy_from_slice(self.frame);
    }

    /// Appends the message to `out`.
    pub fn append(&self, out: &mut Vec<u8>) {
        let mut header = [0; HEADER_LEN];
        self.header.emit(&mut header);
        out.extend_from_slice(&header);
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
        out.extend_from_slice(self.frame);
    }

    /// The message in a buffer of its own.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.buffer_len()];
        self.emit(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: Schema = Schema { app: 0x0102, fingerprint: 0x0304, key_len: 3, value_len: 2 };

    const BYTES: [u8; 39] = [
        1, 19, 0, 3, // version, kind, flags, reason
        1, 2, 3, 4, // app, fingerprint
        0, 7, 0, 9, // switch, incarnation
        0, 0, 0, 5, // generation
        0, 0, 1, 0, // sequence
        0, 0, 0, 6, // ticket
        0xff, 0xff, 0xff, 0xfe, // sent_at
        0xff, 0xfe, // port
        0xa, 0xb, 0xc, // key
        0xd, 0xe, // value
        0x11, 0x22, 0x33, 0x44, // frame
    ];

    fn header() -> Header {
        Header {
            kind: Kind::Nack,
            create: false,
            reason: Some(NackReason::Stale),
            app: 0x0102,
            fingerprint: 0x0304,
            identity: SwitchIdentity { switch: 7, incarnation: 9 },
            generation: Serial(5),
            sequence: Serial(256),
            ticket: Serial(6),
            sent_at: Ticks(u32::MAX - 1),
            port: PORT_RECIRCULATE,
        }
    }

    fn message() -> Message<'static> {
        Message { header: header(), key: &BYTES[30..33], value: &BYTES[33..35], frame: &BYTES[35..] }
    }

    #[test]
    fn deconstruct() {
        let packet = Packet::new_checked(&BYTES).unwrap();
        assert_eq!((packet.version(), packet.kind(), packet.flags(), packet.reason()), (1, 19, 0, 3));
        assert_eq!((packet.app(), packet.fingerprint()), (0x0102, 0x0304));
        assert_eq!(packet.body(), &BYTES[30..]);
    }

    #[test]
    fn construct() {
        let mut bytes = [0xa5; HEADER_LEN];
        header().emit(&mut bytes);
        assert_eq!(bytes, BYTES[..HEADER_LEN]);
    }

    #[test]
    fn parse() {
        assert_eq!(Message::parse(&BYTES, &SCHEMA), Ok(message()));
    }

    #[test]
    fn emit() {
        let mut bytes = [0xa5; BYTES.len()];
        message().emit(&mut bytes);
        assert_eq!(bytes, BYTES);
        assert_eq!(message().to_vec(), BYTES);
    }

    #[test]
    fn what_is_not_ours_is_refused_with_its_place() {
        let changed = |offset: usize, value: u8| {
            let mut bytes = BYTES;
            bytes[offset] = value;
            Message::parse(&bytes, &SCHEMA).unwrap_err()
        };
        assert_eq!(changed(0, 2), DecodeError::Unknown { field: "version", offset: 0, found: 2 });
        assert_eq!(changed(1, 16), DecodeError::Unknown { field: "kind", offset: 1, found: 16 });
        assert_eq!(changed(3, 0), DecodeError::Unknown { field: "reason", offset: 3, found: 0 });
        let stranger = DecodeError::Stranger { field: "app", offset: 4, expected: 0x0102, found: 0x0103 };
        assert_eq!(changed(5, 3), stranger);
        assert_eq!(stranger.to_string(), "field app at offset 4 is 259, not 258");
        assert!(matches!(changed(7, 9), DecodeError::Stranger { field: "fingerprint", offset: 6, .. }));
        for len in 0..35 {
            assert!(matches!(Message::parse(&BYTES[..len], &SCHEMA), Err(DecodeError::Truncated { .. })));
        }
        let mut other = BYTES;
        other[5] = 3;
        for len in HEADER_LEN..35 {
            assert_eq!(Message::parse(&other[..len], &SCHEMA), Err(stranger), "its lengths are its own");
        }
    }

    #[test]
    fn every_kind_has_its_code() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(kind as u8), Some(kind));
        }
        for reason in NackReason::ALL {
            assert_eq!(NackReason::from_code(reason as u8), Some(reason));
        }
        assert_eq!((0..=u8::MAX).filter_map(Kind::from_code).count(), Kind::ALL.len());
    }

    /// Cells of the rows of the guide's table that begins so.
    fn table(start: &str) -> Vec<Vec<&'static str>> {
        let page = include_str!("../../guide/src/protocol.md");
        let (_, rest) = page.split_once(start).expect("the guide has the table");
        let rows = rest.lines().skip(1).skip_while(|line| line.starts_with("| ---"));
        let rows = rows.take_while(|line| line.starts_with('|'));
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
    }

    #[test]
    fn the_guide_has_the_header() {
        let byte = |at: usize| at..at + 1;
        let fields = [
            ("version", byte(field::VERSION)),
            ("kind", byte(field::KIND)),
            ("flags", byte(field::FLAGS)),
            ("reason", byte(field::REASON)),
            ("app", field::APP),
            ("schema fingerprint", field::FINGERPRINT),
            ("switch", field::SWITCH),
            ("incarnation", field::INCARNATION),
            ("generation", field::GENERATION),
            ("sequence", field::SEQUENCE),
            ("ticket", field::TICKET),
            ("sent_at", field::SENT_AT),
            ("port", field::PORT),
        ];
        let wanted = fields
            .map(|(name, place)| [place.start.to_string(), name.to_owned(), (8 * place.len()).to_string()]);
        let found: Vec<_> =
            table("| offset | field | bits | |").into_iter().map(|row| row[..3].to_vec()).collect();
        assert_eq!(found, wanted);
        let page = include_str!("../../guide/src/protocol.md");
        for text in [
            format!("UDP port {UDP_PORT}."),
            format!("header of {HEADER_LEN} bytes"),
            format!("{PORT_RECIRCULATE:#x}"),
        ] {
            assert!(page.contains(&text), "{text}");
        }
    }

    #[test]
    fn the_guide_has_every_kind_and_reason() {
        let rows = table("| kind | | from | carries | meaning |");
        let sender = |kind: Kind| if kind.is_request() { "switch" } else { "store" };
        let wanted = Kind::ALL.map(|kind| {
            [format!("{kind:?}").to_uppercase(), (kind as u8).to_string(), sender(kind).to_owned()]
        });
        let found: Vec<_> = rows.iter().map(|row| row[..3].to_vec()).collect();
        assert_eq!(found, wanted);
        let nack = rows.iter().find(|row| row[0] == "NACK").expect("it is a kind")[4];
        for reason in NackReason::ALL {
            let named = format!("{} {}", reason as u8, format!("{reason:?}").to_uppercase());
            assert!(nack.contains(&named), "{named}");
        }
    }
}
