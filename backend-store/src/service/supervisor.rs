//! What systemd is told, if it started the process: `Type=notify` and `WatchdogSec=` of the units in `contrib/`.
//! Without it all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Says that the node has its place, or that the coordinator listens: what waits for it may start.
pub fn ready() {
    notify(NotifyState::Ready);
}

/// Says that it drains.
pub fn stopping() {
    notify(NotifyState::Stopping);
}

/// Says that it is alive. To be called every [`watchdog_interval`], and only while the workers answer.
pub fn alive() {
    notify(NotifyState::Watchdog);
}

/// How often [`alive`] is due: half of what the supervisor waits. `None` if it does not watch.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the supervisor is not told");
    }
}
