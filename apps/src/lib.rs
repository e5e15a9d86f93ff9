//! Ready RedPlane apps, and the demo that runs them through failures.

pub mod demo;
