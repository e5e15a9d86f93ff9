//! Capture files: reads pcap and pcapng, writes pcap.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use pcap_file::DataLink;
use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgReader};

/// First bytes of a pcapng file, in either byte order (IETF draft-ietf-opsawg-pcapng).
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Frames that are read from one file, so that a wrong file cannot fill the memory.
const FRAMES_MAX: usize = 10_000_000;

/// Longest frame kept: a jumbo frame with room for the protocol's header.
const FRAME_LEN_MAX: usize = 65_535;

/// Bytes of the Linux "any" pseudo header, and where its protocol stands.
const SLL_LEN: usize = 16;
const SLL_PROTOCOL: usize = 14;

/// One captured Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When, since any epoch.
    pub at: Duration,
    /// The frame, from its Ethernet header on.
    pub bytes: Vec<u8>,
}

/// Reads all frames of a pcap or pcapng file, in file order. Captures of raw IPv4 and of Linux's "any" device get an
/// Ethernet header with zero addresses.
///
/// # Errors
/// If the file cannot be read, is no capture, is damaged, or is of another link type.
pub fn read(path: &Path) -> Result<Vec<Frame>> {
    let name = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    let mut magic = [0; 4];
    file.read_exact(&mut magic).with_context(|| format!("{name} is no capture: shorter than four bytes"))?;
    file.rewind()?;
    let reader = BufReader::new(file);
    if magic == PCAPNG_MAGIC { read_pcapng(reader) } else { read_pcap(reader) }
        .with_context(|| format!("cannot read {name}"))
}

fn read_pcap(reader: impl Read) -> Result<Vec<Frame>> {
    let mut reader = PcapReader::new(reader).context("not a pcap file")?;
    let link = reader.header().datalink;
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.with_context(|| format!("frame {}", frames.len() + 1))?;
        push(&mut frames, packet.timestamp, link, &packet.data)?;
    }
    Ok(frames)
}

fn read_pcapng(reader: impl Read) -> Result<Vec<Frame>> {
    let mut reader = PcapNgReader::new(reader).context("not a pcapng file")?;
    let mut interfaces: Vec<(DataLink, u32)> = Vec::new();
    let mut frames = Vec::new();
    while let Some(block) = reader.next_block() {
        match block.with_context(|| format!("after frame {}", frames.len()))? {
            Block::SectionHeader(_) => interfaces.clear(),
            Block::InterfaceDescription(block) => interfaces.push((block.linktype, ticks_per_second(&block))),
            Block::EnhancedPacket(packet) => {
                let Some(&(link, ticks)) = interfaces.get(packet.interface_id as usize) else {
                    bail!("frame {}: interface {} is not described", frames.len() + 1, packet.interface_id);
                };
                // pcap-file 2.0.0 takes the ticks for nanoseconds, whatever the interface says.
                let count = packet.timestamp.as_nanos();
                let nanos = count * 1_000_000_000 / u128::from(ticks);
                let at = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                push(&mut frames, at, link, &packet.data)?;
            }
            _ => {}
        }
    }
    Ok(frames)
}

/// Option `if_tsresol`; microseconds without it, and for what does not fit.
fn ticks_per_second(interface: &InterfaceDescriptionBlock<'_>) -> u32 {
    let resolution = interface.options.iter().find_map(|option| match option {
        InterfaceDescriptionOption::IfTsResol(resolution) => Some(*resolution),
        _ => None,
    });
    let ticks = match resolution {
        Some(exponent) if exponent & 0x80 != 0 => 2u32.checked_pow(u32::from(exponent & 0x7f)),
        Some(exponent) => 10u32.checked_pow(u32::from(exponent)),
        None => None,
    };
    ticks.unwrap_or(1_000_000)
}

fn push(frames: &mut Vec<Frame>, at: Duration, link: DataLink, data: &[u8]) -> Result<()> {
    if frames.len() >= FRAMES_MAX {
        bail!("more than {FRAMES_MAX} frames");
    }
    let with_header = |ether_type: [u8; 2], packet: &[u8]| {
        let mut bytes = vec![0; 12];
        bytes.extend_from_slice(&ether_type);
        bytes.extend_from_slice(packet);
        bytes
    };
    let bytes = match link {
        DataLink::ETHERNET => data.to_vec(),
        DataLink::RAW | DataLink::IPV4 => with_header([0x08, 0x00], data),
        DataLink::LINUX_SLL if data.len() >= SLL_LEN => {
            with_header([data[SLL_PROTOCOL], data[SLL_PROTOCOL + 1]], &data[SLL_LEN..])
        }
        other => bail!("frame {}: link type {other:?} is not Ethernet", frames.len() + 1),
    };
    frames.push(Frame { at, bytes });
    Ok(())
}

/// Writes Ethernet frames to a pcap file.
pub struct Writer {
    writer: PcapWriter<BufWriter<File>>,
}

impl Writer {
    /// Makes the file, or empties it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(path: &Path) -> Result<Writer> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Writer { writer: PcapWriter::new(BufWriter::new(file))? })
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, at: Duration, frame: &[u8]) -> Result<()> {
        let kept = &frame[..frame.len().min(FRAME_LEN_MAX)];
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.writer.write_packet(&PcapPacket::new(at, len, kept))?;
        Ok(())
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> Result<()> {
        self.writer.into_writer().flush().context("cannot write the capture")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("redplane-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn what_is_written_is_read_again() {
        let path = file("again.pcap", &[]);
        let frames = [
            Frame { at: Duration::from_micros(1_000_001), bytes: vec![7; 60] },
            Frame { at: Duration::from_micros(2_000_000), bytes: vec![8; 1500] },
        ];
        let mut writer = Writer::create(&path).unwrap();
        for frame in &frames {
            writer.write(frame.at, &frame.bytes).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(read(&path).unwrap(), frames);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn no_damaged_file_panics() {
        let good =
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kernel.pcap")).unwrap();
        for len in (0..200).chain([good.len() - 1]) {
            let path = file("cut.pcap", &good[..len]);
            let _ = read(&path);
        }
        for at in 0..100 {
            let mut bad = good[..2000].to_vec();
            bad[at] ^= 0xff;
            let path = file("cut.pcap", &bad);
            let _ = read(&path);
        }
        assert!(read(&file("cut.pcap", b"text, not a capture")).is_err());
        std::fs::remove_file(file("cut.pcap", &[])).unwrap();
    }
}
