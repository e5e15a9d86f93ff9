//! The compiler.

pub mod ir;
pub mod packet;
