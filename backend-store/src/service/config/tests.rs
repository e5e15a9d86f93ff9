//! One test for each kind of mistake: where it is, what it says, and the way out.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use super::*;

const GOOD: &str = r#"cluster = "lab"
shards = 2
lease = "100ms"
drift_margin_per_mille = 20

[coordination]
kind = "static"
address = "127.0.0.1:21100"
state = "coordinator.json"
detection = "500ms"

[[node]]
id = 0
requests = "127.0.0.1:21072"
chain = "127.0.0.1:22072"
admin = "127.0.0.1:9090"

[[node]]
id = 1
requests = ["127.0.0.2:21072", "127.0.0.2:21074"]
chain = "127.0.0.2:22072"

[workers]
threads = 2

[durability]
path = "journal"
shards = [1]

[[app]]
schema = ["nat/schema.json"]
idle = "300s"
admission = { per_switch = 10000, per_prefix = 100, prefix_field = "addr", prefix_bits = 24 }

[limits]
records_per_shard = 5000

[[switch]]
id = 1
address = "10.0.0.1"

[authentication]
keys = ["000102030405060708090a0b0c0d0e0f"]
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("lab/store.toml"))
}

/// The mistakes of the good file after a change, each as `line:column 'what' message (help)`.
fn mistakes_with(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    let text = GOOD.replacen(from, to, 1);
    let Err(ConfigError::Mistakes { mistakes, .. }) = parse(&text) else { return Vec::new() };
    mistakes.iter().map(|mistake| line(&text, mistake)).collect()
}

fn line(text: &str, mistake: &Mistake) -> String {
    use miette::Diagnostic;
    let label = mistake.labels().and_then(|mut labels| labels.next()).expect("every mistake has a place");
    let (start, end) = (label.offset(), label.offset() + label.len());
    let row = text[..start].matches('\n').count() + 1;
    let column = start - text[..start].rfind('\n').map_or(0, |at| at + 1) + 1;
    let help = mistake.help().map_or(String::new(), |help| format!(" ({help})"));
    let marked = text[start..end].lines().next().unwrap_or_default();
    format!("{row}:{column} '{marked}' {mistake}{help}")
}

#[track_caller]
fn check(from: &str, to: &str, expected: &[&str]) {
    assert_eq!(mistakes_with(from, to), expected);
}

#[test]
fn a_good_file_means_what_it_says() {
    let config = parse(GOOD).unwrap_or_else(|error| panic!("{}", error.render(false)));
    let at = |last, port| SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), port);
    assert_eq!((config.cluster.as_str(), config.shards, config.threads), ("lab", 2, 2));
    assert_eq!((config.lease.duration().as_millis(), config.lease.drift_margin_per_mille()), (100, 20));
    let state = PathBuf::from("lab/coordinator.json");
    assert_eq!(config.coordination, Coordination::Static { address: at(1, 21100), state });
    assert_eq!(config.detection, Duration::from_millis(500));
    let first = &config.nodes[&NodeId(0)];
    assert_eq!(first.requests, [at(1, 21072), at(1, 21073)], "a shard, a port");
    assert_eq!(first.admin, Some("127.0.0.1:9090".parse().unwrap()));
    assert_eq!(config.nodes[&NodeId(1)].requests, [at(2, 21072), at(2, 21074)]);
    let journal = Durability { path: "lab/journal".into(), shards: vec![1] };
    assert_eq!(config.durability, Some(journal), "relative to the file");
    let per_prefix = Some(PrefixAdmission { rate: 100, field: "addr".to_owned(), bits: 24 });
    assert_eq!(
        config.apps,
        [AppConfig {
            schemas: vec!["lab/nat/schema.json".into()],
            idle: Some(Duration::from_secs(300)),
            admission: Some(Admission { per_switch: 10_000, per_prefix }),
        }]
    );
    assert_eq!(config.records_per_shard, 5000);
    assert_eq!(config.switches[&1], SwitchAddress { ip: Ipv4Addr::new(10, 0, 0, 1), port: None });
    assert_eq!(config.authentication, [std::array::from_fn(|index| index as u8)]);
}

#[test]
fn what_is_not_said_has_a_default() {
    let text = r#"
        cluster = "lab"
        coordination = { kind = "etcd", endpoints = ["http://127.0.0.1:2379"], detection = "1s" }
        node = [{ id = 7, requests = "10.0.0.7:21072", chain = "10.0.0.7:22072" }]
        app = [{ schema = "schema.json" }]
        switch = [{ id = 1, address = "10.0.0.1:21072" }]
    "#;
    let config = parse(text).unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert_eq!((config.shards, config.lease, config.threads), (1, Lease::default(), 1));
    assert_eq!((config.records_per_shard, config.durability), (RECORDS_PER_SHARD_DEFAULT, None));
    assert_eq!(config.switches[&1].port, Some(21072));
    assert!(config.authentication.is_empty() && config.apps[0].admission.is_none());
}

#[test]
fn a_report_has_carets_at_the_places() {
    let text = GOOD.replacen("shards = 2", "shards = 0", 1).replacen("threads", "thread", 1);
    let report = parse(&text).unwrap_err().render(false);
    let expected = "  × `shards` is 0, not 1 to 256
   ╭─[lab/store.toml:2:10]
 1 │ cluster = \"lab\"
 2 │ shards = 0
   ·          ┬
   ·          ╰── here
 3 │ lease = \"100ms\"
   ╰────

  × [workers] has no key `thread`
    ╭─[lab/store.toml:24:1]
 23 │ [workers]
 24 │ thread = 2
    · ───┬──
    ·    ╰── here
 25 │ \n    ╰────
  help: did you mean `threads`?
";
    assert_eq!(report, expected);
}

#[test]
fn a_report_shows_no_key() {
    for key in ["000102030405060708090a0b0c0d0e0g", "000102030405060708090a0b0c0d0e0f00"] {
        let text = GOOD.replacen("000102030405060708090a0b0c0d0e0f", key, 1);
        let report = parse(&text).unwrap_err().render(false);
        assert!(report.contains("**") && !report.contains("0001") && !report.contains("0d0e"), "{report}");
    }
    let broken = GOOD.replacen("[authentication]", "[authentication", 1);
    let report = parse(&broken).unwrap_err().render(false);
    assert!(!report.contains("0001"), "{report}");
}

#[test]
fn toml_that_is_none() {
    check(
        "shards = 2",
        "shards = = 2",
        &["2:10 '=' extra `=`, expected nothing", "2:12 '' unexpected key or value, expected newline, `#`"],
    );
}

#[test]
fn a_file_that_is_not_there() {
    let error = Config::load(Path::new("no/such.toml")).unwrap_err();
    assert!(error.render(false).contains("cannot read the configuration no/such.toml"), "{error}");
}

#[test]
fn types_are_checked() {
    check("shards = 2", "shards = \"2\"", &["2:10 '\"2\"' `shards` is a string, not an integer"]);
    check("\"lab\"", "5", &["1:11 '5' `cluster` is an integer, not a string"]);
    check(
        "[workers]\nthreads = 2",
        "[[workers]]\nthreads = 2",
        &["23:1 '[[workers]]' `workers` is a list, not a table"],
    );
}

#[test]
fn unknown_keys() {
    check(
        "shards = [1]",
        "shard = [1]",
        &["28:1 'shard' [durability] has no key `shard` (did you mean `shards`?)"],
    );
    check(
        "threads = 2",
        "colour = 2",
        &["24:1 'colour' [workers] has no key `colour` (it may have: threads, gso)"],
    );
    check("[limits]", "[limit]", &["35:2 'limit' the file has no key `limit` (did you mean `limits`?)"]);
    check(
        "state = \"coordinator.json\"",
        "endpoints = []",
        &[
            "9:1 'endpoints' [coordination] has no key `endpoints` (it may have: detection, kind, state, address)",
        ],
    );
}

#[test]
fn missing_keys() {
    check(
        "cluster = \"lab\"\n",
        "",
        &["1:1 'shards = 2' the file has no `cluster` (give it a name, so that nodes and files of two \
             clusters do not mix)"],
    );
    check(
        "kind = \"static\"\n",
        "",
        &["6:1 '[coordination]' [coordination] has no `kind` (\"static\" or \"etcd\")"],
    );
    check(
        "path = \"journal\"\n",
        "",
        &["26:1 '[durability]' [durability] has no `path` (the folder of the journals: path = \
             \"/var/lib/redplane\")"],
    );
    check(
        "chain = \"127.0.0.2:22072\"\n",
        "",
        &["18:1 '[[node]]' [[node]] has no `chain` (an address: shard n is at its port + n; or a list \
             with one a shard)"],
    );
}

#[test]
fn leases_that_cannot_be() {
    check("\"100ms\"", "\"5ms\"", &["3:9 '\"5ms\"' a lease of 5ms leaves a switch 3 ticks, fewer than 8"]);
    check("\"100ms\"", "\"2h\"", &["3:9 '\"2h\"' a lease of 7200s is longer than 3600s"]);
    check("= 20\n", "= 1000\n", &["4:26 '1000' `drift_margin_per_mille` is 1000, not 0 to 999"]);
    check(
        "\"100ms\"",
        "\"fast\"",
        &["3:9 '\"fast\"' `lease` is no duration: \"fast\" (write a whole number and a unit: us, ms, s, m \
             or h, as in \"100ms\")"],
    );
}

#[test]
fn coordination_that_cannot_be() {
    check("\"static\"", "\"raft\"", &["7:8 '\"raft\"' `kind` is \"raft\" (\"static\" or \"etcd\")"]);
    check("\"500ms\"", "\"5ms\"", &["10:13 '\"5ms\"' a detection time of 5ms, not 20ms to 60s"]);
    check(
        "127.0.0.1:21100",
        "0.0.0.0:21100",
        &["8:11 '\"0.0.0.0:21100\"' `address` is every address of a machine, so nodes do not know where \
             to send (write the one that the nodes reach)"],
    );
    let etcd = |rest: &str| {
        let from = "kind = \"static\"\naddress = \"127.0.0.1:21100\"\nstate = \
         \"coordinator.json\"\ndetection = \"500ms\"";
        mistakes_with(from, &format!("kind = \"etcd\"\n{rest}"))
    };
    assert_eq!(
        etcd("endpoints = [\"127.0.0.1:2379\"]\ndetection = \"1500ms\""),
        [
            "8:14 '\"127.0.0.1:2379\"' \"127.0.0.1:2379\" is no endpoint of etcd (as in \"http://127.0.0.1:2379\")",
            "9:13 '\"1500ms\"' a detection time of 1.5s with etcd (a lease of etcd has whole seconds: \
             detection = \"1s\" or more)",
        ]
    );
}

#[test]
fn lists_have_one_address_a_shard() {
    check(
        "[\"127.0.0.2:21072\", \"127.0.0.2:21074\"]",
        "[\"127.0.0.2:21072\"]",
        &["20:12 '[\"127.0.0.2:21072\"]' `requests` has 1 address, and there are 2 shards (one address a \
             shard, or one alone: then shard n is at its port + n)"],
    );
    check(
        "127.0.0.2:22072",
        "127.0.0.2:65535",
        &["21:9 '\"127.0.0.2:65535\"' `chain` starts at port 65535, too high for 2 ports (shard n is at \
             the port + n)"],
    );
    check(
        "127.0.0.2:22072",
        "127.0.0.2",
        &["21:9 '\"127.0.0.2\"' `chain` is no address with a port: \"127.0.0.2\" (write it as in \
             \"10.0.0.1:21072\")"],
    );
    check(
        "\"127.0.0.2:22072\"",
        "\"[::1]:22072\"",
        &["21:9 '\"[::1]:22072\"' `chain` is an IPv6 address: [::1]:22072 (switches and nodes speak IPv4)"],
    );
    check(
        "127.0.0.2:22072",
        "0.0.0.0:22072",
        &["21:9 '\"0.0.0.0:22072\"' `chain` is every address of a machine, so other nodes do not know \
             where to send (write the one that they reach)"],
    );
}

#[test]
fn numbers_are_given_once() {
    check("id = 1\nrequests", "id = 0\nrequests", &["19:6 '0' two nodes have the number 0"]);
    check(
        "[authentication]",
        "[[switch]]\nid = 1\naddress = \"10.0.0.2\"\n[authentication]",
        &["43:6 '1' two switches have the number 1"],
    );
    check("shards = [1]", "shards = [1, 1]", &["28:14 '1' shard 1 is listed twice"]);
}

#[test]
fn shards_are_in_range() {
    check("shards = 2", "shards = 257", &["2:10 '257' `shards` is 257, not 1 to 256"]);
    check("shards = [1]", "shards = [2]", &["28:11 '2' `shards` is 2, not 0 to 1"]);
}

#[test]
fn nobody_listens_where_another_does() {
    check(
        "chain = \"127.0.0.1:22072\"",
        "chain = \"127.0.0.1:21073\"",
        &["15:9 '\"127.0.0.1:21073\"' two listeners at 127.0.0.1:21073: node 0, `requests` of shard 1 and \
             node 0, `chain` of shard 0"],
    );
    check(
        "chain = \"127.0.0.1:22072\"",
        "chain = \"127.0.0.1:21099\"",
        &["15:9 '\"127.0.0.1:21099\"' two listeners at 127.0.0.1:21100: the coordinator and node 0, \
             `chain` of shard 1"],
    );
    check(
        "chain = \"127.0.0.2:22072\"",
        "chain = \"127.0.0.2:22072\"\nadmin = \"127.0.0.1:9090\"",
        &["22:9 '\"127.0.0.1:9090\"' two listeners at 127.0.0.1:9090: node 0, `admin` and node 1, `admin`"],
    );
}

#[test]
fn the_admin_port_is_for_this_machine() {
    check(
        "127.0.0.1:9090",
        "10.0.0.1:9090",
        &["16:9 '\"10.0.0.1:9090\"' `admin` is 10.0.0.1, where others than this machine reach it (it has \
             no password: take 127.0.0.1, or say `admin_public = true` in this [[node]])"],
    );
    check("admin = \"127.0.0.1:9090\"", "admin = \"10.0.0.1:9090\"\nadmin_public = true", &[]);
}

#[test]
fn somebody_must_be_served() {
    let from = &GOOD[GOOD.find("[[switch]]").expect("it is there")..];
    check(
        from,
        "",
        &["1:1 'cluster = \"lab\"' the file has neither [[switch]] nor [authentication]: nobody would be \
             served (name the switches that are served, or give a key that all messages are signed with)"],
    );
}

#[test]
fn switches_have_addresses() {
    check(
        "\"10.0.0.1\"",
        "\"switch-1\"",
        &["40:11 '\"switch-1\"' `address` is no IPv4 address: \"switch-1\" (as in \"10.0.0.1\", or \
             \"10.0.0.1:21072\" if only that port is right)"],
    );
}

#[test]
fn keys_of_the_authentication() {
    const KEY: &str = "\"000102030405060708090a0b0c0d0e0f\"";
    let help = "(make one with `openssl rand -hex 16`)";
    check(KEY, "\"0001\"", &[&format!("43:9 '\"0001\"' a key of 4 hex digits, not 32 {help}")]);
    check(KEY, "\"00g1\"", &[&format!("43:9 '\"00g1\"' character 3 of the key is no hex digit {help}")]);
    check(KEY, &format!("{KEY}, {KEY}"), &[&format!("43:45 '{KEY}' the same key twice")]);
    let many = "\"000102030405060708090a0b0c0d0e00\", \"000102030405060708090a0b0c0d0e01\", \
     \"000102030405060708090a0b0c0d0e02\"";
    check(
        KEY,
        many,
        &[&format!(
            "43:8 '[{many}]' 3 keys, not 1 to 2 (two are live while keys are changed: the new one first, \
             then without the old one)"
        )],
    );
}

#[test]
fn admission_by_prefix_takes_three() {
    check(
        ", prefix_bits = 24",
        "",
        &["33:35 'per_prefix' `per_prefix` without `prefix_bits` (admission by prefix takes all three: \
             per_prefix, prefix_field, prefix_bits)"],
    );
    check(
        "per_switch = 10000, ",
        "",
        &["33:13 '{ per_prefix = 100, prefix_field = \"addr\", prefix_bits = 24 }' `admission` has no \
             `per_switch` (new keys per second from one switch)"],
    );
    check(
        "idle = \"300s\"",
        "idle = \"0s\"",
        &["32:8 '\"0s\"' `idle` is zero: every record would be deleted at once"],
    );
    check("[\"nat/schema.json\"]", "[]", &["31:10 '[]' 0 schemas, not 1 to 8"]);
}

#[test]
fn limits_have_limits() {
    check("= 5000", "= 0", &["36:21 '0' `records_per_shard` is 0, not 1 to 1000000000"]);
    check("threads = 2", "threads = 1000", &["24:11 '1000' `threads` is 1000, not 1 to 256"]);
}

#[test]
fn all_mistakes_are_said_at_once() {
    let text = GOOD
        .replace("shards = 2", "shards = 0")
        .replace("kind = \"static\"", "kind = 1")
        .replace("id = 1", "id = -1");
    let Err(ConfigError::Mistakes { mistakes, .. }) = parse(&text) else { panic!("there are mistakes") };
    assert_eq!(
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "`shards` is 0, not 1 to 256",
            "`kind` is an integer, not a string",
            "`id` is -1, not 0 to 65535",
            "`id` is -1, not 0 to 65535",
        ]
    );
}

#[test]
fn garbage_is_an_error() {
    for text in [
        "",
        "\u{0}",
        "[[[[",
        "node = 5",
        "node = [5]\napp = [[]]",
        "é = \"é\"",
        "cluster = \"é\"\nshards = 99999999999999999999",
    ] {
        let error = parse(text).expect_err("it lacks everything");
        assert!(!error.render(false).is_empty());
    }
}

#[test]
fn no_text_is_too_broken_for_a_report() {
    let deep = format!("cluster = {}", "[".repeat(100_000));
    assert!(!parse(&deep).expect_err("nobody nests like that").render(false).is_empty());
    // A generator of its own (Marsaglia, xorshift64): the same texts each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let pieces =
        ["\"", "[", "]", "=", "\n", "0", "-1", "é", "{", "}", "'''", "#", ".", "99999999999", ",", ""];
    for _ in 0..2000 {
        let mut text: Vec<char> = GOOD.chars().collect();
        for _ in 0..=random(4) {
            let start = random(text.len());
            let end = (start + random(8)).min(text.len());
            text.splice(start..end, pieces[random(pieces.len())].chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = parse(&text) {
            assert!(!error.render(false).is_empty());
        }
    }
}

/// What may stand in a section, by what is said about a key that may not.
fn keys_of(text: &str) -> Vec<String> {
    let Err(ConfigError::Mistakes { mistakes, .. }) = parse(text) else { panic!("it takes any key") };
    let helps = mistakes.iter().map(|mistake| line(text, mistake));
    let list =
        helps.filter_map(|said| Some(said.split_once("it may have: ")?.1.trim_end_matches(')').to_owned()));
    list.flat_map(|list| list.split(", ").map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The rows of the guide's table, each as its cells.
fn rows_of_the_guide() -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guide/src/store.md");
    let page = std::fs::read_to_string(path).expect("the guide has the page");
    let (_, rest) = page.split_once("\n## Configuration\n").expect("it has the section");
    let table =
        rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table
        .skip(2)
        .map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// Section and key of each row of the guide's table: `[[node]]`, `id`. A section stands where it begins.
fn keys_of_the_guide() -> BTreeSet<(String, String)> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for row in rows_of_the_guide() {
        for part in row[0].split(", ") {
            let words: Vec<&str> = part.split(' ').map(|word| word.trim_matches('`')).collect();
            if let [name, _] = words[..] {
                name.clone_into(&mut section);
            }
            keys.insert((section.clone(), words.last().map(ToString::to_string).unwrap_or_default()));
        }
    }
    keys
}

#[test]
fn the_guide_has_the_bounds_of_every_number() {
    let mut checked = 0;
    for row in rows_of_the_guide() {
        let words: Vec<&str> = row[3].split([' ', ';']).collect();
        let [least, "to", most, ..] = words[..] else { continue };
        for key in row[0].split(['`', ',', ' ']).filter(|key| !key.is_empty()) {
            let Some((before, rest)) = GOOD.split_once(&format!("{key} = ")) else { continue };
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            if number.is_empty() {
                continue;
            }
            let text = format!("{before}{key} = 9999999999{}", &rest[number.len()..]);
            let said = parse(&text).err().map(|error| error.render(false)).unwrap_or_default();
            assert!(said.contains(&format!("`{key}` is 9999999999, not {least} to {most}")), "{key}: {said}");
            checked += 1;
        }
    }
    assert_eq!(checked, 9, "numbers of the good file");
}

#[test]
fn the_guide_has_every_key() {
    const STRANGE: &str = "nothing_that_is_near_to_any_key = 0\n";
    let etcd = "kind = \"etcd\"\nendpoints = [\"http://127.0.0.1:2379\"]\n";
    let (before, rest) = GOOD.split_once("kind = \"static\"\n").unwrap();
    let (_, after) = rest.split_once("state = \"coordinator.json\"\n").unwrap();
    let with_etcd = format!("{before}{STRANGE}{etcd}{after}");
    let sections = [
        "[coordination]",
        "[[node]]",
        "[workers]",
        "[durability]",
        "[[app]]",
        "[limits]",
        "[[switch]]",
        "[authentication]",
    ];
    let mut known = BTreeSet::new();
    let mut take = |section: &str, keys: Vec<String>| {
        assert!(!keys.is_empty(), "{section}");
        known.extend(keys.into_iter().map(|key| (section.to_owned(), key)));
    };
    take("", keys_of(&format!("{STRANGE}{GOOD}")));
    for section in sections {
        take(section, keys_of(&GOOD.replacen(section, &format!("{section}\n{STRANGE}"), 1)));
    }
    take("[coordination]", keys_of(&with_etcd));
    let inline = STRANGE.trim_end();
    take("admission", keys_of(&GOOD.replacen("admission = {", &format!("admission = {{ {inline},"), 1)));
    // A section is there by its own keys.
    let name = |section: &str| section.trim_matches(['[', ']']).to_owned();
    let names: Vec<String> = sections.into_iter().chain(["admission"]).map(name).collect();
    known.retain(|(_, key)| !names.contains(key));
    assert_eq!(keys_of_the_guide(), known);
}
