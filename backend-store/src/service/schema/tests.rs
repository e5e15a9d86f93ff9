//! Schemas as `cargo build` emits them, and changes of them.

use std::collections::BTreeMap;
use std::fs;

use redplane_protocol::{Creation, TypedCreator};

use super::*;

const NAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../p4-out/nat/schema.json");

/// An app of its own, as a file in a folder of the test.
fn schema(fingerprint: u16, on_create: Option<&str>, fields: &[(&str, &str, u16)]) -> String {
    let mut offset = 0;
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, type_name, bytes)| {
            offset += bytes;
            let at = offset - bytes;
            serde_json::json!({ "name": name, "type": type_name, "offset": at, "bytes": bytes, "bits": bytes * 8 })
        })
        .collect();
    let key = serde_json::json!({ "name": "Flow", "bytes": 4, "fields": [
        { "name": "mark", "type": "u12", "offset": 0, "bytes": 2, "bits": 12 },
        { "name": "port", "type": "u16", "offset": 2, "bytes": 2, "bits": 16 },
    ] });
    serde_json::json!({
        "app": "counter", "id": 9, "fingerprint": format!("{fingerprint:#06x}"), "idle_ms": 5000,
        "on_create": on_create, "key": key, "value": { "name": "Count", "bytes": offset, "fields": fields },
    })
    .to_string()
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("redplane-schema-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The message of a refusal, without the folder's name.
    fn refusal(&self, apps: Vec<AppConfig>, linked: Vec<Registration>) -> String {
        let error = load(apps, linked).expect_err("it is refused");
        error.to_string().replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn app(schemas: &[&PathBuf]) -> AppConfig {
    AppConfig {
        schemas: schemas.iter().map(|path| path.to_path_buf()).collect(),
        idle: None,
        admission: None,
    }
}

fn load(apps: Vec<AppConfig>, linked: Vec<Registration>) -> Result<AppSet, SchemaError> {
    let text = r#"
        cluster = "lab"
        coordination = { kind = "static", address = "127.0.0.1:21100" }
        node = [{ id = 0, requests = "127.0.0.1:21072", chain = "127.0.0.1:22072" }]
        app = [{ schema = "schema.json" }]
        switch = [{ id = 1, address = "10.0.0.1" }]
    "#;
    let mut config = Config::parse(text, Path::new("store.toml")).unwrap();
    config.apps = apps;
    AppSet::load(&config, linked)
}

fn registration(fingerprint: u16) -> Registration {
    let schema = Schema { app: 9, fingerprint, ..Schema::default() };
    let on_create = |_: &u32, records: &mut Creation<'_, u32, u32>| {
        records.companion(1, 0x0101_0101);
        Ok(records.get(&77).unwrap_or(7))
    };
    let factory = move || -> Box<dyn Creator> {
        Box::new(TypedCreator::new(schema, |_: &_, _: &_| Duration::from_secs(1), on_create))
    };
    Registration { app: 9, factory: Box::new(factory) }
}

struct Shard(BTreeMap<Vec<u8>, Vec<u8>>);

impl Records for Shard {
    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    fn is_free(&self, key: &[u8]) -> bool {
        !self.0.contains_key(key)
    }
}

const V1: &[(&str, &str, u16)] = &[("packets", "u32", 4)];
const V2: &[(&str, &str, u16)] = &[("packets", "u32", 4), ("last", "u16", 2)];

#[test]
fn what_cargo_build_emits_is_read() {
    let nat = SchemaFile::load(Path::new(NAT)).unwrap();
    assert_eq!(nat.schema(), Schema { app: 1, fingerprint: 0x96df, key_len: 7, value_len: 6 });
    let key = nat.key.decode(&[10, 0, 0, 1, 0x30, 0x39, 6]);
    assert_eq!(serde_json::to_string(&key).unwrap(), r#"{"addr":"10.0.0.1","port":12345,"protocol":6}"#);
}

#[test]
fn code_that_is_not_linked_in_is_said_with_the_way_out() {
    let config = app(&[&NAT.into()]);
    let error = load(vec![config], Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("the records of nat (app 1) need its `bind`, which is not linked"), "{error}");
    assert!(
        error.contains("`backend_store::cli::main(vec![Registration { app: 1, factory: … }])`"),
        "{error}"
    );
}

#[test]
fn without_on_create_a_new_value_is_zero() {
    let folder = Folder::new("zero");
    let file = folder.file("a.json", &schema(1, None, V2));
    let mut config = app(&[&file]);
    config.idle = Some(Duration::from_secs(3));
    let apps = load(vec![config], Vec::new()).unwrap();
    let mut creator = apps.creators().remove(0);
    let created = creator.create(&[0; 4], &Shard(BTreeMap::new())).unwrap();
    assert_eq!((&created.value, created.companions), (&vec![0; 6], Vec::new()));
    assert_eq!(creator.schema(), Schema { app: 9, fingerprint: 1, key_len: 4, value_len: 6 });
    assert_eq!(
        (creator.idle(&[0; 4], &created.value), apps.apps()[0].idle),
        (Duration::from_secs(3), Some(Duration::from_secs(3)))
    );
}

#[test]
fn code_of_an_older_schema_makes_records_of_the_newest() {
    let folder = Folder::new("older");
    let older = folder.file("v1.json", &schema(1, Some("count"), V1));
    let newer = folder.file("v2.json", &schema(2, Some("count"), V2));
    for fingerprint in [1, 2] {
        let code = registration(fingerprint);
        if fingerprint == 2 {
            // It is as long as the first.
            let error = folder.refusal(vec![app(&[&older, &newer])], vec![code]);
            assert!(
                error.contains("has the fingerprint 0x0002, and its schemas have 0x0001, 0x0002"),
                "{error}"
            );
            continue;
        }
        let apps = load(vec![app(&[&older, &newer])], vec![code]).unwrap();
        let found = &apps.apps()[0];
        assert_eq!(found.older, [Schema { app: 9, fingerprint: 1, key_len: 4, value_len: 4 }]);
        assert_eq!(found.accepted().map(|schema| schema.fingerprint).collect::<Vec<_>>(), [2, 1]);
        let mut creator = found.creator();
        let records = Shard([(vec![0, 0, 0, 77], vec![0, 0, 0, 5, 9, 9])].into());
        let created = creator.create(&[0; 4], &records).unwrap();
        assert_eq!(created.value, [0, 0, 0, 5, 0, 0]);
        assert_eq!(created.companions, [(vec![0, 0, 0, 1], vec![1, 1, 1, 1, 0, 0])]);
        assert_eq!((creator.schema().value_len, creator.idle(&[0; 4], &[0; 6])), (6, Duration::from_secs(1)));
    }
}

#[test]
fn a_change_that_is_not_additive_names_the_field() {
    let folder = Folder::new("additive");
    let older = folder.file("v1.json", &schema(1, None, V2));
    let refused = |name: &str, text: &str| {
        let newer = folder.file(name, text);
        let message = folder.refusal(vec![app(&[&older, &newer])], Vec::new());
        let (reason, rest) = message.split_once(';').unwrap();
        assert!(rest.contains("only adds fields at the end"), "{rest}");
        reason.to_owned()
    };
    let gone = refused("gone.json", &schema(2, None, V1));
    assert_eq!(gone, "gone.json does not continue v1.json: value field `last` is gone");
    let retyped = refused("typed.json", &schema(2, None, &[("packets", "ipv4", 4), ("last", "u16", 2)]));
    assert_eq!(retyped, "typed.json does not continue v1.json: value field `packets` was u32 and is ipv4");
    let renamed = refused("named.json", &schema(2, None, &[("packets", "u32", 4), ("latest", "u16", 2)]));
    assert_eq!(renamed, "named.json does not continue v1.json: value field 1 was `last` and is `latest`");
    let same = refused("same.json", &schema(1, None, V2));
    assert_eq!(same, "same.json does not continue v1.json: both have the fingerprint 0x0001: one is enough");
    let key = refused("key.json", &schema(2, None, V2).replace("\"mark\"", "\"label\""));
    assert_eq!(key, "key.json does not continue v1.json: key field 0 was `mark` and is `label`");
    let other = refused("other.json", &schema(2, None, V2).replace("\"id\":9", "\"id\":8"));
    assert_eq!(
        other,
        "other.json does not continue v1.json: one is of app 9 (counter), the other of 8 (counter)"
    );
}

#[test]
fn files_that_are_no_schemas() {
    let folder = Folder::new("none");
    let refused = |name: &str, text: &str| folder.refusal(vec![app(&[&folder.file(name, text)])], Vec::new());
    let missing = folder.refusal(vec![app(&[&folder.0.join("missing.json")])], Vec::new());
    assert!(missing.starts_with("cannot read the schema missing.json: "), "{missing}");
    let way_out = "; take the schema.json that `cargo build` emitted";
    assert_eq!(
        refused("empty.json", "{}"),
        format!("empty.json is no schema: missing field `app` at line 1 column 2{way_out}")
    );
    let long = schema(1, None, &[("a", "u8", 300)]);
    assert_eq!(
        refused("l.json", &long),
        format!("l.json is no schema: a value of 300 bytes, at most 256{way_out}")
    );
    let gap = schema(1, None, V2).replace("\"offset\":4", "\"offset\":5");
    let reason = "value field `last` begins at byte 5, not 4";
    assert_eq!(refused("gap.json", &gap), format!("gap.json is no schema: {reason}{way_out}"));
    let print = schema(1, None, V2).replace("0x0001", "1");
    assert!(refused("p.json", &print).contains("a fingerprint is like \"0x96df\", not \"1\""));
}

#[test]
fn numbers_and_code_are_given_once() {
    let folder = Folder::new("twice");
    let file = folder.file("a.json", &schema(1, None, V1));
    let twice = folder.refusal(vec![app(&[&file]), app(&[&file])], Vec::new());
    assert!(twice.starts_with("the apps counter and counter both have the number 9"), "{twice}");
    let linked = folder.refusal(vec![app(&[&file])], vec![registration(1), registration(1)]);
    assert!(linked.starts_with("app 9 is linked into this program twice"), "{linked}");
}

#[test]
fn a_prefix_is_bits_of_the_key() {
    let folder = Folder::new("prefix");
    let file = folder.file("a.json", &schema(1, None, V1));
    let config = |field: &str, bits| {
        let per_prefix =
            Some(crate::service::config::PrefixAdmission { rate: 5, field: field.to_owned(), bits });
        AppConfig { admission: Some(Admission { per_switch: 10, per_prefix }), ..app(&[&file]) }
    };
    let bits = |field, bits| {
        let apps = load(vec![config(field, bits)], Vec::new()).unwrap();
        apps.apps()[0].admission.clone().unwrap().per_prefix.unwrap().bits
    };
    assert_eq!(bits("mark", 8), 4..12, "right aligned");
    assert_eq!(bits("port", 16), 16..32);
    let unknown = folder.refusal(vec![config("addr", 8)], Vec::new());
    assert_eq!(unknown, "admission of counter by prefix: its key has no field `addr`; it has mark, port");
    let long = folder.refusal(vec![config("mark", 13)], Vec::new());
    assert_eq!(long, "admission of counter by prefix: `mark` has 12 bits, fewer than 13");
}

#[test]
fn values_are_decoded_by_their_types() {
    let field = |name: &str, offset, bytes, bits| FieldLayout {
        name: name.to_owned(),
        type_name: name.to_owned(),
        offset,
        bytes,
        bits,
    };
    let fields = vec![
        field("bool", 0, 1, 1),
        field("u12", 1, 2, 12),
        field("mac", 3, 6, 48),
        field("ipv6", 9, 16, 128),
        field("u64", 25, 8, 64),
        field("odd", 33, 2, 16),
        field("u8", 35, 1, 8),
    ];
    let layout = Layout { name: "All".to_owned(), bytes: 36, fields };
    let mut bytes = vec![1, 0xf1, 0x23, 2, 0, 0, 0, 0, 1];
    bytes.extend([0; 15]);
    bytes.extend([1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xab, 0xcd]);
    let decoded = serde_json::to_string(&layout.decode(&bytes)).unwrap();
    let expected = r#"{"bool":true,"ipv6":"::1","mac":"02:00:00:00:00:01","odd":"abcd","u12":291,"u64":18446744073709551615}"#;
    assert_eq!(decoded, expected, "and a record that is too short has no more than its own");
}

#[test]
fn a_field_that_ends_beyond_any_record_is_not_in_it() {
    let field = FieldLayout {
        name: "far".to_owned(),
        type_name: "u16".to_owned(),
        offset: u16::MAX,
        bytes: 2,
        bits: 16,
    };
    let layout = Layout { name: "Far".to_owned(), bytes: 1, fields: vec![field] };
    assert!(layout.decode(&[0; 8]).is_empty());
}
