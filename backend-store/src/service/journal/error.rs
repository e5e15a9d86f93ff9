//! What can go wrong with a journal: when it is opened, in one shard of it, and while it runs.

use std::io;
use std::path::PathBuf;

use redplane_protocol::NodeId;

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process has it.
    #[error(
        "journal `{}` is in use by another process: stop that process, or give this node a folder of its own",
        folder.display()
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// It belongs to another cluster.
    #[error(
        "journal `{}` belongs to cluster `{found}`, this node to `{expected}`: \
         correct `durability.path` or `cluster`",
        folder.display()
    )]
    OtherCluster {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// It belongs to another node.
    #[error(
        "journal `{}` belongs to {found}, this is {expected}: correct `durability.path`, or start the node \
         under its own number",
        folder.display()
    )]
    OtherNode {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Whose it should be.
        expected: NodeId,
    },
    /// It was written in another format.
    #[error(
        "journal `{}` has format {found}, this program reads {expected}: start the version that wrote it, \
         or move the folder away and let the node join as new",
        folder.display()
    )]
    Format {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        found: u32,
        /// What this program reads.
        expected: u32,
    },
    /// The folder holds something else.
    #[error(
        "`{}` is not empty and no journal (it has no file `identity`): name another folder, or empty this one",
        folder.display()
    )]
    NotAJournal {
        /// The folder.
        folder: PathBuf,
    },
    /// Nothing in it can be trusted.
    #[error(
        "journal `{}` is damaged: {what}; it is to be set aside, so that the node joins as new and gets the \
         records from the chain",
        folder.display()
    )]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// Which file, and what is wrong with it.
        what: String,
    },
    /// The file system refuses.
    #[error("journal `{}`: cannot {doing}: {source}; the journal itself may be sound", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What was tried.
        doing: String,
        /// What the system says.
        source: io::Error,
    },
}

/// What is wrong with the records of one shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "shard {shard} in journal `{}` is damaged: {what}; the journal is to be set aside, so that the node joins \
     as new and gets the records from the chain",
    folder.display()
)]
pub struct Damage {
    /// The shard.
    pub shard: u16,
    /// The journal's folder.
    pub folder: PathBuf,
    /// Which record, and what is wrong with it.
    pub what: String,
}

/// Why a journal has stopped. No append that was not acknowledged before ever will be: the node must not answer any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "journal `{}` has stopped, {what}: this node answers nothing from now on; mend the disk, then start it again",
    folder.display()
)]
pub struct JournalFailure {
    /// The folder.
    pub folder: PathBuf,
    /// What the disk or the engine said.
    pub what: String,
}
