//! What a check found.

use std::fmt;

use crate::history::Micros;

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// What came out is as if there were one switch that never fails.
    Linearizable,
    /// The same, of what was written only.
    NoWriteLost,
    /// A public endpoint belongs to one inside endpoint, a connection to one backend, and stays with it.
    Mapping,
    /// Nothing gets in that nobody asked for, and nothing is refused of a flow that is open.
    Guarded,
    /// Every packet leaves, waits, or is dropped for a reason that is counted.
    Accounted,
    /// Once faults stop every request is answered and every key served.
    Liveness,
    /// What was shown is in every copy at the end, and the copies are equal.
    Durable,
    /// Nothing panics.
    Panic,
}

impl Check {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Check::Linearizable => "linearizable",
            Check::NoWriteLost => "no-write-lost",
            Check::Mapping => "mapping",
            Check::Guarded => "guarded",
            Check::Accounted => "accounted",
            Check::Liveness => "liveness",
            Check::Durable => "durable",
            Check::Panic => "panic",
        }
    }
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Who found it.
    pub check: Check,
    /// When it showed.
    pub at: Micros,
    /// What it is.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at {} µs: {}", self.check.name(), self.at, self.text)
    }
}
