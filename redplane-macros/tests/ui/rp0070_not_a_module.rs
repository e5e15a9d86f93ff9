#![allow(unused)]

#[redplane_sdk::app(id = 1)]
pub struct Nat;
//~ ^^^^^^ RP0070

fn main() {}
