//! BMv2 as one of those that are compared.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use redplane_bmv2::{Entries, Launch, Operator, Process, Program};

use crate::cable::Cable;
use crate::store::Store;
use crate::subject::{Cells, Frames};

/// Where the switch listens. The network namespace is its own, so nobody else is there.
const THRIFT_PORT: u16 = 9090;

/// How long BMv2 may take for what it is bound to do, on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(3);

/// EtherType of a marker (IEEE 802, local experimental 2).
const ETHERTYPE_MARKER: [u8; 2] = [0x88, 0xb6];

/// Most slots of which the registers are read at once: all of an app's.
const SLOTS_STEP: usize = 1 << 16;

/// A switch that runs the emitted P4.
pub struct Emulator<'c> {
    process: Process,
    entries: Entries,
    cables: &'c mut BTreeMap<u16, Cable>,
    /// Full names of a slot's registers.
    registers: Vec<String>,
    markers: u64,
}

impl<'c> Emulator<'c> {
    /// Starts and fills a switch. `names` are the registers of a slot.
    ///
    /// # Errors
    /// If it does not start, or refuses what it is told.
    pub fn start(
        program: &Program,
        entries: &Entries,
        operator: &Operator,
        names: &[(String, u16)],
        cables: &'c mut BTreeMap<u16, Cable>,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let full = |(name, _): &(String, u16)| {
            let mut known = program.registers.iter();
            let known = known.find(|register| register.short_name().trim_end_matches('_') == name);
            known
                .map(|register| register.name.clone())
                .with_context(|| format!("the P4 has no register {name}"))
        };
        let registers = names.iter().map(full).collect::<Result<_, _>>()?;
        let interfaces = cables.iter().map(|(port, cable)| (*port, cable.interface.clone())).collect();
        let launch =
            Launch { program: program.clone(), interfaces, thrift_port: THRIFT_PORT, log: log.to_owned() };
        let mut process = Process::start(&launch)?;
        process.load(entries, operator)?;
        Ok(Emulator { process, entries: entries.clone(), cables, registers, markers: 0 })
    }

    /// Sends a frame, and gives all that came out of it: what is expected, if it comes, and whatever else.
    ///
    /// `dropped`: how many packets will have been dropped in all then. A frame that goes round within the switch is done when
    /// it has come out or is counted; then a marker through each port is behind all else.
    ///
    /// # Errors
    /// If the switch is gone.
    pub fn step(
        &mut self,
        port: u16,
        frame: &[u8],
        expected: &Frames,
        dropped: Option<u64>,
        store: &Store,
        store_port: u16,
    ) -> anyhow::Result<Frames> {
        self.cable(port)?.send(frame)?;
        let deadline = Instant::now() + PATIENCE;
        let mut frames = Frames::new();
        for (port, expected) in expected {
            for _ in expected {
                let Some(frame) = self.cable(*port)?.receive(deadline)? else { break };
                frames.entry(*port).or_default().push(frame);
            }
        }
        if let Some(dropped) = dropped {
            while self.drops()?.values().sum::<u64>() < dropped && Instant::now() < deadline {}
        }
        self.markers += 1;
        let ports: Vec<u16> = self.cables.keys().copied().collect();
        let mut marker = vec![2; 12];
        marker.extend(ETHERTYPE_MARKER);
        marker.resize(52, 0);
        marker.extend(self.markers.to_be_bytes());
        for port in &ports {
            let message = store.marker(*port, &marker);
            self.cable(store_port)?.send(&message)?;
        }
        for port in ports {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let frame = self.cable(port)?.receive(deadline)?;
                let frame = frame.with_context(|| format!("BMv2 let no marker out of port {port}"))?;
                if frame == marker {
                    break;
                }
                frames.entry(port).or_default().push(frame);
            }
        }
        Ok(frames)
    }

    fn cable(&mut self, port: u16) -> anyhow::Result<&mut Cable> {
        self.cables.get_mut(&port).with_context(|| format!("no cable at port {port}"))
    }

    /// Packets dropped, by reason; what is zero is left out.
    ///
    /// # Errors
    /// If the switch is gone.
    pub fn drops(&mut self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut drops = self.process.drops(&self.entries)?;
        drops.retain(|_, packets| *packets > 0);
        Ok(drops)
    }

    /// The registers of these slots.
    ///
    /// # Errors
    /// If the switch is gone.
    pub fn slots(&mut self, indices: &[u32]) -> anyhow::Result<Vec<Cells>> {
        let cells =
            indices.iter().flat_map(|index| self.registers.iter().map(move |name| (name.as_str(), *index)));
        let cells: Vec<_> = cells.collect();
        let values = self.process.runtime().read_registers(&cells)?;
        let each = values.chunks(self.registers.len().max(1));
        Ok(each.map(|cells| cells.iter().map(|cell| u128::from(*cell)).collect()).collect())
    }

    /// The registers of every slot.
    ///
    /// # Errors
    /// If the switch is gone.
    pub fn all_slots(&mut self) -> anyhow::Result<Vec<Cells>> {
        let mut slots: Vec<Cells> = Vec::with_capacity(SLOTS_STEP);
        for name in &self.registers {
            let cells = self.process.runtime().read_register_array(name)?;
            slots.resize(cells.len(), Cells::new());
            for (slot, cell) in slots.iter_mut().zip(cells) {
                slot.push(cell.into());
            }
        }
        Ok(slots)
    }
}
