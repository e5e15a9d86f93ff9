//! The drill's one clock.

use std::time::Instant;

use redplane_protocol::Ticks;
use redplane_simulation::history::Micros;

/// Microseconds since the drill began; the same on all threads, never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that shows zero now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// What it shows.
    #[must_use]
    pub fn micros(&self) -> Micros {
        self.0.elapsed().as_micros() as Micros
    }

    /// The same as the switches know it.
    #[must_use]
    pub fn ticks(&self) -> Ticks {
        Ticks::from_micros(self.micros())
    }
}
