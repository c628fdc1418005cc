//! What `wit-bindgen` makes of the contract. One module per world, because a component exports one; the interfaces
//! that they share are generated once.

#![allow(missing_docs, clippy::all, reason = "generated code")]

pub mod writer {
    wit_bindgen::generate!({
        path: "../../wit/rsnap-plugin",
        world: "backend-writer",
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "rsnap_plugin::bindings::writer",
        generate_all,
    });
}

pub mod policy {
    wit_bindgen::generate!({
        path: "../../wit/rsnap-plugin",
        world: "chain-policy",
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "rsnap_plugin::bindings::policy",
        with: {
            "rsnap:plugin/settings@0.1.2": super::writer::rsnap::plugin::settings,
            "rsnap:plugin/log@0.1.2": super::writer::rsnap::plugin::log,
            "rsnap:plugin/clock@0.1.2": super::writer::rsnap::plugin::clock,
        },
    });
}

pub mod resolver {
    wit_bindgen::generate!({
        path: "../../wit/rsnap-plugin",
        world: "site-resolver",
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "rsnap_plugin::bindings::resolver",
        with: {
            "rsnap:plugin/settings@0.1.2": super::writer::rsnap::plugin::settings,
            "rsnap:plugin/log@0.1.2": super::writer::rsnap::plugin::log,
            "rsnap:plugin/clock@0.1.2": super::writer::rsnap::plugin::clock,
            "rsnap:plugin/types@0.1.2": super::writer::rsnap::plugin::types,
            "rsnap:plugin/http@0.1.2": super::writer::rsnap::plugin::http,
        },
    });
}
