//! One call of guest code: on the guests' threads, within its limits, and with its end put into words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{Engine, Store, Trap};

use super::PluginError;
use super::host::Breach;
use super::shared::Shared;
use super::state::State;
use super::text::clean;
use super::watch::Watch;
use super::world::World;

/// Shortest sleep between two looks at the time of a guest that waits for the host.
const LOOK: Duration = Duration::from_millis(10);

/// A loaded component of one world, ready to be instantiated.
pub(super) struct Guest<W: World> {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Engine,
    pub(super) pre: Arc<W::Pre>,
}

/// A live instance, configured.
pub(super) struct Instance<W> {
    pub(super) store: Store<State>,
    pub(super) world: W,
    _permit: OwnedSemaphorePermit,
}

/// What is done with an instance on the guests' threads.
pub(super) trait Job<W, T>:
    for<'a> FnOnce(&'a mut Instance<W>) -> BoxFuture<'a, wasmtime::Result<T>> + Send + 'static
{
}

impl<W, T, F> Job<W, T> for F where
    F: for<'a> FnOnce(&'a mut Instance<W>) -> BoxFuture<'a, wasmtime::Result<T>> + Send + 'static
{
}

/// The settings are not accepted; the text is the guest's.
#[derive(Debug, thiserror::Error)]
#[error("it rejects its settings: {0}")]
pub(super) struct Rejected(pub(super) String);

impl<W: World> Guest<W> {
    /// A fresh instance, and the answer to a first job on it. About ten microseconds of the host's time.
    pub(super) async fn start<T: Send + 'static>(&self, job: impl Job<W, T>) -> Result<(Instance<W>, T), PluginError> {
        let busy = || PluginError::Unavailable {
            plugin: self.shared.name.clone(),
            detail: "as many plugin instances run as the gateway allows".to_owned(),
        };
        let permit = self.shared.threads.admit(self.shared.call_timeout).await.ok_or_else(busy)?;
        let watch = Arc::new(Watch::new());
        let store = State::store(&self.engine, Arc::clone(&self.shared), Arc::clone(&watch));
        let pre = Arc::clone(&self.pre);
        run(&self.shared, watch, async move {
            let mut instance = Self::instantiate(&pre, store, permit).await?;
            let answer = job(&mut instance).await?;
            Ok((instance, answer))
        })
        .await
    }

    async fn instantiate(
        pre: &W::Pre,
        mut store: Store<State>,
        permit: OwnedSemaphorePermit,
    ) -> wasmtime::Result<Instance<W>> {
        store.data_mut().start(0);
        let world = W::instantiate(pre, &mut store).await?;
        world.configure(&mut store).await?.map_err(|text| Rejected(clean(&text)))?;
        Ok(Instance { store, world, _permit: permit })
    }
}

impl<W: World> Instance<W> {
    /// A further job on the same instance, about so many bytes. After an error the instance is gone.
    pub(super) async fn resume<T: Send + 'static>(
        mut self,
        bytes: usize,
        job: impl Job<W, T>,
    ) -> Result<(Self, T), PluginError> {
        let (shared, watch) = (Arc::clone(&self.store.data().shared), Arc::clone(&self.store.data().watch));
        run(&shared, watch, async move {
            self.store.data_mut().start(bytes);
            let answer = job(&mut self).await?;
            Ok((self, answer))
        })
        .await
    }
}

async fn run<T: Send + 'static>(
    shared: &Shared,
    watch: Arc<Watch>,
    work: impl Future<Output = wasmtime::Result<T>> + Send + 'static,
) -> Result<T, PluginError> {
    let limited = within(Arc::clone(&watch), shared.call_timeout, shared.host_timeout, work);
    let stopping = || shared.failed("the gateway is stopping");
    // The guest and all that it held are dropped when the task has ended.
    let ended = shared.threads.spawn(limited).ok_or_else(stopping)?.await;
    let result = match ended {
        Ok(result) => result.map_err(|error| shared.failed(in_words(&error, &watch))),
        Err(error) => Err(shared.failed(format!("the host failed while calling it: {error}"))),
    };
    let result = match watch.take_image_error() {
        Some(error) => Err(PluginError::Image(error)),
        None => result,
    };
    if result.is_err() {
        watch.settle().await;
    }
    result
}

/// Ends `work` when its own code took longer than `own`, or the host longer than `host` on its behalf.
async fn within<T>(
    watch: Arc<Watch>,
    own: Duration,
    host: Duration,
    work: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let (start, before) = (Instant::now(), watch.host_time());
    let mut work = std::pin::pin!(work);
    let mut sleep = own.min(host);
    loop {
        if let Ok(result) = tokio::time::timeout(sleep, work.as_mut()).await {
            return result;
        }
        let in_host = watch.host_time().saturating_sub(before);
        if in_host >= host {
            let limit = humantime::format_duration(host);
            return Err(Breach(format!("its calls to the host took longer than the limit of {limit}")).into());
        }
        let left = own.saturating_sub(start.elapsed().saturating_sub(in_host));
        if left.is_zero() {
            let limit = humantime::format_duration(own);
            return Err(Breach(format!("it ran longer than its limit of {limit}")).into());
        }
        sleep = left.min(host.saturating_sub(in_host)).max(LOOK);
    }
}

/// Why the call failed, for the operator.
fn in_words(error: &wasmtime::Error, watch: &Watch) -> String {
    if let Some(own) = error.downcast_ref::<Breach>() {
        return own.to_string();
    }
    if let Some(limit) = watch.limit() {
        return limit;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "it ran out of stack (a recursion without end?)".to_owned(),
        Some(Trap::UnreachableCodeReached) => "it gave up (a panic, or `unreachable`)".to_owned(),
        Some(trap) => format!("it trapped: {trap}"),
        None => clean(&error.root_cause().to_string()),
    }
}
