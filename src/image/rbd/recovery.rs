//! What a commit that was cut short comes to.
//!
//! ```text
//! intent → created → identified → NAMED → recorded → protected → cleared
//! ```
//!
//! The snapshot is made under a name that nobody else can have, its id is noted, and then it is given its own name, in one
//! step that fails if that name is taken: that is the commit point. A death before it leaves a snapshot that is removed,
//! a death after it one that is visible at once (the intent tells its id), and the rest is finished by whoever has the
//! image next. To make it under its own name at once was refused: after a death between intent and snapshot, a snapshot
//! of that name that somebody else made would be taken for the committed one.

use super::catalog::Catalog;
use super::record::Stored;

/// What is to be done about an intent that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Recovery {
    /// There is none.
    Nothing,
    /// It was not committed, or what was committed is gone: remove the snapshot with this id, if any, and the intent.
    Forget(Option<u64>),
    /// This snapshot is committed: finish.
    Finish(Box<Stored>),
}

/// Decides from what is there. The caller has the image for himself: nobody is in the middle of a commit.
pub(super) fn decide(catalog: &Catalog) -> Recovery {
    let Some(intent) = &catalog.intent else { return Recovery::Nothing };
    let identified = intent.snapshot.and_then(|id| catalog.snapshot(id));
    if let Some(snapshot) = identified.filter(|snapshot| snapshot.name == intent.layer.record.name.as_str()) {
        return Recovery::Finish(Box::new(intent.stored(snapshot.id)));
    }
    let unnamed = catalog.snapshots.iter().find(|snapshot| snapshot.name == intent.temporary);
    Recovery::Forget(unnamed.map(|snapshot| snapshot.id))
}
