//! A run as a capture file: every frame when it came to its end, with a comment that says what became of it.

use std::borrow::Cow;
use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use redplane_protocol::Schema;

use crate::describe::describe;
use crate::event::{Event, Place};
use crate::frame::Datagram;
use crate::history::Micros;

/// UDP port under which messages within the chain are shown: they have no frames of their own.
const CHAIN_PORT: u16 = 21073;

/// Power of ten of the timestamps: microseconds.
const MICROSECONDS: u8 = 6;

/// Writes a run to a pcapng file.
pub struct Capture<O: Write> {
    writer: PcapNgWriter<O>,
    schema: Schema,
}

impl<O: Write> Capture<O> {
    /// Begins a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(out: O, schema: Schema) -> anyhow::Result<Self> {
        let mut writer = PcapNgWriter::new(out)?;
        writer.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: vec![InterfaceDescriptionOption::IfTsResol(MICROSECONDS)],
        })?;
        Ok(Capture { writer, schema })
    }

    /// Adds an event, if it is a frame.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, now: Micros, event: &Event<'_>) -> anyhow::Result<()> {
        let Event::Frame { sent, from, to, loss, frame } = *event else { return Ok(()) };
        let description = describe(from, to, frame, &self.schema);
        let fate = loss.map_or("delivered", |loss| loss.name());
        let comment =
            format!("{from} to {to}, sent at {sent} µs, {fate}: {} {}", description.kind, description.text);
        let data = match (from, to) {
            (Place::Node(from), Place::Node(to)) => Cow::Owned(chain_frame(from, to, frame)),
            _ => Cow::Borrowed(frame),
        };
        self.writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: 0,
            // pcap-file 2.0.0 writes nanoseconds as they are, whatever the interface says.
            timestamp: Duration::from_nanos(now),
            original_len: data.len() as u32,
            data,
            options: vec![EnhancedPacketOption::Comment(Cow::Owned(comment))],
        })?;
        Ok(())
    }
}

fn chain_frame(from: u8, to: u8, message: &[u8]) -> Vec<u8> {
    let node = |at| (Ipv4Addr::new(192, 0, 2, 200 + at), CHAIN_PORT);
    Datagram { src: node(from), dst: node(to), identification: 0 }.to_frame(message)
}
