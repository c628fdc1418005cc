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
