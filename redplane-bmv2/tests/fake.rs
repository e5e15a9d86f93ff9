//! A server of Thrift's binary protocol with a decoder of its own.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a client asked.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `service:method`.
    pub(crate) name: String,
    /// Its arguments as text, in their order.
    pub(crate) arguments: Vec<String>,
    /// All of it.
    pub(crate) bytes: Vec<u8>,
}

/// What it is answered.
pub(crate) enum Reply {
    /// The fields of the result, without the stop byte.
    Success(Vec<u8>),
    /// A `TApplicationException` that says this.
    Exception(String),
}

/// The server; it ends when this is dropped.
pub(crate) struct Fake {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn start(answer: impl Fn(&Call) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if stream.peek(&mut [0]).unwrap_or(0) == 0 {
                    return; // The last one comes only to say so.
                }
                while let Some((call, sequence)) = read_call(&mut stream) {
                    let reply = answer(&call);
                    seen.lock().unwrap().push(call.clone());
                    if stream.write_all(&encode(&call, sequence, reply)).is_err() {
                        break;
                    }
                }
            }
        });
        Fake { address, calls, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Every call as a line, since the last look.
    pub(crate) fn lines(&self) -> Vec<String> {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap());
        let method = |call: &Call| call.name.split(':').nth(1).unwrap_or_default().to_owned();
        calls.iter().map(|call| format!("{} {}", method(call), call.arguments.join(" "))).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Ok(stream) = TcpStream::connect(self.address) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn encode(call: &Call, sequence: i32, reply: Reply) -> Vec<u8> {
    let name = call.name.split(':').nth(1).unwrap_or_default();
    let (kind, mut fields) = match reply {
        Reply::Success(fields) => (2, fields),
        Reply::Exception(said) => {
            let mut fields = vec![0x0b, 0, 1];
            fields.extend((said.len() as u32).to_be_bytes());
            fields.extend(said.as_bytes());
            fields.extend([0x08, 0, 2, 0, 0, 0, 1]);
            (3, fields)
        }
    };
    let mut bytes = vec![0x80, 1, 0, kind];
    bytes.extend((name.len() as u32).to_be_bytes());
    bytes.extend(name.as_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.append(&mut fields);
    bytes.push(0);
    bytes
}

struct Input<'a> {
    stream: &'a mut TcpStream,
    bytes: Vec<u8>,
}

impl Input<'_> {
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).ok()?;
        self.bytes.extend(&bytes);
        Some(bytes)
    }

    fn number(&mut self, len: usize) -> Option<i64> {
        let bytes = self.take(len)?;
        let first = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
        Some(bytes.iter().fold(first, |number, byte| number << 8 | i64::from(*byte)))
    }

    fn value(&mut self, kind: u8) -> Option<String> {
        Some(match kind {
            2 => (self.number(1)? != 0).to_string(),
            8 => self.number(4)?.to_string(),
            10 => self.number(8)?.to_string(),
            11 => {
                let len = self.number(4)? as usize;
                let bytes = self.take(len)?;
                match std::str::from_utf8(&bytes) {
                    Ok(text) if text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                        text.to_owned()
                    }
                    _ => bytes.iter().fold("0x".to_owned(), |mut text, byte| {
                        let _ = write!(text, "{byte:02x}");
                        text
                    }),
                }
            }
            12 => format!("{{{}}}", self.fields()?.join(", ")),
            15 => {
                let kind = self.take(1)?[0];
                let len = self.number(4)?;
                let values: Option<Vec<_>> = (0..len).map(|_| self.value(kind)).collect();
                format!("[{}]", values?.join(", "))
            }
            other => panic!("type {other}"),
        })
    }

    fn fields(&mut self) -> Option<Vec<String>> {
        let mut fields = Vec::new();
        loop {
            let kind = self.take(1)?[0];
            if kind == 0 {
                return Some(fields);
            }
            self.number(2)?;
            fields.push(self.value(kind)?);
        }
    }
}

fn read_call(stream: &mut TcpStream) -> Option<(Call, i32)> {
    let mut input = Input { stream, bytes: Vec::new() };
    assert_eq!(input.take(4)?, [0x80, 1, 0, 1], "a strict call");
    let len = input.number(4)? as usize;
    let name = String::from_utf8(input.take(len)?).ok()?;
    let sequence = input.number(4)? as i32;
    let arguments = input.fields()?;
    Some((Call { name, arguments, bytes: input.bytes }, sequence))
}
