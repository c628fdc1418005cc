//! From a component to machine code, beside transfers that run.
//!
//! A reload compiles, and for some languages that is ten seconds on all cores. The compiler therefore has threads of its
//! own, with a low priority, and for as long as it works: at a start, where nobody else is there, that costs nothing.

use rayon::ThreadPoolBuilder;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::Cache;
use super::engine::lower_priority;
use super::source::Source;

/// Priority below guests that run, in the unit of `nice`: whoever waits for a reload has time.
const NICENESS: i32 = 10;

/// Compiles, or takes what was compiled before.
pub(super) fn compile(engine: &Engine, cache: Option<&Cache>, source: &Source) -> wasmtime::Result<Component> {
    if let Some(component) = cache.and_then(|cache| cache.get(engine, source)) {
        return Ok(component);
    }
    let threads = ThreadPoolBuilder::new()
        .thread_name(|number| format!("rsnap-compile-{number}"))
        .start_handler(|_| lower_priority(NICENESS))
        .build()
        .map_err(wasmtime::Error::new)?;
    let component = threads.install(|| Component::from_binary(engine, &source.bytes))?;
    if let Some(cache) = cache {
        cache.put(engine, source, &component);
    }
    Ok(component)
}
