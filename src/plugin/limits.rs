//! What one instance may take, counted over everything in it.
//!
//! The runtime's own limiter counts each memory for itself; a component may have several.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use super::account::Limit;
use super::watch::Watch;
use crate::quantity::Bytes;

/// Core instances, tables and memories in one component; the pool has the same bounds.
const INSTANCES: usize = 64;
const TABLES: usize = 64;
const MEMORIES: usize = 4;
/// Elements of all tables together.
const TABLE_ELEMENTS: usize = 100_000;

/// Counts memory and tables of one instance.
#[derive(Debug)]
pub(super) struct Limits {
    memory_max: usize,
    memory: usize,
    table_elements: usize,
    watch: Arc<Watch>,
}

impl Limits {
    /// `memory_max` in bytes.
    pub(super) fn new(memory_max: usize, watch: Arc<Watch>) -> Self {
        Self { memory_max, memory: 0, table_elements: 0, watch }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.memory_max {
            let limit = Bytes(self.memory_max as u64);
            self.watch.note_limit(Limit::Memory, format!("it wanted more memory than its limit of {limit}"));
            return Ok(false);
        }
        self.watch.account.grew(total - self.memory, total);
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_add(desired.saturating_sub(current));
        if total > TABLE_ELEMENTS {
            self.watch.note_limit(Limit::Tables, format!("it wanted more than {TABLE_ELEMENTS} table elements"));
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        self.watch.account.freed(self.memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> Arc<Watch> {
        Arc::new(Watch::new(Arc::default()))
    }

    #[test]
    fn memories_count_together() {
        let watch = watch();
        let mut limits = Limits::new(3 << 16, Arc::clone(&watch));
        assert!(limits.memory_growing(0, 2 << 16, None).unwrap());
        assert!(limits.memory_growing(0, 1 << 16, None).unwrap());
        assert_eq!(watch.limit(), None);
        assert!(!limits.memory_growing(1 << 16, 2 << 16, None).unwrap());
        assert_eq!(watch.limit().unwrap(), "it wanted more memory than its limit of 192KiB");
        assert_eq!(watch.account.usage().memory_bytes, 3 << 16);
        drop(limits);
        assert_eq!((watch.account.usage().memory_bytes, watch.account.usage().memory_peak_bytes), (0, 3 << 16));
    }

    #[test]
    fn tables_count_together() {
        let watch = watch();
        let mut limits = Limits::new(0, Arc::clone(&watch));
        assert!(limits.table_growing(0, TABLE_ELEMENTS, None).unwrap());
        assert!(!limits.table_growing(0, 1, None).unwrap());
        assert!(watch.limit().unwrap().contains("table elements"));
    }

    #[tokio::test]
    async fn a_component_of_several_memories_is_counted_as_one() {
        let engine = crate::plugin::engine::engine(1 << 20).unwrap();
        let wat = "(component (core module $m (memory 2) (memory 2)) (core instance (instantiate $m)))";
        let component = wasmtime::component::Component::from_binary(&engine, &wat::parse_str(wat).unwrap()).unwrap();
        for (pages, fits) in [(4, true), (3, false)] {
            let watch = watch();
            let mut store = wasmtime::Store::new(&engine, Limits::new(pages << 16, Arc::clone(&watch)));
            store.limiter(|limits| limits);
            store.set_epoch_deadline(u64::MAX / 2);
            let linker = wasmtime::component::Linker::new(&engine);
            assert_eq!(linker.instantiate_async(&mut store, &component).await.is_ok(), fits, "{pages} pages");
            assert_eq!(watch.limit().is_none(), fits);
        }
    }
}
