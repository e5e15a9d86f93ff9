//! The journal: what makes acknowledged writes outlive the process.
