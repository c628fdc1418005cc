//! The runtime that all guests share, and the threads that they run on.
//!
//! A clock interrupts running guests (what then happens is in [`super::pace`]). Guests run on threads of their own with
//! a lower priority, because on the threads of the data path each tick of a guest would be a pause of a transfer.
//! Counting instructions (fuel) instead of time was refused: it slows all code to stop some.

use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::pace::TICK;

/// Instances at once, over all plugins.
pub(super) const INSTANCES: u32 = 128;
/// Core instances in one component: components made from Python have 38.
const CORE_INSTANCES: u32 = 64;
/// Tables and memories in one component: one for each library that it is linked from is plenty.
const TABLES: u32 = 16;
const MEMORIES: u32 = 4;
/// Elements in one table.
const TABLE_ELEMENTS: usize = 20_000;
/// Bytes of each table that are cleared in place for the next instance. That is all of most tables, and clearing a page
/// costs less than to give it back and fault it in again. Memories are given back whole: what a guest dirties in them is
/// not at their beginning, and to ask the kernel for the dirty pages (`pagemap_scan`) misses those that are swapped out.
const TABLE_RESIDENT: usize = 4 << 10;
/// Deep enough for interpreters in a guest, small against what a thread of the host has.
const STACK: usize = 1 << 20;
/// Priority below the data path, in the unit of `nice`; not far below, because each transfer waits for its plugins.
const NICENESS: i32 = 5;

/// An engine whose pool holds instances of up to `memory` bytes each.
pub(super) fn engine(memory: usize) -> Result<Engine, wasmtime::Error> {
    let mut config = Config::new();
    config.concurrency_support(false).epoch_interruption(true);
    config.max_wasm_stack(STACK).async_stack_size(2 * STACK);
    config.wasm_backtrace_max_frames(None);
    config.wasm_memory64(false).wasm_threads(false).shared_memory(false).wasm_gc(false);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(memory)));
    Engine::new(&config)
}

fn pool(memory: usize) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES).total_stacks(INSTANCES);
    pool.total_core_instances(INSTANCES * CORE_INSTANCES).max_core_instances_per_component(CORE_INSTANCES);
    pool.total_memories(2 * INSTANCES).max_memories_per_component(MEMORIES).max_memory_size(memory);
    pool.max_memories_per_module(MEMORIES).max_tables_per_module(TABLES);
    pool.total_tables(INSTANCES * TABLES).max_tables_per_component(TABLES).table_elements(TABLE_ELEMENTS);
    pool.table_keep_resident(TABLE_RESIDENT);
    pool
}

/// The threads of the guests, and the number of instances that may be alive.
#[derive(Debug)]
pub(super) struct Threads {
    runtime: Option<Runtime>,
    instances: Arc<Semaphore>,
}

impl Threads {
    /// Starts the threads, and the clock of `engine`.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        ticker(engine.weak())?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(cores.clamp(2, 4)).thread_name("rsnap-guest").enable_time();
        let runtime = builder.on_thread_start(|| lower_priority(NICENESS)).build()?;
        Ok(Self { runtime: Some(runtime), instances: Arc::new(Semaphore::new(INSTANCES as usize)) })
    }

    /// Runs a future that calls guests. Dropping the handle stops it.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<AbortOnDropHandle<T>> {
        self.runtime.as_ref().map(|runtime| AbortOnDropHandle::new(runtime.spawn(work)))
    }

    /// The right to one instance among those of all plugins, when there is room; `None` at the end.
    pub(super) async fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.instances).acquire_owned().await.ok()
    }
}

impl Drop for Threads {
    /// A runtime must not be waited for inside another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Lowers that of the running thread.
pub(super) fn lower_priority(niceness: i32) {
    if let Err(error) = rustix::process::nice(niceness) {
        tracing::debug!(%error, "could not lower the priority of a thread for plugins");
    }
}

/// Ticks until the engine is gone. A thread of its own: on the guests' threads a loop in a guest would stop the clock
/// that is to interrupt it.
fn ticker(engine: EngineWeak) -> std::io::Result<()> {
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    thread::Builder::new().name("rsnap-ticker".to_owned()).spawn(tick).map(drop)
}
