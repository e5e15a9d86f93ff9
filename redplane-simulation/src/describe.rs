//! A frame in words.

use redplane_protocol::chain::Content;
use redplane_protocol::{ChainMessage, Message, Record, RecordKey, Schema};

use crate::event::Place;
use crate::frame::{Datagram, PacketId, Segment, flag};

/// What a frame is, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its kind, in a word.
    pub kind: String,
    /// All that matters about it.
    pub text: String,
}

/// Says what a frame between two places is.
#[must_use]
pub fn describe(from: Place, to: Place, frame: &[u8], schema: &Schema) -> Description {
    let described = match (from, to) {
        (Place::Node(_), Place::Node(_)) => chain(frame, schema),
        (Place::Hosts, _) | (_, Place::Hosts) => packet(frame),
        _ => Datagram::parse(frame).and_then(|(_, payload)| message(payload, schema)),
    };
    described
        .unwrap_or_else(|| Description { kind: "BROKEN".to_owned(), text: format!("{} bytes", frame.len()) })
}

fn packet(frame: &[u8]) -> Option<Description> {
    let name = PacketId::of(frame)?;
    let (src, dst, what) = match Segment::parse(frame) {
        Some(Segment { src, dst, flags }) => (src, dst, names(flags)),
        None => {
            let (Datagram { src, dst, identification }, _) = Datagram::parse(frame)?;
            (src, dst, format!("shows {identification}"))
        }
    };
    let text = format!("{name}: {}:{} to {}:{} {what}", src.0, src.1, dst.0, dst.1);
    Some(Description { kind: "data".to_owned(), text })
}

/// TCP's flags, as one reads them.
fn names(flags: u8) -> String {
    let all = [(flag::SYN, "SYN"), (flag::FIN, "FIN"), (flag::RST, "RST"), (flag::ACK, "ACK")];
    let set: Vec<_> = all.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    set.join("+")
}

fn message(payload: &[u8], schema: &Schema) -> Option<Description> {
    let message = Message::parse(payload, schema).ok()?;
    let header = message.header;
    let kind = format!("{:?}", header.kind).to_uppercase();
    let key = header_key(message.key);
    let mut text = format!(
        "{key} generation {} sequence {} ticket {} of {}.{} at {:?}",
        header.generation.0,
        header.sequence.0,
        header.ticket.0,
        header.identity.switch,
        header.identity.incarnation,
        header.sent_at,
    );
    if header.create {
        text.push_str(" create");
    }
    if let Some(reason) = header.reason {
        text.push_str(&format!(" {reason:?}"));
    }
    if message.value.iter().any(|byte| *byte != 0) {
        text.push_str(&format!(" value {}", hex(message.value)));
    }
    if let Some(packet) = PacketId::of(message.frame) {
        text.push_str(&format!(" with {packet}"));
    }
    Some(Description { kind, text })
}

fn chain(bytes: &[u8], schema: &Schema) -> Option<Description> {
    let ChainMessage { shard, epoch, generation, content } = ChainMessage::parse(bytes).ok()?;
    let (kind, what) = match content {
        Content::Update { confirm, records, reply } => {
            let reply = reply.and_then(|reply| message(&reply.bytes, schema));
            let reply =
                reply.map(|reply| format!(", then {} {}", reply.kind, reply.text)).unwrap_or_default();
            ("update", format!("confirm {confirm}{}{reply}", all(&records)))
        }
        Content::Copy { portion, records } => ("copy", format!("portion {portion}{}", all(&records))),
        Content::Confirmed { confirm } => ("confirmed", format!("{confirm}")),
        Content::Copied { portion } => ("copied", format!("portion {portion}")),
        Content::Forwarded { bytes, .. } => {
            let request = message(&bytes, schema);
            let request = request.map(|request| format!("{} {}", request.kind, request.text));
            ("forwarded", request.unwrap_or_default())
        }
    };
    let text = format!("{what} (shard {shard} epoch {epoch} last generation {})", generation.0);
    Some(Description { kind: kind.to_owned(), text })
}

fn all(records: &[(RecordKey, Record)]) -> String {
    let record = |(key, record): &(RecordKey, Record)| {
        let version = record.version;
        let value = if record.deleted { "deleted".to_owned() } else { hex(&record.value) };
        format!("; {} {}/{} {value}", header_key(key.key()), version.generation.0, version.sequence.0)
    };
    records.iter().map(record).collect()
}

fn header_key(key: &[u8]) -> String {
    format!("key {}", hex(key))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
