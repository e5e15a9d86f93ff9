//! One round: fresh switches, a fresh store, and packets from one seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use redplane_sdk::App;
use redplane_sdk::net::Random;
use redplane_sdk::packet::Packet;
use redplane_sdk::protocol::wire::HEADER_LEN;
use redplane_sdk::protocol::{Fixed, Kind, Ticks, fixed};

use crate::compare::{differing, masked_frames};
use crate::emulator::Emulator;
use crate::generate::{Pool, pick};
use crate::interpreted::{self, Interpreted};
use crate::setting::Setting;
use crate::store::{ENVELOPE, Store};
use crate::subject::{Cells, Frames, Software};

/// Ports with cables; the store is at the last one.
pub const PORTS: [u16; 3] = [1, 2, 3];
/// The store's port.
pub const STORE_PORT: u16 = 3;

/// What the software switches' clock shows.
pub const NOW: Ticks = Ticks(50_000);

/// Frames that may come again.
const HISTORY_MAX: usize = 200;
/// Frames that are tried for keys that share a slot, and pairs of them that are kept.
const COLLISION_TRIES: usize = 6_000;
const COLLISIONS_MAX: usize = 12;

/// How long BMv2's registers may take to show what has come out already.
const SETTLE: Duration = Duration::from_secs(1);

/// The first thing that was not equal.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Number of the packet in its round, from one.
    pub packet: u64,
    /// Where it came in.
    pub port: u16,
    /// The packet.
    pub frame: Vec<u8>,
    /// What differs.
    pub what: String,
}

/// The switches of a round, and who talks to them.
pub struct Round<'a, A: App> {
    setting: &'a Setting<A>,
    native: Software<A>,
    interpreted: Software<Interpreted<A>>,
    emulator: Option<Emulator<'a>>,
    store: Store,
    random: Random,
    history: VecDeque<Vec<u8>>,
    colliding: Vec<Vec<u8>>,
    renewed: BTreeSet<u32>,
    asked: bool,
}

impl<'a, A: App> Round<'a, A> {
    /// A round that begins. The interpreter's program is installed already.
    ///
    /// # Errors
    /// If the switches cannot be configured so.
    pub fn new(setting: &'a Setting<A>, emulator: Option<Emulator<'a>>, seed: u64) -> anyhow::Result<Self> {
        let mut random = Random::new(seed);
        let colliding = colliding::<A>(&setting.pool, &mut random);
        Ok(Round {
            setting,
            native: Software::new(setting.config.clone(), setting.tables.clone(), NOW)?,
            interpreted: Software::new(setting.config.clone(), setting.tables.clone(), NOW)?,
            emulator,
            store: setting.store(),
            random,
            history: VecDeque::new(),
            colliding,
            renewed: BTreeSet::new(),
            asked: false,
        })
    }

    /// Plays so many packets. Gives the first difference, if there is one.
    ///
    /// # Errors
    /// If BMv2 fails.
    pub fn play(&mut self, packets: u64) -> anyhow::Result<Option<Difference>> {
        for packet in 1..=packets {
            let (port, frame) = self.next_frame();
            if let Some(what) = self.step(port, &frame)? {
                return Ok(Some(Difference { packet, port, frame, what }));
            }
        }
        let what = self.compare_all_slots()?;
        Ok(what.map(|what| Difference { packet: packets, port: 0, frame: Vec::new(), what }))
    }

    /// Every reason for which a packet was dropped.
    pub fn reasons(&self) -> Vec<String> {
        self.native.drops().into_keys().collect()
    }

    /// What comes in next, and where.
    fn next_frame(&mut self) -> (u16, Vec<u8>) {
        let answer = if self.asked { 0.7 } else { 0.2 };
        if self.random.chance(answer)
            && let Some(frame) = self.store.poll_frame(&self.setting.pool, &mut self.random)
        {
            // By a port that does not face the store it is traffic.
            let port = if self.random.chance(0.01) { 1 } else { STORE_PORT };
            return (port, frame);
        }
        let port = pick(&mut self.random, &[1, 1, 1, 1, 2, 2, 2, 2, STORE_PORT]);
        let known = !self.history.is_empty() && self.random.chance(0.45);
        let frame = if known {
            let index = self.random.below(self.history.len() as u64) as usize;
            self.history[index].clone()
        } else if !self.colliding.is_empty() && self.random.chance(0.08) {
            pick(&mut self.random, &self.colliding)
        } else {
            let frame = self.setting.pool.frame(&mut self.random);
            self.history.push_back(frame.clone());
            frame
        };
        if self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
        (port, frame)
    }

    /// One frame through all. Gives what differs.
    fn step(&mut self, port: u16, frame: &[u8]) -> anyhow::Result<Option<String>> {
        let before: u64 = self.native.drops().values().sum();
        let frames = self.native.step(port, frame, &PORTS);
        let by_ir = self.interpreted.step(port, frame, &PORTS);
        let mut slots: BTreeSet<u32> = interpreted::take_slots().into_iter().collect();
        slots.extend(self.slot_of_message(frame));
        for message in frames.get(&STORE_PORT).into_iter().flatten() {
            if message.get(ENVELOPE + 1) == Some(&(Kind::Renew as u8)) {
                self.renewed.extend(self.slot_of_message(message));
            }
        }
        let slots: Vec<u32> = slots.into_iter().collect();
        let cells: Vec<Cells> = slots.iter().map(|slot| self.native.slot(self.setting.app, *slot)).collect();
        let drops = self.native.drops();
        let ir_cells: Vec<Cells> =
            slots.iter().map(|slot| self.interpreted.slot(self.setting.app, *slot)).collect();
        if (&frames, &drops, &cells) != (&by_ir, &self.interpreted.drops(), &ir_cells) {
            let native = described(&frames, &drops);
            return Ok(Some(format!(
                "native:\n{native}IR:\n{}",
                described(&by_ir, &self.interpreted.drops())
            )));
        }
        let dropped: u64 = drops.values().sum();
        let what =
            self.step_emulator(port, frame, &frames, (dropped > before).then_some(dropped), &slots, &cells)?;
        self.asked = false;
        for frame in frames.get(&STORE_PORT).into_iter().flatten() {
            self.store.handle_frame(frame);
            self.asked = true;
        }
        Ok(what)
    }

    fn step_emulator(
        &mut self,
        port: u16,
        frame: &[u8],
        frames: &Frames,
        dropped: Option<u64>,
        slots: &[u32],
        cells: &[Cells],
    ) -> anyhow::Result<Option<String>> {
        let Some(emulator) = &mut self.emulator else { return Ok(None) };
        let seen = emulator.step(port, frame, frames, dropped, &self.store, STORE_PORT)?;
        let drops = self.native.drops();
        if masked_frames(&seen) != masked_frames(frames) {
            let found = emulator.drops()?;
            return Ok(Some(format!(
                "native:\n{}BMv2:\n{}",
                described(frames, &drops),
                described(&seen, &found)
            )));
        }
        // BMv2 may still be at it: a packet that leaves by a port without a cable, or goes round once more.
        let end = Instant::now() + SETTLE;
        loop {
            let Some(emulator) = &mut self.emulator else { return Ok(None) };
            let (found, found_cells) = (emulator.drops()?, emulator.slots(slots)?);
            let what = if found == drops {
                self.names_differing(slots, cells, &found_cells)
            } else {
                Some(format!("packets dropped, native:\n  {drops:?}\nBMv2:\n  {found:?}\n"))
            };
            if what.is_none() || Instant::now() > end {
                return Ok(what);
            }
        }
    }

    fn names_differing(&self, slots: &[u32], expected: &[Cells], found: &[Cells]) -> Option<String> {
        for (slot, (expected, found)) in slots.iter().zip(expected.iter().zip(found)) {
            let names = differing(&self.setting.names, expected, found, self.renewed.contains(slot));
            if !names.is_empty() {
                let all: Vec<_> = self.setting.names.iter().map(|(name, _)| name.as_str()).collect();
                return Some(format!(
                    "slot {slot}: {} differ, of {}\nnative:\n  {expected:x?}\nBMv2:\n  {found:x?}\n",
                    names.join(", "),
                    all.join(", ")
                ));
            }
        }
        None
    }

    fn compare_all_slots(&mut self) -> anyhow::Result<Option<String>> {
        let Some(emulator) = &mut self.emulator else { return Ok(None) };
        let found = emulator.all_slots()?;
        let slots: Vec<u32> = (0..A::SLOTS).collect();
        let cells: Vec<Cells> = slots.iter().map(|slot| self.native.slot(self.setting.app, *slot)).collect();
        Ok(self.names_differing(&slots, &cells, &found))
    }

    /// The slot of the key in a frame that may be a message.
    fn slot_of_message(&self, frame: &[u8]) -> Option<u32> {
        let at = ENVELOPE + HEADER_LEN;
        let key = A::Key::decode(frame.get(at..at + A::Key::LEN)?);
        Some(fixed::slot_of(fixed::key_hash(&key), A::SLOTS))
    }
}

/// Frames whose keys differ and share a slot.
fn colliding<A: App>(pool: &Pool, random: &mut Random) -> Vec<Vec<u8>> {
    let mut seen: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut colliding = Vec::new();
    for _ in 0..COLLISION_TRIES {
        let mut frame = pool.frame(random);
        // Any port, not one of the few: there must be many keys. The other one stays: a table may have it.
        let at = pick(random, &[34, 36]);
        if let Some(port) = frame.get_mut(at..at + 2) {
            port.copy_from_slice(&(random.next_u64() as u16).to_be_bytes());
        }
        let Ok(packet) = Packet::parse_with(&frame, Interpreted::<A>::own_headers) else { continue };
        let Some(slot) = interpreted::reached_slot::<A>(&packet, 1) else { continue };
        if let Some(other) = seen.insert(slot, frame.clone())
            && colliding.len() < 2 * COLLISIONS_MAX
        {
            colliding.extend([other, frame]);
        }
    }
    colliding
}

/// What came out, and what was dropped so far, as lines.
fn described(frames: &Frames, drops: &BTreeMap<String, u64>) -> String {
    let mut text = String::new();
    for (port, frames) in frames {
        for frame in frames {
            text += &format!("  port {port}: {}\n", hex(frame));
        }
    }
    if frames.is_empty() {
        text += "  nothing\n";
    }
    text + &format!("  dropped so far: {drops:?}\n")
}

/// Bytes as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
