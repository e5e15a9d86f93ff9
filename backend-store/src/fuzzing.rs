//! What must hold for whatever bytes come in. The targets in `fuzz/` call these; they panic if it does not hold.
//!
//! Only in tests and under a fuzzer: nothing of it is in what is shipped.

pub use crate::load::fuzzing::load;
pub use crate::service::config::fuzzing::{config, report};
pub use crate::service::coordination::fuzzing::{dialect, state, table};
pub use crate::service::journal::fuzzing::journal;
pub use crate::service::schema::fuzzing::schema;

/// Takes numbers off arbitrary bytes, and zeros when there are none left.
#[derive(Clone, Debug)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// Mostly small, at times anything.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            0xff => u64::from_be_bytes(self.array()),
            0xfe => u64::MAX - u64::from(self.byte()),
            small => u64::from(small),
        }
    }

    /// At most `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }
}

#[cfg(test)]
mod tests;
