//! One small handler for each thing of the language, and the program that it becomes.

use redplane_codegen::canonical;

use crate::common::compile;

/// The statements of a handler's body, from `before` on.
fn program(items: &str, body: &str) -> String {
    let source = format!(
        "#[app(id = 1)] mod counter {{
            #[key] struct Flow {{ addr: Ipv4Addr, port: u16 }}
            #[state(key = Flow)] struct Count {{ packets: u32, port: u16 }}
            #[table(size = 4)] type Inside = Lpm<Ipv4Addr, bool>;
            {items}
            #[handler] fn process(pkt: &mut Packet, cx: &mut Context) -> Handled {{
                let Some(ip) = &mut pkt.ipv4 else {{ return cx.drop(\"not_ipv4\") }};
                {body}
            }}
        }}"
    );
    match compile(&source) {
        Ok(app) => {
            let text = canonical(&app);
            let start = text.find("before\n").expect("a program has a start");
            let first = "before\n  if not(valid(ipv4))\n    drop not_ipv4\n";
            text[start..].strip_prefix(first).expect("the header is taken first").to_owned()
        }
        Err(diagnostics) => diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect(),
    }
}

#[track_caller]
fn check(items: &str, body: &str, expected: &str) {
    let expected: Vec<&str> = expected.lines().skip(1).collect();
    let indent = expected.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let expected: String =
        expected.iter().map(|line| format!("{}\n", line.get(indent..).unwrap_or(""))).collect();
    let found: String = program(items, body).lines().map(|line| format!("{line}\n")).collect();
    let found_indent = found.lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let found: String = found.lines().map(|line| format!("{}\n", &line[found_indent..])).collect();
    assert_eq!(found.trim_end(), expected.trim_end());
}

#[test]
fn numbers_take_the_type_of_what_they_meet() {
    check(
        "const STEP: u8 = 1 << 2;",
        "let mut n = 2u8; n += STEP + 1; n = 3 - n; if 7 < n { return cx.to(1); } cx.to(u16::from(n) * 2)",
        "
        n = 2:u8
        n = Add(n, 5:u8)
        n = Sub(3:u8, n)
        if Lt(7:u8, n)
          to 1:u16
        to Mul(u16(n), 2:u16)",
    );
}

#[test]
fn odd_widths_and_casts() {
    check(
        "",
        "let high = (ip.identification >> 3) as u13; let low = high.value() & 0xff;
         if high == u13::new(5) && u32::from(ip.src) > 9 { return cx.to(low); } cx.to(ip.ttl as u16)",
        "
        high = u13(Shr(ipv4.identification, 3:u32))
        low = And(u16(high), 255:u16)
        if AndAlso(Eq(high, 5:u13), Gt(u32(ipv4.src), 9:u32))
          to low
        to u16(ipv4.ttl)",
    );
}

#[test]
fn match_is_a_chain_of_comparisons() {
    check(
        "const TCP: u8 = 6;",
        "let class = match ip.protocol { TCP | 17 => 1u16, 50..=51 => 2, _ if ip.ttl == 0 => return cx.drop(\"ttl\"), _ => 3 };
         cx.to(class)",
        "
        if OrElse(Eq(ipv4.protocol, 6:u8), Eq(ipv4.protocol, 17:u8))
          class = 1:u16
        else
          if AndAlso(Ge(ipv4.protocol, 50:u8), Le(ipv4.protocol, 51:u8))
            class = 2:u16
          else
            if Eq(ipv4.ttl, 0:u8)
              drop ttl
            class = 3:u16
        to class",
    );
}

#[test]
fn loops_are_unrolled_and_functions_inlined() {
    check(
        "#[inline] fn twice(x: u16) -> u16 { let y = x + x; y }
         #[inline] fn finish(cx: &Context, port: u16) -> Handled { if port == 0 { return cx.reply(); } cx.to(port) }",
        "let mut n = 0u16; for i in 0..2 { n += twice(ip.identification >> i); } return finish(cx, n);",
        "
        n = 0:u16
        x = Shr(ipv4.identification, 0:u32)
        y = Add(x, x)
        n = Add(n, y)
        x_2 = Shr(ipv4.identification, 1:u32)
        y_2 = Add(x_2, x_2)
        n = Add(n, y_2)
        if Eq(n, 0:u16)
          reply
        to n",
    );
}

#[test]
fn chains_of_headers() {
    check(
        "",
        "if let Some(ports) = &pkt.ports && ports.src == 53 && pkt.vlan.is_none() { return cx.to(ports.dst); }
         else if let Some(icmp) = pkt.icmp.as_ref() { return cx.to(icmp.identifier); }
         cx.forward()",
        "
        if AndAlso(AndAlso(valid(ports), Eq(ports.src, 53:u16)), not(valid(vlan)))
          to ports.dst
        else
          if valid(icmp)
            to icmp.identifier
        forward",
    );
}

#[test]
fn what_follows_a_lease_in_a_branch_is_copied_behind_it() {
    check(
        "",
        "let inside = cx.inside.lookup(ip.src);
         let mut port = 7u16;
         if inside {
             let count = cx.count.lease(Flow { port, addr: ip.src })?;
             count.packets += 1;
             port = count.port;
         }
         if port == 7 { return cx.reply(); }
         cx.to(port)",
        "
          inside = lookup inside(ipv4.src)
          port = 7:u16
          if inside
            reach 0 (ipv4.src, port)
          if Eq(port, 7:u16)
            reply
          to port
        point 0 lease
          state.packets = Add(state.packets, 1:u32)
          if Eq(state.port, 7:u16)
            reply
          to state.port",
    );
}

#[test]
fn find_in_both_forms() {
    check(
        "",
        "let key = Flow { addr: ip.dst, port: 1 };
         if let Some(count) = cx.count.find(key)? { *count = Count { packets: count.packets, port: 9 }; }
         else { return cx.drop(\"new\"); }
         cx.forward()",
        "
          key_port = 1:u16
          reach 0 (ipv4.dst, key_port)
        point 0 find
          state.packets = state.packets
          state.port = 9:u16
          forward
        absent 0
          drop new",
    );
}

#[test]
fn right_sides_with_statements_run_only_when_they_do() {
    check(
        "",
        "let mut n = 1u16; if ip.ttl == 0 && { n = 2; n > 1 } { return cx.reply(); } cx.to(n)",
        "
        n = 1:u16
        condition = Eq(ipv4.ttl, 0:u8)
        if condition
          n = 2:u16
          condition = Gt(n, 1:u16)
        if condition
          reply
        to n",
    );
}

#[test]
fn conditions_within_conditions_have_one_local() {
    check(
        "",
        "let mut n = ip.identification;
         let odd = ip.ttl == 0 && (n > 5 || { n += 1; n > 9 });
         if odd { return cx.reply(); } cx.to(n)",
        "
        n = ipv4.identification
        odd = Eq(ipv4.ttl, 0:u8)
        if odd
          odd = Gt(ipv4.identification, 5:u16)
          if odd
          else
            n = Add(ipv4.identification, 1:u16)
            odd = Gt(n, 9:u16)
        if odd
          reply
        to n",
    );
}

const PHASE: &str = "#[repr(u8)] enum Phase { New, Open = 4, Closed } struct Pair { a: u16, phase: Phase }
    #[table(size = 4)] type Known = Exact<Pair, Pair>; #[table(size = 4)] type Rules = Ternary<Flow, Phase>;
    const FIRST: Phase = Phase::Open;";

#[test]
fn enums_are_bytes_with_names() {
    check(
        PHASE,
        "let phase = cx.rules.lookup(Flow { addr: ip.src, port: 7 });
         let next = match phase {
             Phase::New | Phase::Closed if ip.ttl > 1 => FIRST,
             Phase::Open => return cx.reply(),
             other => other,
         };
         if next != phase { return cx.to(1); } cx.via(ip.src)",
        "
        phase = lookup rules(ipv4.src, 7:u16)
        if AndAlso(OrElse(Eq(phase, 0:Phase), Eq(phase, 5:Phase)), Gt(ipv4.ttl, 1:u8))
          next = 4:Phase
        else
          if Eq(phase, 4:Phase)
            reply
          next = phase
        if Ne(next, phase)
          to 1:u16
        via ipv4.src",
    );
}

#[test]
fn structs_are_their_fields() {
    check(
        &format!(
            "{PHASE} #[inline] fn other(pair: Pair, a: u16) -> Pair {{ Pair {{ a, phase: pair.phase }} }}"
        ),
        "let (a, b) = (3u16, ip.identification);
         let pair = other(Pair { a: b, phase: Phase::Closed }, a);
         let found = cx.known.lookup(pair);
         if found.phase == pair.phase { return cx.to(found.a); } cx.forward()",
        "
        pair_phase = 5:Phase
        pair_a = 3:u16
        found_a, found_phase = lookup known(pair_a, pair_phase)
        if Eq(found_phase, pair_phase)
          to found_a
        forward",
    );
}

#[test]
fn a_state_that_either_branch_gives() {
    check(
        "#[inline] fn double(count: &Count, ports: &Option<Ports>) -> u32 {
            if let Some(ports) = ports { u32::from(ports.src) } else { count.packets * 2 }
        }",
        "let key = Flow { addr: ip.src, port: 1 };
         let mut count = if ip.ttl == 0 { cx.count.lease(key)? } else {
             let Some(count) = cx.count.find(key)? else { return cx.drop(\"unknown\") };
             count
         };
         count.packets = double(&count, &pkt.ports);
         cx.forward()",
        "
          key_port = 1:u16
          if Eq(ipv4.ttl, 0:u8)
            reach 0 (ipv4.src, key_port)
          else
            reach 1 (ipv4.src, key_port)
        point 0 lease
          if valid(ports)
            double = u32(ports.src)
          else
            double = Mul(state.packets, 2:u32)
          state.packets = double
          forward
        point 1 find
          if valid(ports)
            double = u32(ports.src)
          else
            double = Mul(state.packets, 2:u32)
          state.packets = double
          forward
        absent 1
          drop unknown",
    );
}

#[test]
fn a_copy_is_read_where_the_original_has_changed() {
    check(
        "",
        "let (a, b) = (ip.src, ip.dst); ip.src = b; ip.dst = a; let old = ip.ttl; let ttl = old; ip.ttl = 1;
         cx.to(ttl as u16)",
        "
        a = ipv4.src
        ipv4.src = ipv4.dst
        ipv4.dst = a
        ttl = ipv4.ttl
        ipv4.ttl = 1:u8
        to u16(ttl)",
    );
    check(
        "",
        "let mut low = ip.ttl; let first = low; if ip.ecn == u2::new(1) { low = 9; } cx.to((low + first) as u16)",
        "
        low = ipv4.ttl
        if Eq(ipv4.ecn, 1:u2)
          low = 9:u8
        to u16(Add(low, ipv4.ttl))",
    );
}

#[test]
fn what_is_known_of_headers_is_not_asked_again() {
    check(
        "#[inline] fn port(pkt: &Packet) -> u16 {
            if let Some(ports) = &pkt.ports { ports.src } else if let Some(icmp) = &pkt.icmp { icmp.identifier } else { 0 }
        }",
        "if pkt.ports.is_none() && pkt.ipv6.is_none() { if pkt.ports.is_some() { return cx.reply(); } return cx.to(port(pkt)); }
         if !pkt.vlan.is_some() || pkt.udp.is_none() { return cx.forward(); }
         if pkt.vlan.is_some() && pkt.udp.is_some() { return cx.drop(\"udp\"); }
         cx.to(port(pkt))",
        "
        if AndAlso(not(valid(ports)), not(valid(ipv6)))
          if valid(icmp)
            port = icmp.identifier
          else
            port = 0:u16
          to port
        if OrElse(not(valid(vlan)), not(valid(udp)))
          forward
        drop udp",
    );
}

#[test]
fn comments_and_layout_do_not_change_the_hash() {
    let tight = "#[app(id=1)] mod a{#[key]struct K{x:u8}#[state(key=K)]struct S{y:u8}\
        #[handler]fn h(p:&mut Packet,c:&mut Context)->Handled{c.forward()}}";
    let wide = tight.replace("#[key]", "\n/// A comment.\n#[key]\n").replace("struct", "pub\n struct");
    let (tight, wide) = (compile(tight).expect("a program"), compile(&wide).expect("a program"));
    assert_eq!(redplane_codegen::hash(&tight), redplane_codegen::hash(&wide));
    assert_eq!(redplane_codegen::fingerprint(&tight), redplane_codegen::fingerprint(&wide));
}

#[test]
fn the_fingerprint_is_of_the_layout_only() {
    let source = "#[app(id=1)] mod a{#[key]struct K{x:u8}#[state(key=K)]struct S{y:u8}\
        #[handler]fn h(p:&mut Packet,c:&mut Context)->Handled{c.forward()}}";
    let app = compile(source).expect("a program");
    let other = |from: &str, to: &str| compile(&source.replace(from, to)).expect("a program");
    let behaves = other("c.forward()", "c.reply()");
    assert_eq!(redplane_codegen::fingerprint(&app), redplane_codegen::fingerprint(&behaves));
    assert_ne!(redplane_codegen::hash(&app), redplane_codegen::hash(&behaves));
    for (from, to) in [("x:u8", "x:u16"), ("y:u8", "z:u8"), ("id=1", "id=2"), ("struct K", "struct L")] {
        let source =
            source.replace(from, to).replace("key=K", if to == "struct L" { "key=L" } else { "key=K" });
        let changed = compile(&source).expect("a program");
        assert_ne!(redplane_codegen::fingerprint(&app), redplane_codegen::fingerprint(&changed), "{to}");
    }
}

/// What follows from a mistake is no mistake of its own.
#[test]
fn a_mistake_is_said_once() {
    let stage = "#[repr(u8)] enum Stage { Stranger, Friend }";
    let tuple = "match (ip.ttl, ip.protocol) {
        (1, 6) => cx.drop(\"last\"),
        (ttl, _) if ttl > 3 => cx.forward(),
        _ => cx.forward(),
    }";
    check(
        stage,
        tuple,
        "
        RP0062: a switch has no `match` on a tuple
        help: match one part, and ask for the other in a guard: `Phase::Open if knock == 2 => ..`
        ",
    );
    check(
        stage,
        "let flow = Flow { addr: ip.src, port: 1 };
         let mut count = cx.counts.lease(flow)?;
         let next = match count.port { 1 => 2u16, 2 => 3, port => port };
         count.port = next;
         cx.forward()",
        "
        RP0033: the context has no field `counts`; its fields are the state, the tables and the ingress port
        help: did you mean `count`?
        ",
    );
    check(
        "enum Stage { Stranger, Friend }",
        "let stage = Stage::Stranger;
         if stage == Stage::Friend { return cx.drop(\"friend\") }
         cx.forward()",
        "
        RP0071: the enum `Stage` has no fixed byte for each variant: it is not `#[repr(u8)]`
        help: write `#[repr(u8)] pub enum Stage { First, Second }`: the first one is zero
        ",
    );
    check(
        stage,
        "let mut stage = Stage::Friend;
         stage = ip.ttl;
         if stage == 0 { return cx.drop(\"stranger\") }
         cx.forward()",
        "
        RP0039: expected `Stage`, found `u8`: an enum is not its byte
        help: name a variant, as in `Stage::Stranger`
        RP0039: expected `Stage`, found a number: an enum is not its byte
        help: name a variant, as in `Stage::Stranger`
        ",
    );
}
