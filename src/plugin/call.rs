//! One call of guest code: on the guests' threads, within its limits, and with its end put into words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{Engine, Store, Trap};

use super::PluginError;
use super::account::{Alive, Limit};
use super::host::Breach;
use super::shared::Shared;
use super::state::{HANDED_OVER, State};
use super::text::clean;
use super::watch::Watch;
use super::world::World;
use crate::quantity::Bytes;

/// Shortest sleep between two looks at the time of a guest that waits for the host.
const LOOK: Duration = Duration::from_millis(10);
/// How the runtime says that a guest hands over too much; it has no type for it.
const TOO_MUCH: &str = "too much data is being copied";

/// A loaded component of one world, ready to be instantiated.
pub(super) struct Guest<W: World> {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Engine,
    pub(super) pre: Arc<W::Pre>,
}

impl<W: World> Clone for Guest<W> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), engine: self.engine.clone(), pre: Arc::clone(&self.pre) }
    }
}

/// A live instance, configured.
pub(super) struct Instance<W> {
    pub(super) store: Store<State>,
    pub(super) world: W,
    _place: Place,
}

/// The right to one instance: among those of the plugin, and among all.
pub(super) struct Place {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _alive: Alive,
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
        let place = self.admit().await?;
        let watch = Arc::new(Watch::new(Arc::clone(&self.shared.account)));
        let store = State::store(&self.engine, Arc::clone(&self.shared), Arc::clone(&watch));
        let pre = Arc::clone(&self.pre);
        run(&self.shared, watch, async move {
            let mut instance = Self::instantiate(&pre, store, place).await?;
            let answer = job(&mut instance).await?;
            instance.store.data_mut().end();
            Ok((instance, answer))
        })
        .await
    }

    async fn admit(&self) -> Result<Place, PluginError> {
        let shared = &self.shared;
        let own = shared.places.clone().acquire_owned();
        let places = async {
            let own = own.await.ok()?;
            let all = shared.threads.admit().await?;
            Some(Place { _own: own, _all: all, _alive: shared.account.instance() })
        };
        let place = tokio::time::timeout(shared.call_timeout, places).await.ok().flatten();
        place.ok_or_else(|| {
            shared.account.hit(Limit::Instances);
            let detail = "as many plugin instances run as the gateway allows".to_owned();
            PluginError::Unavailable { plugin: shared.name.clone(), detail }
        })
    }

    async fn instantiate(pre: &W::Pre, mut store: Store<State>, place: Place) -> wasmtime::Result<Instance<W>> {
        store.data_mut().start(0);
        let world = W::instantiate(pre, &mut store).await?;
        world.configure(&mut store).await?.map_err(|text| Rejected(clean(&text)))?;
        Ok(Instance { store, world, _place: place })
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
            self.store.data_mut().end();
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
    let measured = Arc::clone(&watch);
    let work = async move { measured.meter.measure(limited).await };
    let stopping = || shared.failed("the gateway is stopping");
    // The guest and all that it held are dropped when the task has ended.
    let ended = shared.threads.spawn(work).ok_or_else(stopping)?.await;
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
///
/// Pauses are owed to all calls of the plugin together, so for as long as `own` they are not counted against this one;
/// without an end to that, a call that pauses again and again would keep its caller waiting for ever.
async fn within<T>(
    watch: Arc<Watch>,
    own: Duration,
    host: Duration,
    work: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let (start, host_before, pause_before) = (Instant::now(), watch.host_time(), watch.pause_time());
    let mut work = std::pin::pin!(work);
    let mut sleep = own.min(host);
    loop {
        if let Ok(result) = tokio::time::timeout(sleep, work.as_mut()).await {
            return result;
        }
        let in_host = watch.host_time().saturating_sub(host_before);
        if in_host >= host {
            let limit = humantime::format_duration(host);
            let text = format!("its calls to the host took longer than the limit of {limit}");
            return Err(Breach::of(Limit::HostTime, text).into());
        }
        let paused = watch.pause_time().saturating_sub(pause_before);
        let left = own.saturating_sub(start.elapsed().saturating_sub(in_host + paused.min(own)));
        if left.is_zero() {
            return Err(Breach::of(Limit::Time, too_long(own, paused)).into());
        }
        sleep = left.min(host.saturating_sub(in_host)).max(LOOK);
    }
}

fn too_long(limit: Duration, paused: Duration) -> String {
    let text = format!("it ran longer than its limit of {}", humantime::format_duration(limit));
    if paused.is_zero() {
        return text;
    }
    let paused = humantime::format_duration(Duration::from_millis(u64::try_from(paused.as_millis()).unwrap_or(0)));
    format!("{text} (and paused for {paused}, because its plugin used more than its share of the processors)")
}

/// Why the call failed, for the operator; counts the limit, if it was one.
fn in_words(error: &wasmtime::Error, watch: &Watch) -> String {
    if let Some(breach) = error.downcast_ref::<Breach>() {
        breach.limit.into_iter().for_each(|limit| watch.account.hit(limit));
        return breach.to_string();
    }
    if let Some(limit) = watch.limit() {
        return limit;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => {
            watch.account.hit(Limit::Stack);
            "it ran out of stack (a recursion without end?)".to_owned()
        }
        Some(Trap::UnreachableCodeReached) => "it gave up (a panic, or `unreachable`)".to_owned(),
        Some(trap) => format!("it trapped: {trap}"),
        None => other_words(&error.root_cause().to_string(), watch),
    }
}

fn other_words(cause: &str, watch: &Watch) -> String {
    if cause.starts_with(TOO_MUCH) {
        watch.account.hit(Limit::HandedOver);
        return format!("it handed over more than {} in one call", Bytes(HANDED_OVER as u64));
    }
    clean(cause)
}
