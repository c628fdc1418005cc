//! Connections between two requests.
//!
//! To a site far away a request costs one round trip and the connection for it two, and a transfer asks several things, one
//! after the other. So a connection whose answer was read to its end is kept for the next request to the same gateway, but
//! no longer than [`FRESH`]: a gateway that stops closes what is idle, and what is on its way to it then is lost. The pool of
//! hyper-util was refused: it owns its connections, and ours are watched for silence and held to a rate.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::body::UploadBody;

/// How long a connection is kept.
const FRESH: Duration = Duration::from_secs(1);
/// How long one that was kept may take to say that it is there.
const READY: Duration = Duration::from_millis(50);

/// One connection, which is closed when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) authority: String,
    pub(super) sender: SendRequest<UploadBody>,
    /// What reads and writes. It ends with the connection, and knows why.
    pub(super) driving: JoinHandle<hyper::Result<()>>,
    /// Bytes moved in both directions, for whoever waits for some.
    pub(super) moved: Arc<AtomicU64>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

/// Connections that wait for a request. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Mutex<Vec<(Instant, Connection)>>>);

impl Connections {
    fn kept(&self) -> MutexGuard<'_, Vec<(Instant, Connection)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that leads there and still is open.
    pub(super) async fn take(&self, authority: &str) -> Option<Connection> {
        loop {
            let mut connection = self.pop(authority)?;
            if let Ok(Ok(())) = timeout(READY, connection.sender.ready()).await {
                return Some(connection);
            }
        }
    }

    fn pop(&self, authority: &str) -> Option<Connection> {
        let mut kept = self.kept();
        kept.retain(|(since, _)| since.elapsed() < FRESH);
        let found = kept.iter().rposition(|(_, connection)| connection.authority == authority)?;
        Some(kept.swap_remove(found).1)
    }

    /// Keeps one whose answer was read to its end. Without a runtime there is no next request.
    pub(super) fn keep(&self, connection: Connection) {
        let Ok(runtime) = Handle::try_current() else { return };
        self.kept().push((Instant::now(), connection));
        let connections = Arc::downgrade(&self.0);
        runtime.spawn(async move {
            tokio::time::sleep(FRESH).await;
            if let Some(connections) = connections.upgrade() {
                Self(connections).kept().retain(|(since, _)| since.elapsed() < FRESH);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::client::fake::Fake;

    fn connections(fake: &Fake) -> usize {
        fake.state.lock().unwrap().connections
    }

    #[tokio::test]
    async fn requests_that_follow_each_other_share_a_connection() {
        let fake = Fake::start().await;
        let gateway = fake.gateway();
        for _ in 0..3 {
            gateway.servers().await.unwrap();
        }
        assert_eq!(connections(&fake), 1);
        fake.gateway().servers().await.unwrap();
        assert_eq!(connections(&fake), 2, "another permission");
    }

    #[tokio::test]
    async fn an_answer_that_was_not_read_ends_its_connection() {
        let fake = Fake::start().await;
        let gateway = fake.gateway();
        drop(gateway.get("/v1/servers", HeaderMap::new()).await.unwrap());
        gateway.servers().await.unwrap();
        assert_eq!(connections(&fake), 2);
    }

    #[tokio::test]
    async fn a_gateway_that_closes_is_connected_to_again() {
        let fake = Fake::start().await;
        fake.state.lock().unwrap().closes = true;
        let gateway = fake.gateway();
        for _ in 0..3 {
            gateway.servers().await.unwrap();
        }
        assert_eq!(connections(&fake), 3);
    }

    #[tokio::test]
    async fn a_connection_is_not_kept_for_long() {
        let fake = Fake::start().await;
        let gateway = fake.gateway();
        gateway.servers().await.unwrap();
        let start = Instant::now();
        while !gateway.connections().kept().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60));
            tokio::time::sleep(FRESH / 10).await;
        }
        gateway.servers().await.unwrap();
        assert_eq!(connections(&fake), 2);
    }
}
