//! Every diagnostic of the compiler: one table, from which the guide's pages are made.
//!
//! Codes are never reused: a removed one leaves a gap.

/// What a code means.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// `RP0012`.
    pub code: &'static str,
    /// The mistake, in one line.
    pub title: &'static str,
    /// Why a switch cannot do it.
    pub explanation: &'static str,
    /// A small example of the mistake.
    pub bad: &'static str,
    /// What to write instead.
    pub good: &'static str,
}

/// The entry of a code.
pub fn find(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|entry| entry.code == code)
}

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $explanation:literal, $bad:literal, $good:literal;)*) => {
        $(#[doc = $title] pub const $name: &str = $code;)*

        /// All codes, in order.
        pub const CODES: &[Code] = &[
            $(Code { code: $code, title: $title, explanation: $explanation, bad: $bad, good: $good },)*
        ];
    };
}

codes! {
    APP_ID = "RP0001", "the app has no usable id",
        "The wire header carries the app's id, so that a store which serves several apps tells them apart. It is 16 bits; \
         0 stands for no app.",
        "#[redplane_sdk::app(id = 0)]\npub mod nat { .. }",
        "#[redplane_sdk::app(id = 1)]\npub mod nat { .. }";
    UNKNOWN_OPTION = "RP0002", "an attribute has an option that does not exist",
        "A misspelled option that was ignored would be found in production.",
        "#[state(key = Flow, slot = 1024)]",
        "#[state(key = Flow, slots = 1024)]";
    DUPLICATE_OPTION = "RP0003", "an option is given twice",
        "Which of the two is meant?",
        "#[table(size = 64, size = 128)]",
        "#[table(size = 128)]";
    WRONG_ITEM = "RP0004", "an attribute stands on an item where it means nothing",
        "Keys and states are structs, tables are type aliases, handlers are functions, an app is a module \
         with its body in place.",
        "#[key]\npub enum Flow { .. }",
        "#[key]\npub struct Flow { .. }";
    DUPLICATE_ROLE = "RP0005", "two keys, states, handlers, or one item with two roles",
        "An app has one key, one state, one handler: the wire format and the pipeline have one.",
        "#[key] pub struct A { .. }\n#[key] pub struct B { .. }",
        "#[key] pub struct A { .. }";
    NO_KEY = "RP0006", "the app has no key",
        "State belongs to a key; the key chooses shard, slot and owner.",
        "pub struct Flow { pub addr: Ipv4Addr }",
        "#[key]\npub struct Flow { pub addr: Ipv4Addr }";
    NO_STATE = "RP0007", "the app has no state",
        "An app without state does not need RedPlane.",
        "pub struct Count { pub packets: u64 }",
        "#[state(key = Flow)]\npub struct Count { pub packets: u64 }";
    NO_HANDLER = "RP0008", "the app has no handler",
        "Nothing would happen to a packet.",
        "pub fn process(..) -> Handled { .. }",
        "#[handler]\npub fn process(pkt: &mut Packet, cx: &mut Context) -> Handled { .. }";
    STATE_KEY = "RP0009", "the state does not name the app's key",
        "`key = ..` makes it plain at the state whose it is.",
        "#[state(slots = 1024)]",
        "#[state(key = Flow, slots = 1024)]";
    SLOTS = "RP0010", "the number of slots is not possible",
        "The low bits of the key's hash choose the slot, so the number is a power of two; registers \
         are set aside when the program is loaded, so it is bounded.",
        "#[state(key = Flow, slots = 1000)]",
        "#[state(key = Flow, slots = 1024)]";
    IDLE = "RP0011", "the idle time is not possible",
        "It says how long the store keeps a record that nobody uses; it must be longer than a lease. Where it \
         depends on the record, a function of the module says it: `fn silence(key: &Flow, state: &Count) -> Duration`.",
        "#[state(key = Flow, idle = 300)]",
        "#[state(key = Flow, idle = \"300s\")]";
    TABLE_SIZE = "RP0012", "a table has no usable size",
        "A switch sets a table's memory aside when the program is loaded.",
        "#[table]\npub type Inside = Lpm<Ipv4Addr, bool>;",
        "#[table(size = 64)]\npub type Inside = Lpm<Ipv4Addr, bool>;";
    TABLE_KIND = "RP0013", "a table of a kind that match units do not have",
        "Match units compare exactly, by longest prefix, or by value and mask.",
        "#[table(size = 64)]\npub type Inside = HashMap<Ipv4Addr, bool>;",
        "#[table(size = 64)]\npub type Inside = Exact<Ipv4Addr, bool>;";
    TABLE_TYPE = "RP0014", "a table's key or value is neither a word nor a struct of words",
        "A match unit compares words, and an action passes words on.",
        "#[table(size = 64)]\npub type Next = Exact<u16, (u16, u16)>;",
        "pub struct Pair { pub a: u16, pub b: u16 }\n#[table(size = 64)]\npub type Next = Exact<u16, Pair>;";
    FIELD_TYPE = "RP0015", "a type that a switch does not store",
        "State lives in registers of fixed width: nothing grows and nothing points anywhere.",
        "pub name: String,",
        "pub name: u32,";
    MACHINE_WORD = "RP0016", "`usize` or `isize`",
        "Their width depends on the machine that runs the program, and several kinds run it.",
        "pub count: usize,",
        "pub count: u32,";
    SIGNED = "RP0017", "signed numbers",
        "Arithmetic of the language is unsigned and wraps, on every target in the same way.",
        "pub balance: i32,",
        "pub balance: u32, // offset by 1 << 31";
    FLOAT = "RP0018", "floating point",
        "No switch has it.",
        "pub rate: f32,",
        "pub rate_per_mille: u32,";
    TOO_WIDE = "RP0019", "wider than a register",
        "A register of the switches that are targeted holds 64 bits.",
        "pub addr: Ipv6Addr, // in the state",
        "pub addr_high: u64,\npub addr_low: u64,";
    RECORD_SHAPE = "RP0020", "a key or state without a fixed layout of named fields",
        "The fields are the wire format, the registers, the schema: they need names, and one layout.",
        "#[key]\npub struct Flow(Ipv4Addr);",
        "#[key]\npub struct Flow { pub addr: Ipv4Addr }";
    RECORD_SIZE = "RP0021", "a key or state is too long for a message",
        "A protocol message carries key, value and the packet; it has to fit one frame.",
        "pub struct Flow { /* 9 addresses of IPv6 */ }",
        "pub struct Flow { pub src: Ipv6Addr, pub dst: Ipv6Addr }";
    HANDLE_TAKEN = "RP0022", "two context fields of one name",
        "A state or table is a field of the context, named as its type in snake_case.",
        "pub type Inside = ..;\npub struct Inside { .. } // state",
        "pub type InsidePrefixes = ..;";
    HANDLER_SIGNATURE = "RP0023", "the handler's signature is not that of a handler",
        "A handler gets the packet and its context, and gives a verdict.",
        "pub fn process(pkt: &Packet) -> bool",
        "pub fn process(pkt: &mut Packet, cx: &mut Context) -> Handled";
    NOT_PLAIN = "RP0024", "a generic, async, unsafe or extern function",
        "A handler is compiled once, for a pipeline that runs it from start to end.",
        "pub async fn process(..) -> Handled",
        "pub fn process(..) -> Handled";
    ON_CREATE_SIGNATURE = "RP0025", "the signature of `on_create` does not fit",
        "The store calls it with the key, the records of its shard, and the configuration if there is one.",
        "pub fn bind(key: Endpoint) -> Binding",
        "pub fn bind(key: &Endpoint, records: &mut Creation<Endpoint, Binding>) -> Result<Binding, Refusal>";
    LOOP = "RP0026", "a loop that cannot be unrolled",
        "A packet passes the pipeline once, there is nothing to jump back to. `for` over a constant range is unrolled.",
        "while n > 0 { n -= 1; }",
        "for i in 0..4 { .. }";
    RECURSION = "RP0027", "a function that calls itself",
        "A pipeline has no stack.",
        "#[inline] fn f(n: u8) -> u8 { f(n) }",
        "#[inline] fn f(n: u8) -> u8 { n }";
    CLOSURE = "RP0028", "a closure",
        "It is a function with memory of its own; a pipeline has neither.",
        "let f = |x| x + 1;",
        "#[inline] fn f(x: u16) -> u16 { x + 1 }";
    MACRO = "RP0029", "a macro call in a handler",
        "The compiler does not look into macros.",
        "assert!(ip.ttl > 0);",
        "if ip.ttl == 0 { return cx.drop(\"ttl\"); }";
    METHOD = "RP0030", "a method that a switch does not have",
        "Handlers know the verdicts, `lookup`, `lease`, `find`, tests for headers, and wrapping arithmetic.",
        "let n = ip.ttl.pow(2);",
        "let n = ip.ttl * ip.ttl;";
    UNKNOWN_HEADER = "RP0031", "the packet has no such header",
        "The standard packet has the headers of the parse graph, no others.",
        "pkt.ipv5",
        "pkt.ipv4";
    UNKNOWN_FIELD = "RP0032", "there is no such field",
        "Headers, key and state have the fields that their structs say.",
        "ip.sorce",
        "ip.src";
    CONTEXT_FIELD = "RP0033", "the context has no such field",
        "Its fields are the state and the tables, named as their types in snake_case, and `ingress_port`.",
        "cx.insides",
        "cx.inside";
    UNKNOWN_NAME = "RP0034", "a name that a handler does not know",
        "A handler sees its locals, and the constants and `#[inline]` functions of its module.",
        "let x = OTHER::LIMIT;",
        "const LIMIT: u16 = 5;";
    HEADER_UNCHECKED = "RP0035", "a header is used that may not be there",
        "A field of a header that the parser has not seen has no value.",
        "pkt.ipv4.unwrap().src",
        "let Some(ip) = &mut pkt.ipv4 else { return cx.drop(\"not_ipv4\") };";
    HEADER_COPY = "RP0036", "a header is copied",
        "What is written to the copy never reaches the packet.",
        "let Some(ip) = pkt.ipv4 else { .. };",
        "let Some(ip) = &mut pkt.ipv4 else { .. };";
    SHIFT = "RP0037", "a shift by a distance that is not constant, or too far",
        "A switch shifts by wiring.",
        "x << n",
        "x << 3";
    DIVISION = "RP0038", "division or remainder",
        "It does not fit into the time of one pipeline stage.",
        "x / 10",
        "x >> 3";
    WIDTH = "RP0039", "two widths or types that do not fit",
        "A switch adds no bits and takes none away by itself, and neither does Rust.",
        "let x: u16 = ip.ttl;",
        "let x: u16 = u16::from(ip.ttl);";
    LITERAL_RANGE = "RP0040", "a number that does not fit its type",
        "It would be cut without a word.",
        "ip.ttl == 256",
        "ip.ttl == 255";
    LITERAL_WIDTH = "RP0041", "a number whose type nothing says",
        "A switch must know how many bits it sets aside.",
        "let mut n = 0;",
        "let mut n = 0u16;";
    OPERATOR = "RP0042", "an operator that the type does not have",
        "Numbers add and shift, numbers and `bool` combine bitwise, everything compares.",
        "ip.src + 1",
        "Ipv4Addr::from(u32::from(ip.src) + 1)";
    CAST = "RP0043", "a conversion that does not exist or could fail",
        "`as` converts between integers; `from` never loses bits; `new` must be known to fit.",
        "u8::from(ports.src)",
        "ports.src as u8";
    NO_VERDICT = "RP0044", "a path without a verdict",
        "The switch would not know what to do with the packet.",
        "if inside { return cx.forward(); }\n// and else?",
        "if inside { return cx.forward(); }\ncx.drop(\"outside\")";
    UNUSED_VERDICT = "RP0045", "a verdict that is not returned",
        "A verdict is what the handler returns; calling it alone does nothing.",
        "cx.forward();",
        "return cx.forward();";
    QUESTION_MARK = "RP0046", "`?` is missing after a lease point, or stands elsewhere",
        "`?` marks the one place where the packet may have to wait.",
        "cx.count.lease(key)",
        "cx.count.lease(key)?";
    LEASE_KEY = "RP0047", "a lease with something that is not the key",
        "State belongs to the key struct of the app.",
        "cx.count.lease(ip.src)?",
        "cx.count.lease(Flow { addr: ip.src })?";
    LEASE_PATTERN = "RP0048", "`lease` taken apart, or `find` not taken apart",
        "`lease` creates what is not there and gives the state; `find` gives an `Option`.",
        "let count = cx.count.find(key)?;",
        "let Some(count) = cx.count.find(key)? else { return cx.drop(\"unknown\") };";
    NO_LEASE = "RP0049", "state used without a lease",
        "Another switch may own it now.",
        "cx.count.packets += 1;",
        "let mut count = cx.count.lease(key)?;\ncount.packets += 1;";
    SECOND_LEASE = "RP0050", "a second lease point on one path",
        "A packet waits for one state at a time, and carries one key.",
        "let a = cx.count.lease(x)?;\nlet b = cx.count.lease(y)?;",
        "let key = if first { x } else { y };\nlet a = cx.count.lease(key)?;";
    EARLY_WRITE = "RP0051", "the packet is written before a lease point",
        "If the packet has to wait, the handler starts anew, on a packet that must be as it came.",
        "ip.ttl = 1;\nlet a = cx.count.lease(key)?;",
        "let a = cx.count.lease(key)?;\nip.ttl = 1;";
    STRUCT_FIELDS = "RP0052", "a struct literal with missing, repeated or implied fields",
        "All bits of a key take part in choosing slot and shard.",
        "Endpoint { addr }",
        "Endpoint { addr, port: 0 }";
    DROP_REASON = "RP0053", "a drop without a reason",
        "Each reason has its own counter; an operator has nothing else to go by.",
        "cx.drop(\"\")",
        "cx.drop(\"not_ours\")";
    REASON_CASE = "RP0054", "a reason that is not snake_case",
        "It names a counter in every target.",
        "cx.drop(\"Not ours!\")",
        "cx.drop(\"not_ours\")";
    SECOND_LOOKUP = "RP0055", "a table looked up twice on one path",
        "A table sits in one stage, and a packet passes a stage once.",
        "cx.inside.lookup(ip.src) && cx.inside.lookup(ip.dst)",
        "cx.inside.lookup(ip.src) && cx.also_inside.lookup(ip.dst)";
    IMMUTABLE = "RP0056", "something is assigned that was not declared to change",
        "As everywhere in Rust.",
        "let port = 0u16;\nport = 5;",
        "let mut port = 0u16;\nport = 5;";
    NOT_ASSIGNABLE = "RP0057", "something is assigned that cannot change",
        "Locals, header fields and state fields change; headers are neither added nor removed, tables are the operator's.",
        "pkt.vlan = None;",
        "vlan.vid = 5;";
    CHECKSUM = "RP0058", "a checksum is written by hand",
        "The deparser keeps checksums right from what changed (RFC 1624).",
        "ip.checksum = 0;",
        "// nothing";
    NOT_A_VALUE = "RP0059", "a name for something that is not a value",
        "Headers are borrowed, tables looked up, state leased: none of them is a word that a local can hold.",
        "let table = cx.inside;",
        "let inside = cx.inside.lookup(ip.src);";
    REFERENCE = "RP0060", "a reference to a value",
        "There is no memory on a switch that it could point to.",
        "let x = &ip.src;",
        "let x = ip.src;";
    PATTERN = "RP0061", "a pattern that has no meaning on a switch",
        "`let` takes one name or `Some(name)` of a header; `match` takes constants, ranges, `|` and `_`.",
        "let (a, b) = ..;",
        "let a = ..;\nlet b = ..;";
    UNSUPPORTED = "RP0062", "an expression that a switch does not have",
        "Fields, locals, constants, operators, `if` and `match` are what there is.",
        "let x = [1, 2, 3];",
        "let x = 1u16;\nlet y = 2u16;";
    CALL = "RP0063", "a call of a function that is not part of the app",
        "Its code cannot become part of the pipeline.",
        "std::process::id()",
        "#[inline] fn of this module";
    ARGUMENTS = "RP0064", "arguments that a function does not take",
        "As everywhere in Rust.",
        "cx.to()",
        "cx.to(3)";
    NOT_INLINE = "RP0065", "a function of a handler is not marked `#[inline]`",
        "Its code becomes part of the handler at every call; the mark says so where it is written.",
        "fn next(x: u16) -> u16 { x + 1 }",
        "#[inline]\nfn next(x: u16) -> u16 { x + 1 }";
    HELPER_RETURN = "RP0066", "an early return from an inlined function",
        "Its code becomes part of the handler, whose `return` is a verdict.",
        "#[inline] fn f(x: u16) -> u16 { if x == 0 { return 1; } x }",
        "#[inline] fn f(x: u16) -> u16 { if x == 0 { 1 } else { x } }";
    CONSTANT = "RP0067", "a constant whose value is not known to the app's compiler",
        "It knows numbers, `bool`, addresses, and operators on them.",
        "const LIMIT: u16 = compute();",
        "const LIMIT: u16 = 5 * 60;";
    TOO_LARGE = "RP0068", "the handler unfolds to too much",
        "Unrolled loops, inlined functions and what follows each lease point have to fit a pipeline.",
        "for i in 0..64 { for j in 0..64 { .. } }",
        "for i in 0..4 { .. }";
    OUTSIDE = "RP0069", "an attribute of an app outside of an app",
        "`#[key]`, `#[handler]` and the others mean something inside `#[redplane_sdk::app] mod .. { }` only.",
        "#[redplane_sdk::key]\npub struct Flow { .. }",
        "#[redplane_sdk::app(id = 1)]\npub mod counter { #[key] pub struct Flow { .. } }";
    NOT_A_MODULE = "RP0070", "what the attribute stands on cannot be read as a module",
        "Something in it is not Rust yet, or it is no module at all.",
        "#[redplane_sdk::app(id = 1)]\npub struct Nat;",
        "#[redplane_sdk::app(id = 1)]\npub mod nat { .. }";
    ENUM_SHAPE = "RP0071", "an enum that a switch does not store",
        "A register holds a byte: each variant is one value of it, without fields, and one of them is zero, which is what a \
         new record holds and what a table gives that has no entry.",
        "pub enum Phase { Open(u16), Closed }",
        "#[repr(u8)]\npub enum Phase { Closed, Open }";
    HEADER_SHAPE = "RP0072", "a header that does not fill its words, or has an enum in it",
        "Checksums are sums of 16-bit words; a header that ends within one would shift all that follows. And what comes from \
         the network may be no variant.",
        "#[header]\npub struct Kv { pub op: u8 }",
        "#[header]\npub struct Kv { pub op: u8, pub reserved: u8 }";
    PACKET_FIELD = "RP0073", "a header of the packet without its place",
        "The parser goes from header to header, by a field of the one before.",
        "#[packet]\npub struct KvPacket { pub kv: Option<Kv> }",
        "#[packet]\npub struct KvPacket { #[after(udp, dst_port = 4800)] pub kv: Option<Kv> }";
}
