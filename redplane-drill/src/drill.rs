//! Kills, or drains, switches under traffic, and says what the traffic saw.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::iperf::{self, Iperf};
use crate::system::System;
use crate::traffic::{Load, Seen, Silence, Traffic, Transfers};

/// Before the first failure: every transfer is under way.
const WARM_UP: Duration = Duration::from_secs(2);

/// From a failure until the switch is started again: longer than any outage that is to be told from the next one.
const DOWN: Duration = Duration::from_millis(1500);

/// From then until the next failure.
const UP: Duration = Duration::from_millis(1000);

/// An outage begins at the latest so long after its failure: a probe may have been just answered.
const BEGINS_WITHIN: Duration = Duration::from_millis(100);

/// What is done to a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// It is killed.
    Kill,
    /// It is taken out of service.
    Drain,
}

/// What a drill showed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// What it was done to.
    pub system: String,
    /// What: `kill` or `drain`.
    pub blow: &'static str,
    /// How many blows there were.
    pub blows: u32,
    /// iperf3 beside them, if it is there.
    pub iperf: Option<Iperf>,
    /// What became of the transfers.
    pub transfers: Transfers,
    /// Transfers that did not complete.
    pub broken: u32,
    /// By blow: the longest silence of any probe, in milliseconds.
    pub probe_outages_ms: Vec<f64>,
    /// By blow: the longest silence of any transfer, in milliseconds.
    pub transfer_outages_ms: Vec<f64>,
    /// The longest silence of any probe when a switch came back, in milliseconds.
    pub return_outages_ms: Vec<f64>,
    /// Probes that were sent.
    pub probes_sent: u64,
    /// Probes that did not come back.
    pub probes_lost: u64,
}

/// Deals so many blows, to the switches in turn.
///
/// # Errors
/// If a part of the system fails by itself.
pub(crate) fn run(
    name: &str,
    system: &mut dyn System,
    load: Load,
    blow: Blow,
    blows: u32,
    progress: &mut dyn FnMut(u32),
) -> anyhow::Result<Report> {
    let ((inside, hosts), (outside, server)) = (system.inside(), system.outside());
    let traffic = Traffic::start(inside, hosts, outside, server, load)?;
    let iperf = if crate::missing(&[iperf::PROGRAM]).is_none() {
        Some(iperf::Run::start(system, WARM_UP + (DOWN + UP) * blows, load.iperf_megabits)?)
    } else {
        println!("SKIPPED: {} not found", iperf::PROGRAM);
        None
    };
    std::thread::sleep(WARM_UP);
    let (mut blown, mut returned) = (Vec::new(), Vec::new());
    for index in 0..blows {
        let switch = system.active(index as usize)?;
        progress(index);
        blown.push(Instant::now());
        match blow {
            Blow::Kill => system.kill(switch)?,
            Blow::Drain => system.drain(switch)?,
        }
        std::thread::sleep(DOWN);
        returned.push(Instant::now());
        system.restart(switch)?;
        std::thread::sleep(UP);
        system.check()?;
    }
    let seen = traffic.finish()?;
    let blow = match blow {
        Blow::Kill => "kill",
        Blow::Drain => "drain",
    };
    let iperf = iperf.map(iperf::Run::finish).transpose()?;
    Ok(Report { iperf, ..report(name, blow, load, [&blown, &returned], &seen) })
}

fn report(
    name: &str,
    blow: &'static str,
    load: Load,
    [blown, returned]: [&[Instant]; 2],
    seen: &Seen,
) -> Report {
    let of = |moments: &[Instant], silences: &[Silence], usual: Duration| -> Vec<f64> {
        moments.iter().map(|moment| longest(*moment, silences, usual)).collect()
    };
    Report {
        system: name.to_owned(),
        blow,
        iperf: None,
        blows: blown.len() as u32,
        broken: seen.transfers.broken(),
        transfers: seen.transfers.clone(),
        probe_outages_ms: of(blown, &seen.probe_silences, load.probe_interval),
        transfer_outages_ms: of(blown, &seen.transfer_silences, load.interval),
        return_outages_ms: of(returned, &seen.probe_silences, load.probe_interval),
        probes_sent: seen.probes.0,
        probes_lost: seen.probes.0 - seen.probes.1,
    }
}

/// Milliseconds of the longest silence about a moment, beyond the flow's usual pause.
fn longest(moment: Instant, silences: &[Silence], usual: Duration) -> f64 {
    let about =
        silences.iter().filter(|silence| silence.to > moment && silence.from < moment + BEGINS_WITHIN);
    let longest = about.map(Silence::length).max().unwrap_or_default();
    longest.saturating_sub(usual).as_secs_f64() * 1e3
}

/// The value that this share of the values does not exceed; zero if there is none.
#[must_use]
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize - 1;
    sorted.get(rank.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let values: Vec<f64> = (1..=50).rev().map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| quantile(&values, share)), [25.0, 50.0, 50.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn an_outage_is_the_longest_silence_about_its_moment() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let silence = |from, to| Silence { from: at(from), to: at(to) };
        let silences = [silence(0, 90), silence(95, 315), silence(110, 140), silence(300, 900)];
        let outage = longest(at(100), &silences, Duration::from_millis(20));
        assert!((outage - 200.0).abs() < 0.01, "{outage}");
    }
}
