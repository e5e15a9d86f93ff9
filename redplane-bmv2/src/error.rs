//! What BMv2 says when it refuses.

use std::io;
use std::net::SocketAddr;

/// A call did not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// Nobody listens there.
    #[error("no runtime interface at {address}: {source}")]
    Connect {
        /// Where it should be.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke, or what came is no Thrift. The connection is of no use after it.
    #[error("{call}({subject}): {source}")]
    Transport {
        /// The method.
        call: &'static str,
        /// The table, counter, register, or number that it was about.
        subject: String,
        /// What the protocol layer said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// BMv2 refused.
    #[error("{call}({subject}): {code}")]
    Refused {
        /// The method.
        call: &'static str,
        /// The table, counter, register, or number that it was about.
        subject: String,
        /// BMv2's own name for why: `TABLE_FULL`.
        code: String,
    },
    /// The answer is of another shape than the interface says. The connection is of no use after it.
    #[error("{call}({subject}): the answer should be {expected}")]
    Answer {
        /// The method.
        call: &'static str,
        /// The table, counter, register, or number that it was about.
        subject: String,
        /// What it should have been.
        expected: String,
    },
}
