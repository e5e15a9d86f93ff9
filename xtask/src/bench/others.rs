//! What the store is compared with. Each may be missing on this machine.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::process::{Server, free_port};
use super::table::Outcome;
use super::{KEYS, VALUE_LEN};

/// How long a server has to open its port.
const START: Duration = Duration::from_millis(500);

/// Requests that say how many fit into the time that was asked for, per connection and depth of its pipeline.
const TRIAL: u64 = 500;

/// SETs of Redis by its own load generator.
pub(super) fn redis(folder: &Path, seconds: u64, connections: u64, pipeline: u64) -> anyhow::Result<Outcome> {
    for tool in ["redis-server", "redis-benchmark"] {
        if !is_installed(tool) {
            return Ok(Outcome::Skipped(format!("{tool} not found")));
        }
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let mut command = Command::new("redis-server");
    // In memory only, like the store without a journal.
    command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let _server = Server::start(command.current_dir(folder), &folder.join("redis.log"))?;
    std::thread::sleep(START);
    let run = |requests: u64| {
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-p", &port, "--csv"]);
        command.args(["-c", &connections.to_string(), "-P", &pipeline.to_string()]);
        command.args(["-n", &requests.to_string(), "-r", &KEYS.to_string()]);
        // A letter and twelve digits: as long as the store's keys.
        command.args(["SET", "k__rand_int__", &"v".repeat(VALUE_LEN)]);
        redis_report(&mut command)
    };
    let (rate, _) = run(TRIAL * connections * pipeline)?;
    let (requests_per_second, micros) = run((rate * seconds as f64) as u64 + 1)?;
    Ok(Outcome::Other { requests_per_second, p50_us: micros[0], p99_us: micros[1], max_us: micros[2] })
}

/// Rate, and latencies of the median, of 99 %, and of the slowest in microseconds.
fn redis_report(command: &mut Command) -> anyhow::Result<(f64, [f64; 3])> {
    let output = command.output().context("cannot start redis-benchmark")?;
    if !output.status.success() {
        bail!("redis-benchmark: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    parse_redis(&String::from_utf8_lossy(&output.stdout))
}

fn parse_redis(text: &str) -> anyhow::Result<(f64, [f64; 3])> {
    let cells = |line: &str| -> Vec<String> {
        line.split("\",\"").map(|cell| cell.trim_matches(['"', '\n']).to_owned()).collect()
    };
    let (heads, values) = text.trim().split_once('\n').context("redis-benchmark printed no table")?;
    let (heads, values) = (cells(heads), cells(values));
    let value = |name: &str| -> anyhow::Result<f64> {
        let at = heads.iter().position(|head| head == name);
        let cell = at.and_then(|at| values.get(at)).with_context(|| format!("no column {name}"))?;
        cell.parse().with_context(|| format!("{name} is `{cell}`"))
    };
    let micros = |name| value(name).map(|millis| millis * 1000.0);
    Ok((value("rps")?, [micros("p50_latency_ms")?, micros("p99_latency_ms")?, micros("max_latency_ms")?]))
}

/// Starts memcached, if there is one, with one thread and a UDP port, which is returned.
pub(super) fn memcached(folder: &Path) -> anyhow::Result<Option<(Server, u16)>> {
    if !is_installed("memcached") {
        return Ok(None);
    }
    let port = free_port()?;
    let mut command = Command::new("memcached");
    // Without TCP; the user matters, and is needed, only if this runs as the superuser.
    command.args([
        "-l",
        "127.0.0.1",
        "-p",
        "0",
        "-U",
        &port.to_string(),
        "-t",
        "1",
        "-m",
        "256",
        "-u",
        "nobody",
    ]);
    let server = Server::start(command.current_dir(folder), &folder.join("memcached.log"))?;
    std::thread::sleep(START);
    Ok(Some((server, port)))
}

fn is_installed(tool: &str) -> bool {
    let version = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_redis_benchmark_is_read() {
        let text = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                    \"p99_latency_ms\",\"max_latency_ms\"\n\
                    \"SET k v\",\"254264.42\",\"0.241\",\"0.040\",\"0.087\",\"0.423\",\"3.959\",\"105.791\"\n";
        let (rate, [p50, p99, max]) = parse_redis(text).unwrap();
        assert_eq!((rate, p50.round(), p99.round(), max.round()), (254_264.42, 87.0, 3959.0, 105_791.0));
        assert!(parse_redis("WARNING: nothing\n").is_err());
        assert!(parse_redis("\"rps\"\n\"many\"\n").is_err());
    }
}
