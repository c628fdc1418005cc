//! Chain policies: what to send for one wanted snapshot.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::policy::exports::rsnap::plugin::policy as generated;
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
        self.earlier().iter().rev().filter_map(|snapshot| Some((snapshot, self.copy_of(snapshot)?)))
    }

    /// The target's snapshot under the id of the wanted one.
    #[must_use]
    pub fn there(&self) -> Option<&TargetSnapshot> {
        self.target.iter().find(|target| target.id == self.snapshot)
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
        instance::configure(P::check)
    }

    fn decide(request: Request) -> Result<Plan, String> {
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
