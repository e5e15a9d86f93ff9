#![allow(unused)]

#[redplane_sdk::key]
//~^^^^^^^^^^^^^^^^^^^^< 0 RP0069
pub struct Flow {
    pub port: u16,
}

fn main() {}
