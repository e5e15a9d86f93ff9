//! The checker against hand-made and random histories, and seeds against everything.

mod automaton;
mod broken;
mod checker;
#[cfg(feature = "mutants")]
mod mutants;
mod seeds;
mod show;
