//! The checker against hand-made and random histories, and seeds against everything.

mod checker;
mod seeds;
mod show;
