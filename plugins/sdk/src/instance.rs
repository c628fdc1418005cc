//! The one plugin of this instance, made from its settings by `configure`.

use std::any::Any;
use std::cell::RefCell;

use serde::de::DeserializeOwned;

use crate::bindings::writer::rsnap::plugin::settings;

thread_local! {
    static PLUGIN: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Reads the plugin from its settings, checks it and keeps it.
pub(crate) fn configure<P: DeserializeOwned + 'static>(
    check: impl FnOnce(&P) -> Result<(), String>,
) -> Result<(), String> {
    let plugin: P = serde_json::from_str(&settings::get()).map_err(|error| format!("settings: {error}"))?;
    check(&plugin)?;
    PLUGIN.set(Some(Box::new(plugin)));
    Ok(())
}

/// Calls the plugin. The host calls `configure` before anything else, so there is one.
pub(crate) fn call<P: 'static, T>(use_it: impl FnOnce(&mut P) -> T) -> T {
    PLUGIN.with_borrow_mut(|plugin| {
        use_it(plugin.as_mut().and_then(|plugin| plugin.downcast_mut()).expect("configure comes first"))
    })
}
