//! The rules for backend writers.

mod content;
mod drive;
mod places;
mod spy;
mod transfers;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;

use self::spy::Spy;
use super::{Rule, Stop, settings};
use crate::id::StoreName;
use crate::image::ImageStore;
use crate::plugin::kit::trial::load_guest;
use crate::plugin::kit::{Options, Problem};
use crate::plugin::writer::ComponentWriter;

/// A writer that is tried out.
pub(super) struct Subject {
    writer: ComponentWriter,
    path: PathBuf,
    options: Options,
    /// The stores that were granted, watched.
    stores: HashMap<StoreName, Arc<Spy>>,
}

pub(super) const RULES: [Rule<Subject>; 11] = [
    Rule { name: settings::NAME, about: settings::ABOUT, check: |subject| subject.settings().boxed() },
    Rule {
        name: "located-where-granted",
        about: "names a store that was granted and an image with a valid name",
        check: |subject| subject.located_where_granted().boxed(),
    },
    Rule {
        name: "located-the-same",
        about: "names the same place for a volume each time, in each instance",
        check: |subject| subject.located_the_same().boxed(),
    },
    Rule {
        name: "located-apart",
        about: "names different places for different volumes",
        check: |subject| subject.located_apart().boxed(),
    },
    Rule {
        name: "begins",
        about: "takes an ordinary transfer, in the place that it names",
        check: |subject| subject.begins().boxed(),
    },
    Rule {
        name: "bytes",
        about: "stores what was sent, however it is cut, to the last byte",
        check: |subject| subject.bytes().boxed(),
    },
    Rule {
        name: "changes",
        about: "stores a change: what it touches, what it clears, and nothing else",
        check: |subject| subject.changes().boxed(),
    },
    Rule {
        name: "snapshots-apart",
        about: "gives different names to the snapshots of a volume",
        check: |subject| subject.snapshots_apart().boxed(),
    },
    Rule {
        name: "attempts",
        about: "takes a transfer anew after it was given up at any step, and again when it is there, in the same place",
        check: |subject| subject.attempts().boxed(),
    },
    Rule {
        name: "restart",
        about: "goes on after a restart with what was stored before it",
        check: |subject| subject.restart().boxed(),
    },
    Rule {
        name: "bounds",
        about: "stays within its limits in a long transfer of small pieces",
        check: |subject| subject.bounds().boxed(),
    },
];

impl Subject {
    pub(super) async fn load(path: &Path, options: &Options) -> Result<Self, Problem> {
        let watched =
            |(name, store): (&StoreName, &Arc<dyn ImageStore>)| (name.clone(), Arc::new(Spy::new(Arc::clone(store))));
        let stores: HashMap<StoreName, Arc<Spy>> = options.stores.iter().map(watched).collect();
        let mut options = options.clone();
        options.stores =
            stores.iter().map(|(name, spy)| (name.clone(), Arc::clone(spy) as Arc<dyn ImageStore>)).collect();
        let (guest, _) = load_guest(path, options.clone()).await?;
        Ok(Self { writer: ComponentWriter(guest), path: path.to_owned(), options, stores })
    }

    async fn settings(&self) -> Result<(), Stop> {
        settings::check(&self.path, &self.options).await
    }

    /// The same on the same stores after a restart of the gateway.
    async fn restarted(&self) -> Result<Self, Stop> {
        let loaded = load_guest(&self.path, self.options.clone()).await;
        let (guest, _) = loaded.map_err(|problem| Stop::Broken(format!("it does not load again: {problem}")))?;
        let (path, options, stores) = (self.path.clone(), self.options.clone(), self.stores.clone());
        Ok(Self { writer: ComponentWriter(guest), path, options, stores })
    }
}
