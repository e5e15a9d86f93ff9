//! What is compared, and the software switch as one of them.

use std::collections::BTreeMap;

use redplane_codegen::ir;
use redplane_sdk::App;
use redplane_sdk::pipeline::{ConfigError, Output, Switch, SwitchConfig};
use redplane_sdk::protocol::{Ticks, slot};

use crate::compare::travels;
use crate::values;

/// Frames by the port by which they left, in order. Only what gets over a cable.
pub type Frames = BTreeMap<u16, Vec<Vec<u8>>>;

/// What a slot's registers hold, in the order of [`register_names`].
pub type Cells = Vec<u128>;

/// Where [`Cells`] have when to renew the lease: last.
pub const RENEW_AT: &str = "rp_renew_at";

/// The registers of a slot, by their names in the emitted P4, and the bits of each.
pub fn register_names(app: &ir::App) -> Vec<(String, u16)> {
    let record = |record: &ir::Record| {
        let prefix = snake(&record.name);
        let fields =
            record.fields.iter().map(move |field| (format!("{prefix}_{}", field.name), field.ty.bits()));
        fields.collect::<Vec<_>>()
    };
    let own = |name: &str| (name.to_owned(), 32);
    let mut names = vec![own("rp_ticket")];
    names.extend(record(&app.key));
    names.extend([own("rp_generation"), own("rp_expiry")]);
    names.extend(record(&app.state.record));
    names.extend([own("rp_sequence"), own("rp_acknowledged"), own(RENEW_AT)]);
    names
}

/// `Endpoint` as `endpoint`, `FiveTuple` as `five_tuple`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}

/// The software switch with one app.
pub struct Software<A: App> {
    switch: Switch<A>,
    now: Ticks,
    out: Output,
}

impl<A: App> Software<A> {
    /// A switch whose clock stands still.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: SwitchConfig, tables: A::Tables, now: Ticks) -> Result<Self, ConfigError> {
        Ok(Software { switch: Switch::new(config, tables, now)?, now, out: Output::new() })
    }

    /// What comes out when a frame comes in.
    pub fn step(&mut self, port: u16, frame: &[u8], cabled: &[u16]) -> Frames {
        self.out.clear();
        self.switch.process(port, frame, self.now, &mut self.out);
        let mut frames = Frames::new();
        for (port, frame) in self.out.iter().filter(|(port, frame)| cabled.contains(port) && travels(frame)) {
            frames.entry(port).or_default().push(frame.to_vec());
        }
        frames
    }

    /// Packets dropped, by reason; what is zero is left out.
    pub fn drops(&self) -> BTreeMap<String, u64> {
        let drops = self.switch.statistics().drops().filter(|(_, packets)| *packets > 0);
        drops.map(|(reason, packets)| (reason.to_owned(), packets)).collect()
    }

    /// The registers of a slot.
    pub fn slot(&self, app: &ir::App, index: u32) -> Cells {
        let Some(slot) = self.switch.slots().registers(index) else { return Cells::new() };
        let slot::Registers { ticket, generation, expiry, renew_at, sequence, acknowledged, .. } = slot;
        let mut cells = vec![ticket.0.into()];
        cells.extend(values::fields(&app.key, &slot.key));
        cells.extend([generation.0.into(), expiry.0.into()].map(|cell: u128| cell));
        cells.extend(values::fields(&app.state.record, &slot.value));
        cells.extend([sequence.0.into(), acknowledged.0.into(), renew_at.0.into()].map(|cell: u128| cell));
        cells
    }
}
