//! Whatever comes back: an answer to what was asked, or foreign.

use redplane_protocol::Ticks;

use super::codec::{Answer, Ask, Codec, Request, Verdict};
use super::{BenchArguments, KEY_LEN_MIN, Target};
use crate::fuzzing::Input;

/// Reads bytes as an answer of each kind of target.
///
/// # Panics
/// If what comes out is wrong.
pub fn load(bytes: &[u8]) {
    let mut input = Input(bytes);
    let target = [Target::Store, Target::Echo, Target::Memcached][usize::from(input.byte() % 3)];
    // memcached's keys are longer: their number is written out.
    let least = if target == Target::Memcached { 9 } else { KEY_LEN_MIN };
    let arguments = BenchArguments {
        target,
        key_len: least + usize::from(input.byte() % 8),
        value_len: 1 + usize::from(input.byte() % 16),
        frame_len: usize::from(input.byte() % 4),
        ..BenchArguments::default()
    };
    let first = u32::from_be_bytes(input.array());
    let mut codec = Codec::new(&arguments, first, 1);
    let key = first.saturating_add(u32::from(input.byte()));
    let ask = if input.flag() { Ask::Write } else { Ask::Lease };
    let (generation, sequence) = (input.number() as u32, input.number() as u32);
    let request = Request { ask, key, generation, sequence, ticket: 0, sent_at: Ticks(0) };
    let mut sent = codec.request(&request).to_vec();
    let echoed = codec.answer(&sent).ok();
    let expected = Answer { verdict: Verdict::Acknowledged, key, version: Some((generation, sequence)) };
    assert_eq!(echoed, (target == Target::Echo && ask == Ask::Write).then_some(expected));

    // The request's bytes, somewhat changed, are most like an answer.
    let rest = input.0;
    for change in rest.chunks_exact(2) {
        if let Some(byte) = sent.get_mut(usize::from(change[0])) {
            *byte = change[1];
        }
    }
    for answer in [&sent[..], rest].into_iter().filter_map(|bytes| codec.answer(bytes).ok()) {
        assert_eq!(answer.version.is_none(), target == Target::Memcached);
    }
    if target == Target::Memcached {
        let [high, low] = ((key - first) as u16).to_be_bytes();
        let stored = [&[high, low, 0, 0, 0, 1, 0, 0], &b"STORED\r\n"[..]].concat();
        assert_eq!(codec.answer(&stored).ok().map(|answer| answer.key), Some(key));
    }
}
