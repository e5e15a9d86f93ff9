//! Tests of the apps and the demo, in one binary.

mod agreement;
mod checksums;
mod demo;
mod dissector;
mod firewall;
mod frames;
mod load_balancer;
mod mapping;
mod nat;
mod own_headers;
mod pcap;
mod run;
mod tables;
mod trial;
