//! A chain of two survives any requests and chain messages. The input is cut into datagrams of up to 255 bytes.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use redplane_protocol::{
    Configuration, Creation, Destination, Lease, Node, NodeId, Refusal, Schema, Shard, Time, TypedCreator,
};

const SCHEMA: Schema = Schema { app: 1, fingerprint: 2, key_len: 2, value_len: 4 };

fn on_create(key: &u16, records: &mut Creation<'_, u16, u32>) -> Result<u32, Refusal> {
    match key % 4 {
        0 => return Err(Refusal("unlucky")),
        1 => records.companion(key.wrapping_add(1), 1),
        _ => {}
    }
    Ok(u32::from(*key))
}

fn node(id: u16) -> Node {
    let creator = TypedCreator::new(SCHEMA, Duration::from_secs(1), on_create);
    let shard = Shard { index: 0, count: 1 };
    let mut node = Node::new(NodeId(id), shard, Lease::default(), vec![Box::new(creator)]);
    let members = vec![NodeId(0), NodeId(1)];
    node.reconfigure(Configuration { epoch: 1, members, joining: None }, Time(0));
    node
}

fuzz_target!(|input: &[u8]| {
    let mut nodes = [node(0), node(1)];
    let mut now = Time(0);
    let mut rest = input;
    while let [control, len, tail @ ..] = rest {
        let (datagram, after) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = after;
        now = Time(now.0 + (u64::from(*control) << 12));
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, control & 3), 21072);
        let to = usize::from(control >> 2 & 1);
        match control >> 3 & 3 {
            0 => nodes[to].handle_chain(NodeId(1 - to as u16), datagram, now),
            1 => nodes[to].handle_timeout(now),
            _ => {
                let mut request = datagram.to_vec();
                if let Some(head) = request.get_mut(..8) {
                    (head[0], head[1]) = (1, head[1] % 7);
                    head[4..8].copy_from_slice(&[0, 1, 0, 2]);
                }
                nodes[0].handle_request(from, &request, now);
            }
        }
        for id in [0, 1, 0] {
            while let Some(transmit) = nodes[id].poll_transmit() {
                if let Destination::Node(next) = transmit.to {
                    nodes[usize::from(next.0)].handle_chain(NodeId(id as u16), &transmit.bytes, now);
                }
            }
        }
    }
});
