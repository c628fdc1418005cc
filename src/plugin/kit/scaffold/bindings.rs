//! What C code sees of the contract. The other languages' tools make their own from the WIT files.
//!
//! Made when it is needed, so that it cannot differ from the contract of this gateway; generated code in the repository
//! would be hundreds of lines that nobody reads.

use wit_bindgen_c::{Enabled, Opts};
use wit_bindgen_core::Files;

use crate::plugin::Kind;
use crate::plugin::fault::Fault;
use crate::plugin::kit::contract;

/// The generator's object file would bind the module to its world; `rsnap plugin pack` does that.
const LINK: &str = "\n// `rsnap plugin pack` adds the type of the world that other tools link as an object file.\n\
                    void __component_type_object_force_link_plugin(void) {}\n";

/// `plugin.h` and `plugin.c` for a plugin of this kind.
pub(super) fn c(kind: Kind) -> Result<Vec<(String, String)>, Fault> {
    let broken = |error: String| {
        Fault::new(format!("the bindings cannot be made: {error}"), "this is a fault of rsnap: report it")
    };
    let (mut resolve, world) = contract::world(kind).map_err(broken)?;
    let mut files = Files::default();
    let made = options(kind).build().generate(&mut resolve, world, &mut files);
    made.map_err(|error| broken(format!("{error:#}")))?;
    let text = |(name, content): (&str, &[u8])| {
        let text = String::from_utf8_lossy(content).into_owned();
        let link = if name.ends_with(".c") { LINK } else { "\n" };
        (name.to_owned(), text + link)
    };
    Ok(files.iter().map(text).collect())
}

/// Short names: `settings_get` and `exports_policy_decide` instead of those with the package's name and version.
fn options(kind: Kind) -> Opts {
    let short = |interface: &str| (contract::interface(interface), interface.replace('-', "_"));
    let interfaces = kind.imports().iter().copied().chain([kind.table()]);
    Opts {
        no_object_file: true,
        // Without it, each handle that a call lends has to be dropped by hand, and a forgotten one ends the instance.
        autodrop_borrows: Enabled::Yes,
        rename: interfaces.map(short).collect(),
        rename_world: Some("plugin".to_owned()),
        ..Opts::default()
    }
}
