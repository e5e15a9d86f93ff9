//! What `cargo xtask bench store` starts: a bare echo, and the load generator with arguments and report as JSON.
//!
//! ```text
//! load echo 127.0.0.1:7000 [--no-gso]
//! load drive < arguments.json > report.json
//! ```

use std::net::SocketAddrV4;
use std::process::ExitCode;

use backend_store::load::{BenchArguments, bench, echo};
use backend_store::service::udp::SocketOptions;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["echo", address] => serve(address, true),
        ["echo", address, "--no-gso"] => serve(address, false),
        ["drive"] => drive(),
        _ => Err("load echo ADDRESS [--no-gso] | load drive < arguments.json".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str, gso: bool) -> Outcome {
    let address: SocketAddrV4 = address.parse()?;
    Ok(echo(address, SocketOptions { gso, ..SocketOptions::default() })?)
}

fn drive() -> Outcome {
    let arguments: BenchArguments = serde_json::from_reader(std::io::stdin())?;
    println!("{}", serde_json::to_string(&bench(&arguments)?)?);
    Ok(())
}
