//! The operator's port: HTTP on a thread of its own, which asks the workers and never makes them wait.
//!
//! It has no password, so it is bound to loopback unless the operator says otherwise. It changes nothing.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use redplane_protocol::{NodeId, Record, RecordKey};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::clock::Clock;
use super::metrics;
use super::question::{NodeStatus, Question, RECORDS_PAGE_MAX, RecordsPage, ShardStatus};
use super::schema::{AppSet, StoreApp};

mod connections;

pub use connections::Bounded;

/// For how long a worker is waited for. One that takes longer is reported as silent.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Requests that are answered at a time. A scrape, a probe, and some people; whoever comes on top is told to come later.
pub const REQUESTS_MAX: usize = 16;

/// Records in an answer if nothing is said.
const RECORDS_PAGE_DEFAULT: usize = 100;

/// What the port knows.
pub struct AdminState {
    /// Name of the cluster.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
    /// The process's clock.
    pub clock: Clock,
    /// Whether the node has its place in the cluster; the server sets it.
    pub ready: Arc<AtomicBool>,
    /// The workers' queues, by shard; make them with [`QUESTIONS_MAX`](super::question::QUESTIONS_MAX) places.
    pub shards: Vec<(u16, mpsc::Sender<Question>)>,
    /// The apps, to show keys and values by their fields.
    pub apps: Arc<AppSet>,
}

/// Why there is no admin port.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// Nobody can listen there.
    #[error("the admin port cannot listen at {address}: {source}; choose another `admin` address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The thread or its runtime does not start.
    #[error("the thread of the admin port does not start: {0}")]
    Thread(io::Error),
}

/// The port while it is open.
pub struct Admin {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Admin {
    /// Opens the port. It listens when this returns.
    ///
    /// # Errors
    /// If nobody can listen at the address, or there is no thread for it.
    pub fn start(address: SocketAddr, state: AdminState) -> Result<Self, AdminError> {
        let listener = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|source| AdminError::Bind { address, source })?;
        let address = listener.local_addr().map_err(|source| AdminError::Bind { address, source })?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Thread)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(async move {
                let served = async {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    axum::serve(Bounded::new(listener), router(state)).await
                };
                tokio::select! {
                    result = served => if let Err(error) = result {
                        tracing::error!(%error, "the admin port is closed");
                    },
                    // Dropping the sender stops it too.
                    _ = stopped => {}
                }
            });
        };
        let thread =
            thread::Builder::new().name("admin".to_owned()).spawn(serve).map_err(AdminError::Thread)?;
        tracing::info!(%address, "admin port");
        Ok(Self { address, stop, thread })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port; answers under way are cut.
    pub fn stop(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the thread of the admin port had panicked");
        }
    }
}

/// Everything under the port.
fn router(state: AdminState) -> Router {
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    let bound = move |request: Request, next: Next| {
        let places = Arc::clone(&places);
        async move {
            match places.try_acquire() {
                Ok(_place) => next.run(request).await,
                Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, "too many requests at a time; come again"),
            }
        }
    };
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/status", get(status))
        .route("/apps", get(apps))
        .route("/records", get(records))
        .route("/ready", get(ready))
        .route("/live", get(live))
        .fallback(async || {
            error(StatusCode::NOT_FOUND, "there are /metrics /status /apps /records /ready /live")
        })
        .layer(middleware::from_fn(bound))
        .with_state(Arc::new(state))
}

fn error(code: StatusCode, message: impl Into<String>) -> Response {
    (code, Json(json!({ "error": message.into() }))).into_response()
}

impl AdminState {
    /// Asks all workers at once.
    async fn status(&self) -> NodeStatus {
        let mut asked = Vec::new();
        for (shard, worker) in &self.shards {
            let (answer, answered) = oneshot::channel();
            // A full queue is as silent as a slow worker.
            let sent = worker.try_send(Question::Status(answer)).is_ok();
            asked.push((*shard, sent.then_some(answered)));
        }
        let until = tokio::time::Instant::now() + ANSWER_WITHIN;
        let (mut shards, mut silent): (Vec<ShardStatus>, Vec<u16>) = (Vec::new(), Vec::new());
        for (shard, answered) in asked {
            match answered {
                Some(answered) => match tokio::time::timeout_at(until, answered).await {
                    Ok(Ok(status)) => shards.push(status),
                    _ => silent.push(shard),
                },
                None => silent.push(shard),
            }
        }
        NodeStatus {
            cluster: self.cluster.clone(),
            node: self.node.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.clock.now().0 / 1_000_000,
            ready: self.ready.load(Ordering::Acquire),
            shards,
            silent,
        }
    }
}

async fn metrics_page(State(state): State<Arc<AdminState>>) -> Response {
    let page = metrics::render(&state.status().await);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}

async fn status(State(state): State<Arc<AdminState>>) -> Json<NodeStatus> {
    Json(state.status().await)
}

/// For an orchestrator that restarts what hangs.
async fn live(State(state): State<Arc<AdminState>>) -> Response {
    let status = state.status().await;
    if status.silent.is_empty() {
        return Json(json!({ "live": true })).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "live": false, "silent": status.silent }))).into_response()
}

/// For whoever waits before the next node is restarted: this one has its place, and all copies are complete.
async fn ready(State(state): State<Arc<AdminState>>) -> Response {
    let status = state.status().await;
    let incomplete = status
        .shards
        .iter()
        .filter(|shard| !shard.serving || shard.joining.is_some() || shard.members.is_empty());
    let incomplete: Vec<u16> = incomplete.map(|shard| shard.shard).collect();
    let ready = status.ready && status.silent.is_empty() && incomplete.is_empty();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let place = status.ready;
    let answer = json!({ "ready": ready, "place": place, "incomplete": incomplete, "silent": status.silent });
    (code, Json(answer)).into_response()
}

async fn apps(State(state): State<Arc<AdminState>>) -> Json<Value> {
    let app = |app: &StoreApp| {
        let prints: Vec<String> =
            app.accepted().map(|schema| format!("{:#06x}", schema.fingerprint)).collect();
        json!({ "app": app.schema.app, "name": app.name, "fingerprints": prints })
    };
    Json(json!({ "apps": state.apps.apps().iter().map(app).collect::<Vec<_>>() }))
}

#[derive(Deserialize)]
struct RecordsQuery {
    shard: u16,
    /// Name or number.
    app: String,
    /// The `next` of the page before.
    from: Option<usize>,
    limit: Option<usize>,
}

async fn records(
    State(state): State<Arc<AdminState>>,
    query: Result<Query<RecordsQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => return error(StatusCode::BAD_REQUEST, rejection.body_text()),
    };
    let Some(app) = state.apps.find(&query.app) else {
        return error(StatusCode::NOT_FOUND, format!("there is no app {}; /apps lists them", query.app));
    };
    let Some((_, worker)) = state.shards.iter().find(|(shard, _)| *shard == query.shard) else {
        return error(StatusCode::NOT_FOUND, format!("there is no shard {}", query.shard));
    };
    let limit = query.limit.unwrap_or(RECORDS_PAGE_DEFAULT).clamp(1, RECORDS_PAGE_MAX);
    let (answer, answered) = oneshot::channel();
    let question = Question::Records { app: app.schema.app, from: query.from.unwrap_or(0), limit, answer };
    let silent = || error(StatusCode::SERVICE_UNAVAILABLE, format!("shard {} is silent", query.shard));
    if worker.try_send(question).is_err() {
        return silent();
    }
    match timeout(ANSWER_WITHIN, answered).await {
        Ok(Ok(page)) => Json(show_page(app, query.shard, &page)).into_response(),
        _ => silent(),
    }
}

fn show_page(app: &StoreApp, shard: u16, page: &RecordsPage) -> Value {
    let records: Vec<Value> =
        page.records.iter().map(|(key, record)| show(app, shard, key, record)).collect();
    json!({ "records": records, "next": page.next })
}

/// A record by its fields.
fn show(app: &StoreApp, shard: u16, key: &RecordKey, record: &Record) -> Value {
    let companions = record.companions.iter().map(|key| app.key.decode(key.key()));
    json!({
        "app": app.name,
        "shard": shard,
        "key": app.key.decode(key.key()),
        "value": app.value.decode(&record.value),
        "generation": record.version.generation.0,
        "sequence": record.version.sequence.0,
        "owner": record.owner.map(|owner| owner.identity.to_string()),
        "owner_address": record.owner.map(|owner| owner.address),
        "idle_ms": u64::try_from(record.idle.as_millis()).unwrap_or(u64::MAX),
        "companions": companions.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
