//! Who speaks, and about which kind of state.

use std::fmt;

/// A switch in one of its lives. The incarnation changes at each boot: a rebooted switch has lost its slots, so it is
/// another owner, and answers meant for its former life are not for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SwitchIdentity {
    /// Number of the switch, given by the operator, unique in the network.
    pub switch: u16,
    /// Number of the boot.
    pub incarnation: u16,
}

impl fmt::Display for SwitchIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.switch, self.incarnation)
    }
}

/// What both ends must agree on before they understand each other's keys and values.
///
/// The public prototype's store could not parse the prototype's own switch programs, because each compiled in its
/// own structs; here every message names its schema, and the store refuses a stranger's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Schema {
    /// Number of the app, as its author wrote it.
    pub app: u16,
    /// Digest of the layout and names of key and value.
    pub fingerprint: u16,
    /// Bytes of a key, at most [`KEY_LEN_MAX`](crate::fixed::KEY_LEN_MAX).
    pub key_len: u16,
    /// Bytes of a value, at most [`VALUE_LEN_MAX`](crate::fixed::VALUE_LEN_MAX).
    pub value_len: u16,
}
