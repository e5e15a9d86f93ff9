//! What sockets of the store's kind need to exist: a runtime, which nobody runs here, since they are polled by hand.

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// A runtime that may be dropped anywhere, also within another one.
#[derive(Debug)]
pub(crate) struct Io(Option<Runtime>);

impl Io {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self(Some(Builder::new_current_thread().enable_all().build()?)))
    }

    pub(crate) fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }

    /// To run it after all, on a thread of its own.
    pub(crate) fn take(mut self) -> Option<Runtime> {
        self.0.take()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
