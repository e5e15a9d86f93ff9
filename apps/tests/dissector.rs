//! A captured run in tshark's eyes, through the generated dissector, and in those of our own codec.

use std::process::Command;

use apps::demo::capture;
use apps::demo::datagram::Datagram;
use apps::nat::{App, Binding, Endpoint};
use redplane_sdk::app::schema;
use redplane_sdk::protocol::wire::{UDP_PORT, VERSION};
use redplane_sdk::protocol::{Fixed, Kind, Message};

use super::run::{is_there, program, text};

const DISSECTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../p4-out/nat/redplane_nat.lua");

const FIELDS: [&str; 18] = [
    "redplane.version",
    "redplane.kind",
    "redplane.flags",
    "redplane.reason",
    "redplane.app_id",
    "redplane.fingerprint",
    "redplane.switch",
    "redplane.incarnation",
    "redplane.generation",
    "redplane.sequence",
    "redplane.ticket",
    "redplane.sent_at",
    "redplane.port",
    "redplane.nat.key.addr",
    "redplane.nat.key.port",
    "redplane.nat.key.protocol",
    "redplane.nat.value.addr",
    "redplane.nat.value.port",
];

/// As tshark prints it: the fields, then source address and length of the innermost IPv4 packet.
fn line(message: &Message<'_>, datagram: &[u8]) -> String {
    let header = &message.header;
    let key = Endpoint::decode(message.key);
    let value = Binding::decode(message.value);
    let packet = if message.frame.is_empty() { datagram } else { message.frame };
    let source = std::net::Ipv4Addr::new(packet[26], packet[27], packet[28], packet[29]);
    let length = u16::from_be_bytes([packet[16], packet[17]]);
    [
        VERSION.to_string(),
        (header.kind as u8).to_string(),
        format!("0x{:02x}", u8::from(header.create)),
        header.reason.map_or(0, |reason| reason as u8).to_string(),
        header.app.to_string(),
        format!("0x{:04x}", header.fingerprint),
        header.identity.switch.to_string(),
        header.identity.incarnation.to_string(),
        header.generation.0.to_string(),
        header.sequence.0.to_string(),
        header.ticket.0.to_string(),
        header.sent_at.0.to_string(),
        header.port.to_string(),
        key.addr.to_string(),
        key.port.to_string(),
        key.protocol.to_string(),
        value.addr.to_string(),
        value.port.to_string(),
        source.to_string(),
        length.to_string(),
    ]
    .join("|")
}

#[test]
fn tshark_reads_every_message_as_we_do() {
    if !is_there("tshark", &["--version"]) {
        return;
    }
    // With this seed the second switch fails, so that the first has to give back what it took over.
    let arguments = ["--connections", "24", "--seed", "3", "--capture", "run.pcap", "--json"];
    let (path, output) = program("dissector", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let capture = path.join("run.pcap");
    let mut expected = Vec::new();
    let mut kinds = std::collections::BTreeSet::new();
    for frame in capture::read(&capture).unwrap() {
        let Some(datagram) = Datagram::parse(&frame.bytes).filter(|datagram| datagram.to.port() == UDP_PORT)
        else {
            continue;
        };
        let message = Message::parse(datagram.payload, &schema::<App>()).unwrap();
        kinds.insert(message.header.kind);
        expected.push(line(&message, &frame.bytes));
    }
    for kind in [Kind::Lease, Kind::Grant, Kind::Renew, Kind::Ack, Kind::Recall, Kind::Release] {
        assert!(kinds.contains(&kind), "the run has no {kind:?}, only {kinds:?}");
    }
    let mut tshark = Command::new("tshark");
    tshark.arg("-X").arg(format!("lua_script:{DISSECTOR}")).arg("-r").arg(&capture);
    tshark.args(["-Y", "redplane", "-T", "fields", "-E", "separator=|", "-E", "occurrence=l"]);
    for field in FIELDS.iter().chain(&["ip.src", "ip.len"]) {
        tshark.args(["-e", field]);
    }
    let found = tshark.output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let found = text(&found);
    let found: Vec<&str> = found.lines().collect();
    assert_eq!(found.len(), expected.len());
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "message {}", number + 1);
    }
    println!("{} messages, {kinds:?}", found.len());
}
