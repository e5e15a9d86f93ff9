//! What came out.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What a run of [`bench`](super::bench()) measured. Counts are those of the measured time, without the warm-up.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Right answers per second.
    pub requests_per_second: f64,
    /// Right answers.
    pub answers: u64,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Requests that were sent again after the timeout.
    pub retransmissions: u64,
    /// Requests without any answer when all was over.
    pub unanswered: u64,
    /// Second answers to what was already answered: what retransmissions cause.
    pub duplicates: u64,
    /// Answers that no request explains: each is a defect of the target.
    pub wrong: u64,
    /// NACKs by reason.
    pub nacks: BTreeMap<String, u64>,
    /// Requests that this machine's kernel did not take.
    pub not_sent: u64,
    /// From the moment when a request should have been sent to its answer.
    pub latency: Latency,
}

/// Times in microseconds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Half of all are faster.
    pub p50_us: f64,
    /// Nine of ten are faster.
    pub p90_us: f64,
    /// 99 of 100 are faster.
    pub p99_us: f64,
    /// 999 of 1000 are faster.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
    /// Mean of all.
    pub mean_us: f64,
    /// How many fall into which times: each limit is twice the one before.
    pub buckets: Vec<Bucket>,
}

/// One bar of a histogram.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Bucket {
    /// Its upper limit in microseconds.
    pub up_to_us: f64,
    /// How many are within.
    pub count: u64,
}

/// Longest latency that is told apart, in nanoseconds: no run waits longer.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Upper limit of the first bucket, in nanoseconds: less than the fastest answer takes on any machine.
const BUCKET_NS: u64 = 1024;

/// What one thread measured.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) answers: u64,
    pub(super) nanos: u64,
    pub(super) retransmissions: u64,
    pub(super) unanswered: u64,
    pub(super) duplicates: u64,
    pub(super) wrong: u64,
    pub(super) nacks: BTreeMap<String, u64>,
    pub(super) not_sent: u64,
    pub(super) latencies: Histogram<u64>,
}

impl Part {
    pub(super) fn new() -> Self {
        // Three digits: 0.1 % is finer than any two runs agree.
        let latencies = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Self {
            answers: 0,
            nanos: 0,
            retransmissions: 0,
            unanswered: 0,
            duplicates: 0,
            wrong: 0,
            nacks: BTreeMap::new(),
            not_sent: 0,
            latencies: latencies.expect("the bounds are legal"),
        }
    }
}

impl Report {
    /// The sum over all threads.
    pub(super) fn of(parts: Vec<Part>) -> Self {
        let mut sum = Part::new();
        let mut rate = 0.0;
        for part in parts {
            if part.nanos > 0 {
                rate += part.answers as f64 / (part.nanos as f64 / 1e9);
            }
            sum.answers += part.answers;
            sum.nanos = sum.nanos.max(part.nanos);
            sum.retransmissions += part.retransmissions;
            sum.unanswered += part.unanswered;
            sum.duplicates += part.duplicates;
            sum.wrong += part.wrong;
            part.nacks.into_iter().for_each(|(reason, count)| *sum.nacks.entry(reason).or_default() += count);
            sum.not_sent += part.not_sent;
            sum.latencies.add(&part.latencies).expect("all have the same bounds");
        }
        Self {
            requests_per_second: rate,
            answers: sum.answers,
            seconds: sum.nanos as f64 / 1e9,
            retransmissions: sum.retransmissions,
            unanswered: sum.unanswered,
            duplicates: sum.duplicates,
            wrong: sum.wrong,
            nacks: sum.nacks,
            not_sent: sum.not_sent,
            latency: Latency::of(&sum.latencies),
        }
    }
}

impl Latency {
    fn of(nanos: &Histogram<u64>) -> Self {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let at = |quantile| micros(nanos.value_at_quantile(quantile));
        let bars = nanos.iter_log(BUCKET_NS, 2.0);
        Self {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: micros(nanos.max()),
            mean_us: nanos.mean() / 1e3,
            buckets: bars
                .map(|bar| Bucket {
                    up_to_us: micros(bar.value_iterated_to() + 1),
                    count: bar.count_since_last_iteration(),
                })
                .filter(|bucket| bucket.count > 0)
                .collect(),
        }
    }
}
