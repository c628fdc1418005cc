//! The operator's listener: probes, metrics, what runs, what is loaded.
//!
//! It answers while the data path is saturated, because it shares nothing with it: a socket, a thread and a runtime
//! of its own. A probe that waits behind transfers kills a healthy gateway. Plain HTTP without any authorisation, so
//! it listens on loopback unless it is told otherwise; it can look, and have the gateway read its own files again, as
//! SIGHUP does. It takes nothing from whoever asks.

mod pages;
mod serve;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::Reread;
use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::transfer::Running;

/// The `[admin]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen. Whoever reaches it sees the names of volumes.
    pub address: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 8081)) }
    }
}

/// Where the pages get what they show. The closures are called on the admin thread and must not block for long.
pub struct Sources {
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
    /// The transfers that run now.
    pub running: Box<dyn Fn() -> Vec<Running> + Send + Sync>,
    /// The loaded plugins, as the page shows them.
    pub plugins: Box<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// Why the gateway cannot take transfers, such as a failing store; `None` when it can.
    pub fault: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// What is wrong and keeps no transfer away.
    pub notice: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Reads everything again that SIGHUP reads again; the answer is empty when the gateway is about to end.
    pub reload: Box<dyn Fn() -> BoxFuture<'static, Vec<Reread>> + Send + Sync>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sources").field("drain", &self.drain).finish_non_exhaustive()
    }
}

/// Why there is no admin listener.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("could not listen on {address} (admin.address): {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("could not start the admin thread: {0}")]
    Thread(#[source] io::Error),
}

/// The listener with its thread, which waits for what to show.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    start: Sender<Sources>,
    stop: DropGuard,
}

/// The admin listener at work; stops when dropped.
#[derive(Debug)]
pub struct Serving {
    _stop: DropGuard,
}

impl Listener {
    /// Takes the port and starts the thread.
    pub fn bind(config: &Config) -> Result<Self, AdminError> {
        let bound = |source| AdminError::Bind { address: config.address, source };
        let socket = TcpListener::bind(config.address).map_err(bound)?;
        let address = socket.local_addr().map_err(bound)?;
        socket.set_nonblocking(true).map_err(bound)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Thread)?;
        let (start, started) = channel::<Sources>();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serve = move || {
            if let Ok(sources) = started.recv() {
                runtime.block_on(stopped.run_until_cancelled(serve::serve(socket, sources)));
            }
        };
        std::thread::Builder::new().name("admin".to_owned()).spawn(serve).map_err(AdminError::Thread)?;
        Ok(Self { address, start, stop: stop.drop_guard() })
    }

    /// The address that the socket has.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves from now on, until the answer is dropped.
    #[must_use]
    pub fn spawn(self, sources: Sources) -> Serving {
        if self.start.send(sources).is_err() {
            tracing::error!("start the admin listener: its thread is gone");
        }
        Serving { _stop: self.stop }
    }
}
