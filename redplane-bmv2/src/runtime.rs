//! The methods of BMv2's runtime interface (`thrift_src/standard.thrift`, `simple_switch.thrift`) that a switch program of
//! this compiler needs.

use std::net::SocketAddr;

use crate::error::RuntimeError;
use crate::thrift::{Call, Connection, Method, Value};

/// Every program has one context.
const CONTEXT: Value = Value::I32(0);

const TABLE: &[(i32, &str)] = &[
    (1, "TABLE_FULL"),
    (2, "INVALID_HANDLE"),
    (3, "EXPIRED_HANDLE"),
    (4, "COUNTERS_DISABLED"),
    (5, "METERS_DISABLED"),
    (6, "AGEING_DISABLED"),
    (7, "INVALID_TABLE_NAME"),
    (8, "INVALID_ACTION_NAME"),
    (9, "WRONG_TABLE_TYPE"),
    (10, "INVALID_MBR_HANDLE"),
    (11, "MBR_STILL_USED"),
    (12, "MBR_ALREADY_IN_GRP"),
    (13, "MBR_NOT_IN_GRP"),
    (14, "INVALID_GRP_HANDLE"),
    (15, "GRP_STILL_USED"),
    (16, "EMPTY_GRP"),
    (17, "DUPLICATE_ENTRY"),
    (18, "BAD_MATCH_KEY"),
    (19, "INVALID_METER_OPERATION"),
    (20, "DEFAULT_ACTION_IS_CONST"),
    (21, "DEFAULT_ENTRY_IS_CONST"),
    (22, "NO_DEFAULT_ENTRY"),
    (23, "INVALID_ACTION_PROFILE_NAME"),
    (24, "NO_ACTION_PROFILE_SELECTION"),
    (25, "IMMUTABLE_TABLE_ENTRIES"),
    (26, "BAD_ACTION_DATA"),
    (27, "NO_TABLE_KEY"),
    (100, "ERROR"),
];
const COUNTER: &[(i32, &str)] = &[(1, "INVALID_COUNTER_NAME"), (2, "INVALID_INDEX"), (3, "ERROR")];
const REGISTER: &[(i32, &str)] = &[(1, "INVALID_REGISTER_NAME"), (2, "INVALID_INDEX"), (3, "ERROR")];
const VALUE_SET: &[(i32, &str)] = &[(1, "INVALID_PARSE_VSET_NAME"), (2, "ERROR")];
const MIRROR: &[(i32, &str)] = &[(1, "SESSION_NOT_FOUND")];

const fn standard(name: &'static str, codes: &'static [(i32, &'static str)]) -> Method {
    Method { service: "standard", name, codes }
}

const fn simple_switch(name: &'static str, codes: &'static [(i32, &'static str)]) -> Method {
    Method { service: "simple_switch", name, codes }
}

static SET_DEFAULT_ACTION: Method = standard("bm_mt_set_default_action", TABLE);
static ADD_ENTRY: Method = standard("bm_mt_add_entry", TABLE);
static MODIFY_ENTRY: Method = standard("bm_mt_modify_entry", TABLE);
static DELETE_ENTRY: Method = standard("bm_mt_delete_entry", TABLE);
static CLEAR_ENTRIES: Method = standard("bm_mt_clear_entries", TABLE);
static ENTRIES: Method = standard("bm_mt_get_num_entries", TABLE);
static VALUE_SET_ADD: Method = standard("bm_parse_vset_add", VALUE_SET);
static VALUE_SET_REMOVE: Method = standard("bm_parse_vset_remove", VALUE_SET);
static VALUE_SET_CLEAR: Method = standard("bm_parse_vset_clear", VALUE_SET);
static COUNTER_READ: Method = standard("bm_counter_read", COUNTER);
static COUNTER_RESET: Method = standard("bm_counter_reset_all", COUNTER);
static REGISTER_READ: Method = standard("bm_register_read", REGISTER);
static REGISTER_READ_ALL: Method = standard("bm_register_read_all", REGISTER);
static REGISTER_WRITE: Method = standard("bm_register_write", REGISTER);
static REGISTER_RESET: Method = standard("bm_register_reset", REGISTER);
static CONFIG_MD5: Method = standard("bm_get_config_md5", &[]);
static MIRROR_ADD: Method = simple_switch("mirroring_session_add", MIRROR);
static QUEUE_RATE: Method = simple_switch("set_egress_queue_rate", &[]);
static QUEUE_DEPTH: Method = simple_switch("set_egress_queue_depth", &[]);
static ELAPSED: Method = simple_switch("get_time_elapsed_us", &[]);

/// One column of an entry's key. Numbers are in network byte order, as many bytes as the column has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchKey {
    /// Every bit.
    Exact(Vec<u8>),
    /// This many leading bits.
    Lpm(Vec<u8>, u8),
    /// The bits that the second number has set.
    Ternary(Vec<u8>, Vec<u8>),
    /// From the first number to the second, both included.
    Range(Vec<u8>, Vec<u8>),
    /// Whether a header is there.
    Valid(bool),
}

/// An entry that a table gave a number. Only good for that table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryHandle(pub i32);

/// What a counter counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CounterValue {
    /// Bytes of all packets.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

/// The control interface of one running switch.
///
/// # Errors
/// Every method gives [`RuntimeError`]. After [`RuntimeError::Refused`] the connection goes on; after any other it is of no
/// use.
pub struct Runtime {
    connection: Connection,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl Runtime {
    /// Connects to a switch's Thrift port.
    ///
    /// # Errors
    /// [`RuntimeError::Connect`].
    pub fn connect(address: SocketAddr) -> Result<Self, RuntimeError> {
        let connection = Connection::open(address);
        let connection = connection.map_err(|source| RuntimeError::Connect { address, source })?;
        Ok(Runtime { connection })
    }

    /// Sets what a table does when nothing matches.
    pub fn set_default_action(
        &mut self,
        table: &str,
        action: &str,
        data: &[Vec<u8>],
    ) -> Result<(), RuntimeError> {
        let arguments = vec![CONTEXT, Value::text(table), Value::text(action), bytes(data)];
        self.tell(&SET_DEFAULT_ACTION, table, arguments)
    }

    /// Adds an entry. Of a table with ternary or range columns it needs a priority, smaller first.
    pub fn add_entry(
        &mut self,
        table: &str,
        key: &[MatchKey],
        action: &str,
        data: &[Vec<u8>],
        priority: Option<i32>,
    ) -> Result<EntryHandle, RuntimeError> {
        let columns = Value::List(key.iter().map(column).collect());
        let options = Value::Struct(priority.map(|priority| (1, Value::I32(priority))).into_iter().collect());
        let call = Call {
            method: &ADD_ENTRY,
            subject: table.to_owned(),
            arguments: vec![CONTEXT, Value::text(table), columns, Value::text(action), bytes(data), options],
        };
        match self.ask(call)? {
            (_, Some(Value::I32(handle))) => Ok(EntryHandle(handle)),
            (call, _) => Err(call.answer_error("a handle")),
        }
    }

    /// Changes what an entry does.
    pub fn modify_entry(
        &mut self,
        table: &str,
        entry: EntryHandle,
        action: &str,
        data: &[Vec<u8>],
    ) -> Result<(), RuntimeError> {
        let arguments =
            vec![CONTEXT, Value::text(table), Value::I32(entry.0), Value::text(action), bytes(data)];
        self.tell(&MODIFY_ENTRY, table, arguments)
    }

    /// Removes an entry.
    pub fn delete_entry(&mut self, table: &str, entry: EntryHandle) -> Result<(), RuntimeError> {
        self.tell(&DELETE_ENTRY, table, vec![CONTEXT, Value::text(table), Value::I32(entry.0)])
    }

    /// Removes all entries, and what was set by [`Runtime::set_default_action`] if `default_too`.
    pub fn clear_entries(&mut self, table: &str, default_too: bool) -> Result<(), RuntimeError> {
        self.tell(&CLEAR_ENTRIES, table, vec![CONTEXT, Value::text(table), Value::Bool(default_too)])
    }

    /// How many entries a table has.
    pub fn entries(&mut self, table: &str) -> Result<u64, RuntimeError> {
        self.number(&ENTRIES, table, vec![CONTEXT, Value::text(table)])
    }

    /// Adds a member to a parser's value set: its fields side by side as one number.
    pub fn add_to_value_set(&mut self, set: &str, member: &[u8]) -> Result<(), RuntimeError> {
        self.tell(&VALUE_SET_ADD, set, vec![CONTEXT, Value::text(set), Value::Bytes(member.to_vec())])
    }

    /// Takes a member out of a value set.
    pub fn remove_from_value_set(&mut self, set: &str, member: &[u8]) -> Result<(), RuntimeError> {
        self.tell(&VALUE_SET_REMOVE, set, vec![CONTEXT, Value::text(set), Value::Bytes(member.to_vec())])
    }

    /// Empties a value set.
    pub fn clear_value_set(&mut self, set: &str) -> Result<(), RuntimeError> {
        self.tell(&VALUE_SET_CLEAR, set, vec![CONTEXT, Value::text(set)])
    }

    /// Lets a mirror session lead to a port, whether or not it led anywhere before.
    pub fn set_mirror_session(&mut self, session: u32, port: u16) -> Result<(), RuntimeError> {
        let to = Value::Struct(vec![(1, Value::I32(port.into()))]);
        self.tell(&MIRROR_ADD, &session.to_string(), vec![Value::I32(session as i32), to])
    }

    /// Lets at most so many packets a second out of a port's queue.
    pub fn set_queue_rate(&mut self, port: u16, packets_per_second: u64) -> Result<(), RuntimeError> {
        let arguments = vec![Value::I32(port.into()), Value::I64(packets_per_second as i64)];
        self.tell(&QUEUE_RATE, &port.to_string(), arguments)
    }

    /// Lets at most so many packets wait in a port's queue.
    pub fn set_queue_depth(&mut self, port: u16, packets: u32) -> Result<(), RuntimeError> {
        let arguments = vec![Value::I32(port.into()), Value::I32(packets as i32)];
        self.tell(&QUEUE_DEPTH, &port.to_string(), arguments)
    }

    /// One cell of a counter.
    pub fn read_counter(&mut self, counter: &str, index: u32) -> Result<CounterValue, RuntimeError> {
        Ok(self.read_counters(counter, &[index])?.pop().unwrap_or_default())
    }

    /// Several cells of a counter, in one round trip.
    pub fn read_counters(
        &mut self,
        counter: &str,
        indices: &[u32],
    ) -> Result<Vec<CounterValue>, RuntimeError> {
        let call = |index: &u32| Call {
            method: &COUNTER_READ,
            subject: format!("{counter}[{index}]"),
            arguments: vec![CONTEXT, Value::text(counter), Value::I32(*index as i32)],
        };
        let calls: Vec<_> = indices.iter().map(call).collect();
        let answers = self.connection.call(&calls)?;
        let value = |(call, answer): (&Call, Option<Value>)| {
            let number = |id| match answer.as_ref()?.field(id)? {
                Value::I64(number) => Some(*number as u64),
                _ => None,
            };
            let (Some(bytes), Some(packets)) = (number(1), number(2)) else {
                return Err(call.answer_error("bytes and packets"));
            };
            Ok(CounterValue { bytes, packets })
        };
        calls.iter().zip(answers).map(value).collect()
    }

    /// Sets all cells of a counter to zero.
    pub fn reset_counter(&mut self, counter: &str) -> Result<(), RuntimeError> {
        self.tell(&COUNTER_RESET, counter, vec![CONTEXT, Value::text(counter)])
    }

    /// One cell of a register of at most 64 bits.
    pub fn read_register(&mut self, register: &str, index: u32) -> Result<u64, RuntimeError> {
        Ok(self.read_registers(&[(register, index)])?.pop().unwrap_or_default())
    }

    /// Cells of several registers, in one round trip.
    pub fn read_registers(&mut self, cells: &[(&str, u32)]) -> Result<Vec<u64>, RuntimeError> {
        let call = |(register, index): &(&str, u32)| Call {
            method: &REGISTER_READ,
            subject: format!("{register}[{index}]"),
            arguments: vec![CONTEXT, Value::text(register), Value::I32(*index as i32)],
        };
        let calls: Vec<_> = cells.iter().map(call).collect();
        let answers = self.connection.call(&calls)?;
        let value = |(call, answer): (&Call, Option<Value>)| match answer {
            Some(Value::I64(value)) => Ok(value as u64),
            _ => Err(call.answer_error("a number")),
        };
        calls.iter().zip(answers).map(value).collect()
    }

    /// Every cell of a register.
    pub fn read_register_array(&mut self, register: &str) -> Result<Vec<u64>, RuntimeError> {
        let call = Call {
            method: &REGISTER_READ_ALL,
            subject: register.to_owned(),
            arguments: vec![CONTEXT, Value::text(register)],
        };
        let (call, answer) = self.ask(call)?;
        let Some(Value::List(cells)) = answer else { return Err(call.answer_error("a list of numbers")) };
        let number = |cell| match cell {
            Value::I64(number) => Ok(number as u64),
            _ => Err(call.answer_error("a list of numbers")),
        };
        cells.into_iter().map(number).collect()
    }

    /// Sets a cell of a register.
    pub fn write_register(&mut self, register: &str, index: u32, value: u64) -> Result<(), RuntimeError> {
        let arguments =
            vec![CONTEXT, Value::text(register), Value::I32(index as i32), Value::I64(value as i64)];
        self.tell(&REGISTER_WRITE, &format!("{register}[{index}]"), arguments)
    }

    /// Sets every cell of a register to zero.
    pub fn reset_register(&mut self, register: &str) -> Result<(), RuntimeError> {
        self.tell(&REGISTER_RESET, register, vec![CONTEXT, Value::text(register)])
    }

    /// MD5 of the program that the switch runs.
    pub fn config_md5(&mut self) -> Result<Vec<u8>, RuntimeError> {
        let call = Call { method: &CONFIG_MD5, subject: String::new(), arguments: Vec::new() };
        match self.ask(call)? {
            (_, Some(Value::Bytes(md5))) => Ok(md5),
            (call, _) => Err(call.answer_error("bytes")),
        }
    }

    /// The switch's clock: microseconds since it started.
    pub fn elapsed_us(&mut self) -> Result<u64, RuntimeError> {
        self.number(&ELAPSED, "", Vec::new())
    }

    fn ask(&mut self, call: Call) -> Result<(Call, Option<Value>), RuntimeError> {
        let mut answers = self.connection.call(std::slice::from_ref(&call))?;
        Ok((call, answers.pop().flatten()))
    }

    fn tell(
        &mut self,
        method: &'static Method,
        subject: &str,
        arguments: Vec<Value>,
    ) -> Result<(), RuntimeError> {
        self.ask(Call { method, subject: subject.to_owned(), arguments }).map(drop)
    }

    fn number(
        &mut self,
        method: &'static Method,
        subject: &str,
        arguments: Vec<Value>,
    ) -> Result<u64, RuntimeError> {
        match self.ask(Call { method, subject: subject.to_owned(), arguments })? {
            (_, Some(Value::I64(number))) => Ok(number as u64),
            (call, _) => Err(call.answer_error("a number")),
        }
    }
}

fn bytes(data: &[Vec<u8>]) -> Value {
    Value::List(data.iter().cloned().map(Value::Bytes).collect())
}

/// `BmMatchParam`: its type, and the field of that type.
fn column(key: &MatchKey) -> Value {
    let two = |a: &[u8], b: Value| Value::Struct(vec![(1, Value::Bytes(a.to_vec())), (2, b)]);
    let (kind, field, value) = match key {
        MatchKey::Exact(key) => (0, 2, Value::Struct(vec![(1, Value::Bytes(key.clone()))])),
        MatchKey::Lpm(key, length) => (1, 3, two(key, Value::I32((*length).into()))),
        MatchKey::Ternary(key, mask) => (2, 4, two(key, Value::Bytes(mask.clone()))),
        MatchKey::Valid(valid) => (3, 5, Value::Struct(vec![(1, Value::Bool(*valid))])),
        MatchKey::Range(start, end) => (4, 6, two(start, Value::Bytes(end.clone()))),
    };
    Value::Struct(vec![(1, Value::I32(kind)), (field, value)])
}
