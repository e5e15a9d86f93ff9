//! What came out, for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

/// One measurement.
pub(super) struct Row {
    /// Its name for programs.
    pub(super) id: &'static str,
    /// Its name for people.
    pub(super) name: String,
    /// What came out.
    pub(super) outcome: Outcome,
}

/// What came out of a measurement.
pub(super) enum Outcome {
    /// A report of the load generator.
    Load(Value),
    /// What another load generator said.
    Other { requests_per_second: f64, p50_us: f64, p99_us: f64, max_us: f64 },
    /// Growth of a node's memory.
    Memory { records: u64, bytes_per_record: f64 },
    /// A tool is missing.
    Skipped(String),
    /// It should have worked.
    Failed(String),
}

/// What a row is compared with, by both ids, and the least ratio that the project aims for, if it does.
const RATIOS: [(&str, &str, Option<f64>); 13] = [
    ("store_gso", "echo_gso", Some(0.5)),
    ("store", "echo", Some(0.8)),
    ("store_deep", "echo_deep", Some(0.5)),
    ("chain_gso", "echo_gso", None),
    ("chain_deep", "echo_deep", Some(0.25)),
    ("chain", "echo", Some(0.25)),
    ("store_unbatched", "echo_unbatched", None),
    ("store_gso", "redis_pipelined", Some(1.0)),
    ("chain_gso", "redis_pipelined", None),
    ("store_unbatched", "redis", Some(2.0)),
    ("store_gso", "memcached_gso", None),
    ("store_unbatched", "memcached", None),
    ("chain_gso", "store_gso", None),
];

impl Outcome {
    /// Requests per second, if that is what was measured.
    pub(super) fn rate(&self) -> Option<f64> {
        match self {
            Self::Load(report) => report["requests_per_second"].as_f64(),
            Self::Other { requests_per_second, .. } => Some(*requests_per_second),
            _ => None,
        }
    }

    /// In one line.
    pub(super) fn summary(&self) -> String {
        match self {
            Self::Skipped(why) => format!("SKIPPED: {why}"),
            Self::Failed(why) => format!("FAILED: {why}"),
            Self::Memory { bytes_per_record, .. } => format!("{bytes_per_record:.0} bytes per record"),
            Self::Load(_) | Self::Other { .. } => format!("{:.0} a second", self.rate().unwrap_or_default()),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Load(report) => report.clone(),
            Self::Other { requests_per_second, p50_us, p99_us, max_us } => json!({
                "requests_per_second": requests_per_second,
                "latency": { "p50_us": p50_us, "p99_us": p99_us, "max_us": max_us },
            }),
            Self::Memory { records, bytes_per_record } => {
                json!({ "records": records, "bytes_per_record": bytes_per_record })
            }
            Self::Skipped(why) => json!({ "skipped": why }),
            Self::Failed(why) => json!({ "failed": why }),
        }
    }
}

/// All rows and ratios.
pub(super) fn json(rows: &[Row]) -> Value {
    let measured: serde_json::Map<_, _> = rows
        .iter()
        .map(|row| (row.id.to_owned(), json!({ "name": row.name, "result": row.outcome.json() })))
        .collect();
    let ratios: Vec<_> = ratios(rows)
        .map(|(of, to, ratio, aim)| json!({ "of": of.id, "to": to.id, "ratio": ratio, "aim": aim }))
        .collect();
    json!({ "measured": measured, "ratios": ratios })
}

/// The same as Markdown.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| what | requests/s | p50 µs | p90 µs | p99 µs | p99.9 µs | max µs | sent again | wrong |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for Row { name, outcome, .. } in rows {
        let Some(rate) = outcome.rate() else {
            let _ =
                writeln!(text, "| {name} | {} | | | | | | | |", outcome.summary().replace(['|', '\n'], " "));
            continue;
        };
        let report = outcome.json();
        let number = |value: &Value| value.as_f64().map_or(String::new(), |number| format!("{number:.0}"));
        let latency =
            ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"].map(|name| number(&report["latency"][name]));
        let counts = ["retransmissions", "wrong"].map(|name| number(&report[name]));
        let _ = writeln!(text, "| {name} | {rate:.0} | {} | {} |", latency.join(" | "), counts.join(" | "));
    }
    text += "\n| ratio | | aim |\n| --- | ---: | ---: |\n";
    for (of, to, ratio, aim) in ratios(rows) {
        let aim = aim.map_or(String::new(), |aim| {
            format!("{aim:.2} {}", if ratio >= aim { "reached" } else { "missed" })
        });
        let _ = writeln!(text, "| {} / {} | {ratio:.2} | {aim} |", of.name, to.name);
    }
    text += &histogram(rows);
    text
}

fn ratios(rows: &[Row]) -> impl Iterator<Item = (&Row, &Row, f64, Option<f64>)> {
    let find = |id: &str| rows.iter().find(|row| row.id == id);
    RATIOS.iter().filter_map(move |(of, to, aim)| {
        let (of, to) = (find(of)?, find(to)?);
        let ratio = of.outcome.rate()? / to.outcome.rate()?;
        Some((of, to, ratio, *aim))
    })
}

/// The latencies at half load.
fn histogram(rows: &[Row]) -> String {
    let mut text = String::new();
    let half = rows.iter().find(|row| row.id == "half_load");
    let Some(Row { name, outcome: Outcome::Load(report), .. }) = half else { return text };
    let Some(buckets) = report["latency"]["buckets"].as_array() else { return text };
    let total: u64 = buckets.iter().filter_map(|bucket| bucket["count"].as_u64()).sum();
    let _ = write!(text, "\n| {name}: up to µs | answers | share so far |\n| ---: | ---: | ---: |\n");
    let mut so_far = 0;
    for bucket in buckets {
        let count = bucket["count"].as_u64().unwrap_or_default();
        so_far += count;
        let limit = bucket["up_to_us"].as_f64().unwrap_or_default();
        let share = so_far as f64 * 100.0 / total.max(1) as f64;
        let _ = writeln!(text, "| {limit:.0} | {count} | {share:.3} % |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &'static str, rate: f64) -> Row {
        let report = json!({
            "requests_per_second": rate, "retransmissions": 3, "wrong": 0,
            "latency": { "p50_us": 1.5, "p999_us": 9.0, "buckets": [
                { "up_to_us": 2.0, "count": 3 }, { "up_to_us": 4.0, "count": 1 },
            ] },
        });
        Row { id, name: id.to_owned(), outcome: Outcome::Load(report) }
    }

    #[test]
    fn the_table_shows_rates_ratios_and_what_is_missing() {
        let skipped = Outcome::Skipped("redis-server not found".to_owned());
        let rows = [
            row("echo", 100.0),
            row("store", 75.0),
            Row { id: "redis", name: "redis".to_owned(), outcome: skipped },
            row("half_load", 30.0),
        ];
        let text = markdown(&rows);
        for line in [
            "| store | 75 | 2 |  |  | 9 |  | 3 | 0 |",
            "| redis | SKIPPED: redis-server not found | | | | | | | |",
            "| store / echo | 0.75 | 0.80 missed |",
            "| 4 | 1 | 100.000 % |",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
        }
        let ratios = &json(&rows)["ratios"];
        assert_eq!(ratios, &json!([{ "of": "store", "to": "echo", "ratio": 0.75, "aim": 0.8 }]));
    }
}
