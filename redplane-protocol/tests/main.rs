//! Tests of the protocol as a whole: both state machines against each other, and against garbage.

mod pair;
mod simulation;
