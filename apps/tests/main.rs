mod checksums;
mod mapping;
mod nat;
mod run;
