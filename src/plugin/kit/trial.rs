//! One component, loaded as a gateway would load it, to be tried out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Problem;
use crate::buffer::BufferPool;
use crate::id::StoreName;
use crate::image::ImageStore;
use crate::keys::KeySource;
use crate::plugin::addresses::Allowed;
use crate::plugin::bindings::policy::ChainPolicy;
use crate::plugin::bindings::resolver::SiteResolver;
use crate::plugin::bindings::writer::BackendWriter;
use crate::plugin::call::Guest;
use crate::plugin::fault::Fault;
use crate::plugin::load::{Context, Loader};
use crate::plugin::policy::ComponentPolicy;
use crate::plugin::resolver::ComponentResolver;
use crate::plugin::shared::Entry;
use crate::plugin::source::Source;
use crate::plugin::surface::Surface;
use crate::plugin::world::World;
use crate::plugin::writer::ComponentWriter;
use crate::plugin::{HostGrant, Kind, PluginConfig, PluginInfo, Policy, Resolver, Writer};
use crate::quantity::{Bytes, Seconds};

/// Blocks of one image at work at once, and the buffers for two of them.
const DEPTH: usize = 8;
const BUFFERS: usize = 2 * DEPTH;

/// How a component is to be loaded.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The plugin's own table.
    pub settings: toml::Table,
    /// Instead of the default limits.
    pub memory: Option<Bytes>,
    pub call_timeout: Option<Seconds>,
    /// What a writer may use.
    pub stores: HashMap<StoreName, Arc<dyn ImageStore>>,
    /// The hosts that it may ask.
    pub http: Vec<HostGrant>,
    /// What the keys begin with that it may read.
    pub keys: Vec<String>,
    /// Where it reads them.
    pub key_source: Option<Arc<dyn KeySource>>,
    /// Folder for compiled code.
    pub cache: Option<PathBuf>,
}

impl Options {
    /// The configuration that an operator would write, without its stores.
    pub(super) fn config(&self, path: &Path) -> PluginConfig {
        let mut config = PluginConfig::new(path.display().to_string());
        config.settings.clone_from(&self.settings);
        config.http.clone_from(&self.http);
        config.keys.clone_from(&self.keys);
        config.memory = self.memory.unwrap_or(config.memory);
        config.call_timeout = self.call_timeout.unwrap_or(config.call_timeout);
        config
    }
}

/// A plugin of one of the three kinds.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "plugins are trait objects that say nothing of themselves")]
pub enum Plugin {
    Writer(Arc<dyn Writer>),
    Policy(Arc<dyn Policy>),
    Resolver(Arc<dyn Resolver>),
}

impl Plugin {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Writer(_) => Kind::Writer,
            Self::Policy(_) => Kind::Policy,
            Self::Resolver(_) => Kind::Resolver,
        }
    }
}

/// A loaded component.
#[expect(missing_debug_implementations, reason = "as its plugin")]
pub struct Trial {
    pub plugin: Plugin,
    entry: Entry,
}

impl Trial {
    /// Loads the component at `path`, whatever it is.
    pub async fn load(path: &Path, options: Options) -> Result<Self, Problem> {
        let (plugin, entry) = match kind(path)? {
            Kind::Writer => {
                let (guest, entry) = load_guest::<BackendWriter>(path, options).await?;
                (Plugin::Writer(Arc::new(ComponentWriter(guest))), entry)
            }
            Kind::Policy => {
                let (guest, entry) = load_guest::<ChainPolicy>(path, options).await?;
                (Plugin::Policy(Arc::new(ComponentPolicy(guest))), entry)
            }
            Kind::Resolver => {
                let (guest, entry) = load_guest::<SiteResolver>(path, options).await?;
                (Plugin::Resolver(Arc::new(ComponentResolver { guest, allowed: Allowed::new(&[]) })), entry)
            }
        };
        Ok(Self { plugin, entry })
    }

    /// What it did and used so far.
    #[must_use]
    pub fn info(&self) -> PluginInfo {
        self.entry.info()
    }
}

/// What the component at `path` was built to be.
pub(super) fn kind(path: &Path) -> Result<Kind, Fault> {
    let source = Source::read(path)?;
    let (kind, _) = Surface::read(&source.bytes)?.kind()?;
    Ok(kind)
}

/// Loads the component at `path` for its world.
pub(super) async fn load_guest<W: World>(path: &Path, options: Options) -> Result<(Guest<W>, Entry), Problem> {
    let mut config = options.config(path);
    if W::KIND == Kind::Writer {
        config.stores = options.stores.keys().cloned().collect();
    }
    let pool = BufferPool::new(BUFFERS);
    let context = Context {
        stores: options.stores,
        pool,
        depth: DEPTH,
        cache: options.cache,
        path: Vec::new(),
        pulled: None,
        keys: options.key_source,
    };
    let loader = Loader::start(context, config.memory.0)?;
    let (guest, entry) = loader.component::<W>(&config).await?;
    guest.shared.tolerate();
    Ok((guest, entry))
}
