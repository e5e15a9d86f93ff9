//! The one clock of a process.

use std::time::Instant;

use redplane_protocol::Time;

/// Microseconds since the process started; never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that shows zero now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The moment at which it shows `time`; a time beyond any moment is as far as moments go, a day from now.
    #[must_use]
    pub fn instant(&self, time: Time) -> Instant {
        const FAR: std::time::Duration = std::time::Duration::from_secs(86_400);
        let ahead = std::time::Duration::from_micros(time.0);
        self.start.checked_add(ahead).filter(|at| *at < Instant::now() + FAR).unwrap_or(Instant::now() + FAR)
    }
}
