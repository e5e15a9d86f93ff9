//! What a switch shows Prometheus. [`METRICS`] is the whole list: the page that is scraped and the table in the guide are
//! made from it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use backend_store::service::admin::Bounded;
use backend_store::service::metrics::MetricKind;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::control::{Counters, Order, Orders, PortCounters, SlotsNow};

/// For how long the switch is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// One metric.
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub kind: MetricKind,
    /// What it means.
    pub help: &'static str,
    /// Its label, if it has one. Its values are bounded: ports of the file, kinds of the protocol, reasons of the app.
    pub label: Option<&'static str>,
    read: fn(&Counters) -> Numbers,
}

/// Numbers, by the value of the label.
type Numbers = Vec<(String, u64)>;

/// Every metric of a switch.
pub const METRICS: &[Metric] = &[
    counter(
        "redplane_switch_port_received_packets_total",
        "Frames that came in by the port, messages of the store too.",
        Some("port"),
        |switch| ports(switch, |port| port.received),
    ),
    counter(
        "redplane_switch_port_sent_packets_total",
        "Frames that left by the port, messages to the store too.",
        Some("port"),
        |switch| ports(switch, |port| port.sent),
    ),
    counter(
        "redplane_switch_port_refused_packets_total",
        "Frames that the port's interface did not take: its queue was full, or it is down.",
        Some("port"),
        |switch| ports(switch, |port| port.refused),
    ),
    counter(
        "redplane_switch_dropped_packets_total",
        "Packets dropped, by reason.",
        Some("reason"),
        |switch| switch.drops.iter().map(|(reason, packets)| (reason.clone(), *packets)).collect(),
    ),
    counter(
        "redplane_switch_transmitted_packets_total",
        "Packets that left by a port, without messages to the store.",
        None,
        |switch| packets(switch, "transmitted"),
    ),
    counter(
        "redplane_switch_suspended_packets_total",
        "Input packets sent to the store with a request for a lease.",
        None,
        |switch| packets(switch, "suspended"),
    ),
    counter(
        "redplane_switch_resumed_packets_total",
        "Input packets that came back with the answer to such a request.",
        None,
        |switch| packets(switch, "resumed"),
    ),
    counter(
        "redplane_switch_held_packets_total",
        "Output packets sent to the store, to wait there until what they show is durable.",
        None,
        |switch| packets(switch, "held"),
    ),
    counter(
        "redplane_switch_released_packets_total",
        "Output packets that came back, durable.",
        None,
        |switch| packets(switch, "released"),
    ),
    counter(
        "redplane_switch_recirculated_packets_total",
        "Passes of packets through the pipeline after their first.",
        None,
        |switch| packets(switch, "recirculated"),
    ),
    counter(
        "redplane_switch_retransmitted_writes_total",
        "Writes sent again, for want of an acknowledgement.",
        None,
        |switch| packets(switch, "retransmitted"),
    ),
    counter(
        "redplane_switch_sent_messages_total",
        "Messages to the store, by kind: `lease` asks for a lease, `renew` for more of it.",
        Some("kind"),
        |switch| kinds(&switch.requests),
    ),
    counter(
        "redplane_switch_received_messages_total",
        "Messages from the store that are of this app and its schema, by kind.",
        Some("kind"),
        |switch| kinds(&switch.answers),
    ),
    gauge("redplane_switch_slots", "Slots that the app has.", |switch| slots(switch, |slots| slots.all)),
    gauge("redplane_switch_held_slots", "Slots that hold a lease, one that is just over too.", |switch| {
        slots(switch, |slots| slots.held)
    }),
];

const fn counter(
    name: &'static str,
    help: &'static str,
    label: Option<&'static str>,
    read: fn(&Counters) -> Numbers,
) -> Metric {
    Metric { name, kind: MetricKind::Counter, help, label, read }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&Counters) -> Numbers) -> Metric {
    Metric { name, kind: MetricKind::Gauge, help, label: None, read }
}

fn packets(switch: &Counters, name: &str) -> Numbers {
    switch.packets.get(name).map(|packets| (String::new(), *packets)).into_iter().collect()
}

fn ports(switch: &Counters, read: fn(&PortCounters) -> u64) -> Numbers {
    switch.ports.iter().map(|(number, port)| (number.to_string(), read(port))).collect()
}

fn kinds(messages: &BTreeMap<&'static str, u64>) -> Numbers {
    messages.iter().map(|(kind, messages)| ((*kind).to_owned(), *messages)).collect()
}

fn slots(switch: &Counters, read: fn(&SlotsNow) -> u64) -> Numbers {
    switch.slots.iter().map(|slots| (String::new(), read(slots))).collect()
}

/// The page that Prometheus scrapes. What a data plane does not count is not in it.
#[must_use]
pub fn render(counters: &Counters) -> String {
    let mut page = String::new();
    for Metric { name, kind, help, label, read } in METRICS {
        let numbers = read(counters);
        if numbers.is_empty() {
            continue;
        }
        // Writing to a string does not fail.
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
        for (value, number) in numbers {
            let _ = match label {
                // Quoted as Rust does it, which is Prometheus's way for what reasons are made of.
                Some(label) => writeln!(page, "{name}{{{label}={value:?}}} {number}"),
                None => writeln!(page, "{name} {number}"),
            };
        }
    }
    page
}

/// The table of the guide.
#[must_use]
pub fn table() -> String {
    let mut text = "| name | kind | label | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for Metric { name, kind, help, label, .. } in METRICS {
        let label = label.map(|label| format!("`{label}`")).unwrap_or_default();
        let _ = writeln!(text, "| `{name}` | {} | {label} | {help} |", kind.name());
    }
    text
}

/// Answers at the address for ever; without one it waits for ever. The port is open when this returns.
pub(crate) fn serve(
    address: Option<SocketAddr>,
    orders: &Orders,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let listener = address.map(listen).transpose()?;
    let orders = Arc::clone(orders);
    Ok(async move {
        let Some(listener) = listener else { return std::future::pending().await };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = Router::new()
            .route("/metrics", get(move || page(Arc::clone(&orders))))
            .fallback(async || (StatusCode::NOT_FOUND, "there is /metrics\n"));
        axum::serve(Bounded::new(listener), router).await.context("metrics")
    })
}

fn listen(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.with_context(|| format!("cannot listen at {address}; choose another `metrics` address"))
}

async fn page(orders: Orders) -> Response {
    match timeout(ANSWER_WITHIN, count(orders)).await {
        Ok(Ok(counters)) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (kind, render(&counters)).into_response()
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the switch does not answer\n").into_response(),
    }
}

async fn count(orders: Orders) -> anyhow::Result<Counters> {
    let (sender, receiver) = oneshot::channel();
    orders(Order::Count(sender))?;
    Ok(receiver.await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_convention() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert!(metric.name.starts_with("redplane_switch_"), "{}", metric.name);
            let is_total = metric.name.ends_with("_total");
            assert_eq!(is_total, metric.kind == MetricKind::Counter, "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(METRICS[..index].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
        }
    }

    #[test]
    fn a_page_has_what_is_counted_and_nothing_else() {
        let drops = [("no_route".to_owned(), 2), ("a\"b".to_owned(), 0)].into();
        let bmv2 = Counters { drops, ..Counters::default() };
        let wanted = "# HELP redplane_switch_dropped_packets_total Packets dropped, by reason.\n\
                      # TYPE redplane_switch_dropped_packets_total counter\n\
                      redplane_switch_dropped_packets_total{reason=\"a\\\"b\"} 0\n\
                      redplane_switch_dropped_packets_total{reason=\"no_route\"} 2\n";
        assert_eq!(render(&bmv2), wanted);
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("it has one");
        let said = format!("{:#}", listen(address).expect_err("it is taken"));
        assert!(said.contains(&address.to_string()) && said.contains("another `metrics` address"), "{said}");
    }
}
