//! Calls by Thrift's binary protocol, several at a time.
//!
//! BMv2 serves several services on one port (`src/bm_runtime/server.cpp`: buffered transport, binary protocol,
//! multiplexed by service), so a method is called `service:method`.

use std::error::Error;
use std::io::{self, BufReader, BufWriter};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use thrift::protocol::{
    TBinaryInputProtocol, TBinaryOutputProtocol, TFieldIdentifier, TInputProtocol, TListIdentifier,
    TMessageIdentifier, TMessageType, TOutputProtocol, TStructIdentifier, TType,
};

use crate::error::RuntimeError;

/// Calls that are under way at once: their answers fit into a socket's buffer, so that neither side waits for the other.
const CALLS_MAX: usize = 256;

/// How long BMv2 may take for one answer. It takes microseconds; a table of 65,536 registers takes milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A value of the protocol; strings and binaries are the same on the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    I32(i32),
    I64(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Struct(Vec<(i16, Value)>),
}

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Value::Bytes(text.as_bytes().to_vec())
    }

    fn kind(&self) -> TType {
        match self {
            Value::Bool(_) => TType::Bool,
            Value::I32(_) => TType::I32,
            Value::I64(_) => TType::I64,
            Value::Bytes(_) => TType::String,
            Value::List(_) => TType::List,
            Value::Struct(_) => TType::Struct,
        }
    }

    /// A field of a struct.
    pub(crate) fn field(&self, wanted: i16) -> Option<&Value> {
        match self {
            Value::Struct(fields) => fields.iter().find(|(id, _)| *id == wanted).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// A method of BMv2.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) service: &'static str,
    pub(crate) name: &'static str,
    /// The codes of its exception.
    pub(crate) codes: &'static [(i32, &'static str)],
}

/// A method with its arguments.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static Method,
    /// What it is about, for errors.
    pub(crate) subject: String,
    /// In the order of their numbers, from one.
    pub(crate) arguments: Vec<Value>,
}

impl Call {
    pub(crate) fn answer_error(&self, expected: &str) -> RuntimeError {
        let expected = expected.to_owned();
        RuntimeError::Answer { call: self.method.name, subject: self.subject.clone(), expected }
    }

    fn transport_error(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> RuntimeError {
        RuntimeError::Transport {
            call: self.method.name,
            subject: self.subject.clone(),
            source: source.into(),
        }
    }

    fn refused(&self, exception: &Value) -> RuntimeError {
        let Some(Value::I32(code)) = exception.field(1) else {
            return self.answer_error("an exception with a code");
        };
        let known = self.method.codes.iter().find(|(number, _)| number == code);
        let code = known.map_or_else(|| format!("error {code}"), |(_, name)| (*name).to_owned());
        RuntimeError::Refused { call: self.method.name, subject: self.subject.clone(), code }
    }
}

/// The buffers are std's: that of thrift 0.25 loses bytes if a read is interrupted in the middle of a value.
type Reader = TBinaryInputProtocol<BufReader<TcpStream>>;
type Writer = TBinaryOutputProtocol<BufWriter<TcpStream>>;

/// A connection to a switch.
pub(crate) struct Connection {
    reader: Reader,
    writer: Writer,
    sequence: i32,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Connection {
            reader: TBinaryInputProtocol::new(BufReader::new(stream.try_clone()?), true),
            writer: TBinaryOutputProtocol::new(BufWriter::new(stream), true),
            sequence: 0,
        })
    }

    /// Makes calls, and gives the answer of each; `None` if it has none. Ends at the first that is refused.
    pub(crate) fn call(&mut self, calls: &[Call]) -> Result<Vec<Option<Value>>, RuntimeError> {
        let mut answers = Vec::with_capacity(calls.len());
        for calls in calls.chunks(CALLS_MAX) {
            let first = self.sequence;
            for (call, sequence) in calls.iter().zip(first..) {
                send(&mut self.writer, call, sequence).map_err(|error| call.transport_error(error))?;
            }
            self.sequence = first.wrapping_add(calls.len() as i32) & i32::MAX >> 1;
            if let Some(last) = calls.last() {
                self.writer.flush().map_err(|error| last.transport_error(error))?;
            }
            // All answers are taken, whatever they are: the connection goes on after a refusal.
            let mut refused = None;
            for (call, sequence) in calls.iter().zip(first..) {
                match receive(&mut self.reader, call, sequence) {
                    Ok(answer) => answers.push(answer),
                    Err(error @ RuntimeError::Refused { .. }) => refused = refused.or(Some(error)),
                    Err(error) => return Err(error),
                }
            }
            if let Some(error) = refused {
                return Err(error);
            }
        }
        Ok(answers)
    }
}

fn send(out: &mut Writer, call: &Call, sequence: i32) -> thrift::Result<()> {
    let name = format!("{}:{}", call.method.service, call.method.name);
    out.write_message_begin(&TMessageIdentifier::new(name, TMessageType::Call, sequence))?;
    write_fields(out, call.arguments.iter().zip(1..).map(|(value, id)| (id, value)))?;
    out.write_message_end()
}

fn write_fields<'v>(
    out: &mut dyn TOutputProtocol,
    fields: impl Iterator<Item = (i16, &'v Value)>,
) -> thrift::Result<()> {
    out.write_struct_begin(&TStructIdentifier::new(""))?;
    for (id, value) in fields {
        out.write_field_begin(&TFieldIdentifier::new("", value.kind(), id))?;
        write(out, value)?;
        out.write_field_end()?;
    }
    out.write_field_stop()?;
    out.write_struct_end()
}

fn write(out: &mut dyn TOutputProtocol, value: &Value) -> thrift::Result<()> {
    match value {
        Value::Bool(value) => out.write_bool(*value),
        Value::I32(value) => out.write_i32(*value),
        Value::I64(value) => out.write_i64(*value),
        Value::Bytes(value) => out.write_bytes(value),
        Value::List(values) => {
            let kind = values.first().map_or(TType::String, Value::kind);
            out.write_list_begin(&TListIdentifier::new(kind, values.len() as i32))?;
            values.iter().try_for_each(|value| write(out, value))?;
            out.write_list_end()
        }
        Value::Struct(fields) => write_fields(out, fields.iter().map(|(id, value)| (*id, value))),
    }
}

fn receive(input: &mut Reader, call: &Call, sequence: i32) -> Result<Option<Value>, RuntimeError> {
    let transport = |error| call.transport_error(error);
    let message = input.read_message_begin().map_err(transport)?;
    if message.message_type == TMessageType::Exception {
        let said = thrift::Error::read_application_error_from_in_protocol(input).map_err(transport)?;
        input.read_message_end().map_err(transport)?;
        return Err(call.transport_error(said.message));
    }
    if (message.message_type, message.sequence_number) != (TMessageType::Reply, sequence) {
        let (name, found) = (&message.name, message.sequence_number);
        return Err(call.answer_error(&format!("that to call {sequence}, not to call {found} of {name}")));
    }
    let result = read(input, TType::Struct).map_err(transport)?;
    input.read_message_end().map_err(transport)?;
    // Field 0 is what the method returns, field 1 its exception.
    match (result.field(0), result.field(1)) {
        (_, Some(exception)) => Err(call.refused(exception)),
        (value, None) => Ok(value.cloned()),
    }
}

fn read(input: &mut dyn TInputProtocol, kind: TType) -> thrift::Result<Value> {
    Ok(match kind {
        TType::Bool => Value::Bool(input.read_bool()?),
        TType::I08 => Value::I32(input.read_i8()?.into()),
        TType::I16 => Value::I32(input.read_i16()?.into()),
        TType::I32 => Value::I32(input.read_i32()?),
        TType::I64 => Value::I64(input.read_i64()?),
        TType::String => Value::Bytes(input.read_bytes()?),
        TType::List => {
            let list = input.read_list_begin()?;
            let values = (0..list.size).map(|_| read(input, list.element_type)).collect::<Result<_, _>>()?;
            input.read_list_end()?;
            Value::List(values)
        }
        TType::Struct => {
            input.read_struct_begin()?;
            let mut fields = Vec::new();
            loop {
                let field = input.read_field_begin()?;
                let (kind, Some(id)) = (field.field_type, field.id) else { break };
                if kind == TType::Stop {
                    break;
                }
                fields.push((id, read(input, kind)?));
                input.read_field_end()?;
            }
            input.read_struct_end()?;
            Value::Struct(fields)
        }
        other => {
            return Err(thrift::Error::from(thrift::ProtocolError::new(
                thrift::ProtocolErrorKind::InvalidData,
                format!("BMv2's interface has no {other}"),
            )));
        }
    })
}
