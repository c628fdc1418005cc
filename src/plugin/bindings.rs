//! What the runtime's generator makes of `wit/`: one module per world, the shared interfaces once.

#![allow(missing_debug_implementations, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]

pub(super) mod writer {
    wasmtime::component::bindgen!({
        path: "wit/rsnap-plugin",
        world: "backend-writer",
        imports: {
            "rsnap:plugin/image-store.open": async | trappable,
            "rsnap:plugin/http.send": async | trappable,
            "rsnap:plugin/http-chunks.send": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "rsnap:plugin/chunks.chunk": crate::plugin::state::Chunk,
            "rsnap:plugin/image-store.image": crate::plugin::state::ImageHandle,
        },
    });
}

pub(super) mod policy {
    wasmtime::component::bindgen!({
        path: "wit/rsnap-plugin",
        world: "chain-policy",
        imports: { default: trappable },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: false },
        with: {
            "rsnap:plugin/settings": super::writer::rsnap::plugin::settings,
            "rsnap:plugin/log": super::writer::rsnap::plugin::log,
            "rsnap:plugin/clock": super::writer::rsnap::plugin::clock,
        },
    });
}

pub(super) mod resolver {
    wasmtime::component::bindgen!({
        path: "wit/rsnap-plugin",
        world: "site-resolver",
        imports: {
            "rsnap:plugin/key-value.get": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "rsnap:plugin/settings": super::writer::rsnap::plugin::settings,
            "rsnap:plugin/log": super::writer::rsnap::plugin::log,
            "rsnap:plugin/clock": super::writer::rsnap::plugin::clock,
            "rsnap:plugin/types": super::writer::rsnap::plugin::types,
            "rsnap:plugin/http": super::writer::rsnap::plugin::http,
        },
    });
}
