//! What an app module needs: `use redplane_sdk::prelude::*;`.

pub use std::net::{Ipv4Addr, Ipv6Addr};
pub use std::time::Duration;

pub use arbitrary_int::prelude::*;
pub use redplane_macros::{config, handler, header, key, on_create, packet, state, table};
pub use redplane_protocol::create::{Creation, Refusal};

pub use crate::idle::idle_of;

pub use crate::app::{Handled, StateHandle, StateRef, Suspend, Verdict};
pub use crate::packet::{Ethernet, Icmp, Ipv4, Ipv6, MacAddr, Packet, Ports, Tcp, Udp, Vlan};
pub use crate::table::{Exact, Lpm, Ternary};
