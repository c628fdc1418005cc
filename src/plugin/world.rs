//! The three worlds of `wit/`, as far as loading them is the same.

use futures_util::future::BoxFuture;
use wasmtime::Store;
use wasmtime::component::{HasSelf, InstancePre, Linker};

use super::Kind;
use super::bindings::policy::{ChainPolicy, ChainPolicyPre};
use super::bindings::resolver::{SiteResolver, SiteResolverPre};
use super::bindings::writer::{BackendWriter, BackendWriterPre};
use super::state::State;

/// What `configure` answers.
pub(super) type Configured = wasmtime::Result<Result<(), String>>;

/// A world; its values are instances.
pub(super) trait World: Sized + Send + 'static {
    const KIND: Kind;
    /// A component whose imports and exports are those of the world.
    type Pre: Send + Sync;

    fn link(linker: &mut Linker<State>) -> wasmtime::Result<()>;
    fn fit(component: InstancePre<State>) -> wasmtime::Result<Self::Pre>;
    fn instantiate<'a>(pre: &'a Self::Pre, store: &'a mut Store<State>) -> BoxFuture<'a, wasmtime::Result<Self>>;
    fn configure<'a>(&'a self, store: &'a mut Store<State>) -> BoxFuture<'a, Configured>;
}

macro_rules! world {
    ($world:ident, $pre:ident, $kind:expr, $exports:ident) => {
        impl World for $world {
            const KIND: Kind = $kind;
            type Pre = $pre<State>;

            fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
                Self::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
            }

            fn fit(component: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
                $pre::new(component)
            }

            fn instantiate<'a>(
                pre: &'a Self::Pre,
                store: &'a mut Store<State>,
            ) -> BoxFuture<'a, wasmtime::Result<Self>> {
                Box::pin(pre.instantiate_async(store))
            }

            fn configure<'a>(&'a self, store: &'a mut Store<State>) -> BoxFuture<'a, Configured> {
                Box::pin(self.$exports().call_configure(store))
            }
        }
    };
}

world!(BackendWriter, BackendWriterPre, Kind::Writer, rsnap_plugin_writer);
world!(ChainPolicy, ChainPolicyPre, Kind::Policy, rsnap_plugin_policy);
world!(SiteResolver, SiteResolverPre, Kind::Resolver, rsnap_plugin_resolver);
