//! Chain policies: what to send for one wanted snapshot.

use std::collections::HashMap;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::policy::exports::rsnap::plugin::policy as generated;
use crate::bindings::policy::rsnap::plugin::chains;
use crate::chains::unpack;
use crate::instance;

pub use generated::{Decision, Plan, Request, SourceSnapshot, TargetSnapshot};

/// A chain policy; its fields are its settings.
pub trait Policy: DeserializeOwned + 'static {
    /// Checks what a type cannot say of the settings. An error stops the gateway's start and is shown to the operator.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// The plan for `request.wanted`.
    fn decide(&self, request: Request) -> Result<Plan, String>;
}

impl Request {
    /// The snapshots that come before the wanted one at the source, oldest first.
    #[must_use]
    pub fn earlier(&self) -> &[SourceSnapshot] {
        let end = self.source.iter().position(|snapshot| snapshot.id == self.wanted.id).unwrap_or_default();
        &self.source[..end]
    }

    /// Whether both are the same content: by their content roots, or, where the source does not know its own, because
    /// the target's is recorded as a copy of that snapshot. The host proves it before anything is committed.
    #[must_use]
    pub fn same_content(&self, source: &SourceSnapshot, target: &TargetSnapshot) -> bool {
        match &source.root {
            Some(root) => *root == target.root,
            None => {
                let volumes = (&self.source_volume, &target.source_volume);
                let other_volume = matches!(volumes, (Some(told), Some(recorded)) if told != recorded);
                !other_volume && target.source_snapshot.as_ref() == Some(&source.id) && source.size == target.size
            }
        }
    }

    /// The target's snapshot with the content of `source`; the newest, if there are several.
    #[must_use]
    pub fn copy_of(&self, source: &SourceSnapshot) -> Option<&TargetSnapshot> {
        self.target.iter().rev().find(|target| self.same_content(source, target))
    }

    /// The snapshots that come before the wanted one at the source and are on the target, newest first.
    pub fn common(&self) -> impl Iterator<Item = (&SourceSnapshot, &TargetSnapshot)> {
        let copies = Copies::of(self);
        self.earlier().iter().rev().filter_map(move |snapshot| Some((snapshot, copies.copy_of(snapshot)?)))
    }

    /// The target's snapshot under the id of the wanted one.
    #[must_use]
    pub fn there(&self) -> Option<&TargetSnapshot> {
        self.target.iter().find(|target| target.id == self.snapshot)
    }
}

/// The target's snapshots by what makes one a copy: chains have thousands of snapshots, and to look at each of one for each
/// of the other takes seconds.
struct Copies<'a> {
    request: &'a Request,
    /// The newest of each content.
    by_root: HashMap<&'a str, &'a TargetSnapshot>,
    /// All of each source snapshot, oldest first.
    by_source: HashMap<&'a str, Vec<&'a TargetSnapshot>>,
}

impl<'a> Copies<'a> {
    fn of(request: &'a Request) -> Self {
        let (mut by_root, mut by_source) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        // Who knows all contents needs no names, and who knows none needs no contents.
        let (knows, lacks) = (|told: &SourceSnapshot| told.root.is_some(), |told: &SourceSnapshot| told.root.is_none());
        if request.earlier().iter().any(knows) {
            by_root.extend(request.target.iter().map(|target| (target.root.as_str(), target)));
        }
        if request.earlier().iter().any(lacks) {
            for target in &request.target {
                if let Some(source) = &target.source_snapshot {
                    by_source.entry(source.as_str()).or_default().push(target);
                }
            }
        }
        Self { request, by_root, by_source }
    }

    /// As [`Request::copy_of`].
    fn copy_of(&self, source: &SourceSnapshot) -> Option<&'a TargetSnapshot> {
        match &source.root {
            Some(root) => self.by_root.get(root.as_str()).copied(),
            None => {
                let named = self.by_source.get(source.id.as_str())?;
                named.iter().rev().copied().find(|target| self.request.same_content(source, target))
            }
        }
    }
}

impl Plan {
    /// The snapshot is on the target already.
    pub fn present(reason: impl Into<String>) -> Self {
        Self { decision: Decision::Present, reason: reason.into() }
    }

    /// Everything is to be sent.
    pub fn full(reason: impl Into<String>) -> Self {
        Self { decision: Decision::Full, reason: reason.into() }
    }

    /// The change since `base` is to be sent, a snapshot by its target id.
    pub fn incremental(base: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { decision: Decision::Incremental(base.into()), reason: reason.into() }
    }

    /// Nothing may be sent.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { decision: Decision::Refused, reason: reason.into() }
    }
}

#[doc(hidden)]
pub struct Exported<P>(PhantomData<P>);

impl<P: Policy> generated::Guest for Exported<P> {
    fn configure() -> Result<(), String> {
        chains::hold();
        instance::configure(P::check)
    }

    fn decide(mut request: Request) -> Result<Plan, String> {
        (request.source, request.target) = unpack(&chains::take());
        instance::call(|policy: &mut P| policy.decide(request))
    }
}

/// Exports a [`Policy`] as this component's world `chain-policy`.
#[macro_export]
macro_rules! export_policy {
    ($plugin:ty) => {
        const _: () = {
            type Exported = $crate::policy::Exported<$plugin>;
    $crate::bindings::policy::export!(Exported with_types_in $crate::bindings::policy);
        };
    };
}
