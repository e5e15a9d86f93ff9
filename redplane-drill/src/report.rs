//! Tables of what was seen.

use std::fmt::Write;

use crate::bench::Rate;
use crate::drill::{Report, quantile};
use crate::iperf::Iperf;

/// A row for each drill.
pub(crate) fn table(reports: &[Report]) -> String {
    let mut text = String::from(
        "| system | blows | transfers completed | broken | outage ms, p50 | p99 | max | TCP outage ms, p50 | p99 | max | \
         lost probes | iperf3 |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for report in reports {
        let completed = report.transfers.count(crate::traffic::Ending::Completed);
        let _ = write!(
            text,
            "| {}, {} | {} | {completed} | {} |",
            report.system, report.blow, report.blows, report.broken
        );
        for values in [&report.probe_outages_ms, &report.transfer_outages_ms] {
            let at = |share| quantile(values, share);
            let _ = write!(text, " {:.0} | {:.0} | {:.0} |", at(0.5), at(0.99), at(1.0));
        }
        let _ = write!(text, " {} of {} |", report.probes_lost, report.probes_sent);
        let iperf = match &report.iperf {
            None => "not found".to_owned(),
            Some(Iperf { error: Some(error), .. }) => error.clone(),
            Some(iperf) => format!("completed, {:.0} Mbit/s", iperf.megabits),
        };
        let _ = writeln!(text, " {iperf} |");
    }
    text.push('\n');
    for report in reports.iter().filter(|report| report.broken > 0) {
        let _ = writeln!(text, "{}: {:?}", report.system, report.transfers.endings);
    }
    text
}

/// A row for each measurement, and the ratios.
pub(crate) fn rates(rates: &[Rate]) -> String {
    let mut text =
        String::from("| data path | senders | offered/s | delivered/s |\n| --- | ---: | ---: | ---: |\n");
    for rate in rates {
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} | {:.0} |",
            rate.system, rate.senders, rate.offered, rate.delivered
        );
    }
    let best = |system: &str| {
        let of = rates.iter().filter(|rate| rate.system == system).map(|rate| rate.delivered);
        of.fold(None, |best: Option<f64>, rate| Some(best.map_or(rate, |best| best.max(rate))))
    };
    let Some(ours) = best(crate::bench::SOFTWARE) else { return text };
    text += "\n| ratio, best of each | |\n| --- | ---: |\n";
    for other in [crate::bench::BMV2, crate::bench::NFTABLES, crate::bench::BRIDGE] {
        if let Some(other_rate) = best(other) {
            let _ = writeln!(text, "| {} / {other} | {:.2} |", crate::bench::SOFTWARE, ours / other_rate);
        }
    }
    text
}
