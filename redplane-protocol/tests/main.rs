//! Tests of the protocol as a whole: each state machine alone, both against each other, and against garbage.

mod node;
mod pair;
mod property;
mod simulation;
mod slot;
