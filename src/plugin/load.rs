//! From the configuration to plugins that can be called.
//!
//! The order of the checks is from cheap to dear and from certain to trusting: the file's digest is held against its
//! pin before a byte of it is looked at, names are compared before anything is compiled, and no code of the guest runs
//! before all that is checked. Everything happens at start-up: a plugin that is wrong stops the gateway, not a transfer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::account::{Account, Activity};
use super::addresses::Allowed;
use super::bindings::policy::ChainPolicy;
use super::bindings::resolver::SiteResolver;
use super::bindings::writer::BackendWriter;
use super::builtin::{self, ImageWriter};
use super::cache::Cache;
use super::call::{Guest, Instance};
use super::compile::compile;
use super::config::{Config, PluginConfig};
use super::engine::{Threads, engine};
use super::fault::{Fault, LoadError};
use super::fitness::Fitness;
use super::flood::Flood;
use super::http::Hosts;
use super::keys::Keys;
use super::measures;
use super::policy::ComponentPolicy;
use super::purse::Purse;
use super::recording::{Recorded, Recorder};
use super::registry::Reference;
use super::resolver::ComponentResolver;
use super::shared::{Entry, Identity, PluginInfo, Settings, Shared};
use super::slot::Slot;
use super::source::Source;
use super::supply::Supply;
use super::surface::Surface;
use super::world::World;
use super::writer::ComponentWriter;
use super::{Kind, PluginError, Policy, Resolver, Writer};
use crate::buffer::BufferPool;
use crate::id::{StoreName, VolumeId};
use crate::image::ImageStore;
use crate::keys::KeySource;
use crate::metrics::Metrics;

/// What plugins may get from the gateway.
#[derive(Debug, Clone)]
pub struct Context {
    /// All configured stores; each plugin sees those that it was granted.
    pub stores: HashMap<StoreName, Arc<dyn ImageStore>>,
    pub pool: BufferPool,
    /// Blocks of one image at work at once.
    pub depth: usize,
    /// Folder for compiled code, made if it is not there; `None`: compile at each start.
    pub cache: Option<PathBuf>,
    /// Folders in which components are looked up, see [`Config::search_path`].
    pub path: Vec<PathBuf>,
    /// Folder for components from registries, made if need be; `None`: none are loaded.
    pub pulled: Option<PathBuf>,
    /// Where granted keys are read; `None`: there is no etcd.
    pub keys: Option<Arc<dyn KeySource>>,
}

/// The loaded plugins of one gateway.
pub struct Plugins {
    pub writer: Slot<dyn Writer>,
    pub policy: Slot<dyn Policy>,
    pub resolver: Slot<dyn Resolver>,
    pub(super) context: Context,
    /// One reload at a time.
    pub(super) state: tokio::sync::Mutex<State>,
    pub(super) entries: Arc<RwLock<Entries>>,
}

/// What a reload compares with.
pub(super) struct State {
    pub(super) config: Config,
    pub(super) loader: Loader,
    pub(super) recorder: Option<Recorder>,
}

/// The entries of the three plugins.
#[derive(Clone)]
pub(super) struct Entries {
    pub(super) writer: Entry,
    pub(super) policy: Entry,
    pub(super) resolver: Entry,
}

impl Entries {
    pub(super) fn all(&self) -> [&Entry; 3] {
        [&self.writer, &self.policy, &self.resolver]
    }
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.info()).finish()
    }
}

impl Plugins {
    /// Loads what `config` names. To be called on the runtime of the data path: the work on the storage that plugins
    /// ask for is done there.
    pub async fn load(config: &Config, context: Context) -> Result<Self, LoadError> {
        let loader = Loader::start(context.clone(), config.memory())?;
        let recorder = recorder(config)?;
        let (writer, first) = loader.writer(config, Arc::default()).await?;
        let (policy, second) = loader.policy(config, recorder.as_ref(), Arc::default()).await?;
        let (resolver, third) = loader.resolver(config, Arc::default()).await?;
        let entries = Entries { writer: first, policy: second, resolver: third };
        Ok(Self {
            writer: Slot::new(writer),
            policy: Slot::new(policy),
            resolver: Slot::new(resolver),
            context,
            state: tokio::sync::Mutex::new(State { config: config.clone(), loader, recorder }),
            entries: Arc::new(RwLock::new(entries)),
        })
    }

    /// Loads each plugin as [`Plugins::load`] does and gives it up again; says of each what is wrong with it.
    pub async fn try_each(config: &Config, context: Context) -> Vec<(Kind, Option<LoadError>)> {
        let loader = match Loader::start(context, config.memory()) {
            Ok(loader) => loader,
            Err(fault) => return vec![(fault.kind, Some(fault))],
        };
        vec![
            (Kind::Writer, loader.writer(config, Arc::default()).await.err()),
            (Kind::Policy, loader.policy(config, None, Arc::default()).await.err()),
            (Kind::Resolver, loader.resolver(config, Arc::default()).await.err()),
        ]
    }

    /// Adds what the plugins do and use to `metrics`.
    pub fn measure(&self, metrics: &Metrics) {
        let entries = Arc::clone(&self.entries);
        measures::register(metrics, move || info(&entries));
    }

    /// The loaded plugins and what they did.
    #[must_use]
    pub fn info(&self) -> Vec<PluginInfo> {
        info(&self.entries)
    }

    /// What all plugins did so far: as long as it stays the same, nothing was asked of them and none was loaded.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.all().iter().fold(Activity::default(), |sum, entry| sum.and(&entry.account))
    }

    /// Why the gateway should leave new work to others: the writer or the policy is retired.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.retired(|kind| kind != Kind::Resolver)
    }

    /// What is wrong and keeps no transfer away: the resolver is retired.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        self.retired(|kind| kind == Kind::Resolver)
    }

    fn retired(&self, which: impl Fn(Kind) -> bool) -> Option<String> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let words = |entry: &&Entry| {
            let (identity, retired) = (&entry.identity, entry.shared.as_ref()?.retired()?);
            which(identity.kind).then(|| format!("the {} plugin {}: {retired}", identity.kind, identity.name))
        };
        entries.all().iter().find_map(words)
    }
}

fn info(entries: &RwLock<Entries>) -> Vec<PluginInfo> {
    let entries = entries.read().unwrap_or_else(PoisonError::into_inner);
    entries.all().map(Entry::info).into()
}

/// Starts the recording of decisions, if it is asked for.
pub(super) fn recorder(config: &Config) -> Result<Option<Recorder>, LoadError> {
    let Some(recording) = &config.recording else { return Ok(None) };
    let fault = |error: std::io::Error| {
        let text = format!("its decisions cannot be recorded in {}: {error}", recording.file.display());
        Fault::new(text, "check plugins.recording.file").of(&name(&config.policy.component), Kind::Policy)
    };
    Recorder::start(recording).map(Some).map_err(fault)
}

/// Loads components into one engine.
pub(super) struct Loader {
    context: Context,
    /// Of the largest instance, in bytes.
    memory: u64,
    engine: Engine,
    threads: Arc<Threads>,
    cache: Option<Arc<Cache>>,
    host: Handle,
}

impl Loader {
    /// Starts the runtime for instances of up to `memory` bytes.
    pub(super) fn start(context: Context, memory: u64) -> Result<Self, LoadError> {
        let fault = |text: String| {
            let remedy = "check the limits on address space and threads of this process (ulimit -v, -u)";
            Fault::new(format!("the WebAssembly runtime does not start: {text}"), remedy).of("(all)", Kind::Writer)
        };
        let engine =
            engine(usize::try_from(memory).unwrap_or(usize::MAX)).map_err(|error| fault(format!("{error:#}")))?;
        let threads = Threads::start(&engine).map_err(|error| fault(error.to_string()))?;
        let cache = context.cache.as_deref().and_then(open_cache).map(Arc::new);
        Ok(Self { context, memory, engine, threads: Arc::new(threads), cache, host: Handle::current() })
    }

    /// Whether instances of so many bytes fit.
    pub(super) fn fits(&self, memory: u64) -> bool {
        memory <= self.memory
    }

    pub(super) async fn writer(
        &self,
        config: &Config,
        account: Arc<Account>,
    ) -> Result<(Arc<dyn Writer>, Entry), LoadError> {
        if config.writer.component == builtin::NAME {
            return self.builtin(&config.writer).map_err(|fault| fault.of(builtin::NAME, Kind::Writer));
        }
        let (guest, entry) = self.component_on::<BackendWriter>(&self.supply(config), &config.writer, account).await?;
        let writer = ComponentWriter(guest);
        try_out(&writer).await.map_err(|fault| fault.of(&entry.identity.name, Kind::Writer))?;
        Ok((Arc::new(writer), entry))
    }

    pub(super) async fn policy(
        &self,
        config: &Config,
        recorder: Option<&Recorder>,
        account: Arc<Account>,
    ) -> Result<(Arc<dyn Policy>, Entry), LoadError> {
        let (guest, entry) = self.component_on::<ChainPolicy>(&self.supply(config), &config.policy, account).await?;
        let policy: Arc<dyn Policy> = Arc::new(ComponentPolicy(guest));
        let Some(recorder) = recorder.cloned() else { return Ok((policy, entry)) };
        let sha256 = entry.identity.sha256.clone();
        Ok((Arc::new(Recorded { policy, sha256, recorder }), entry))
    }

    pub(super) async fn resolver(
        &self,
        config: &Config,
        account: Arc<Account>,
    ) -> Result<(Arc<dyn Resolver>, Entry), LoadError> {
        let (guest, entry) = self.component_on::<SiteResolver>(&self.supply(config), &config.resolver, account).await?;
        Ok((Arc::new(ComponentResolver { guest, allowed: Allowed::new(&config.allow_hosts) }), entry))
    }

    fn builtin(&self, config: &PluginConfig) -> Result<(Arc<dyn Writer>, Entry), Fault> {
        let stores = self.granted(config)?;
        let (pool, depth) = (self.context.pool.clone(), self.context.depth);
        let rejected = |text: String| rejected(Kind::Writer, &text);
        let writer = ImageWriter::new(config.settings.clone(), &stores, pool, depth).map_err(rejected)?;
        let identity = identity(builtin::NAME, Kind::Writer, "compiled in".to_owned());
        let entry = Entry { identity, account: Arc::clone(&writer.account), shared: None };
        Ok((Arc::new(writer), entry))
    }

    /// Loads a component and lets it check its settings.
    pub(super) async fn component<W: World>(&self, config: &PluginConfig) -> Result<(Guest<W>, Entry), LoadError> {
        self.component_on(&Supply::local(&self.context.path), config, Arc::default()).await
    }

    /// The way to the components of `config`.
    pub(super) fn supply(&self, config: &Config) -> Supply {
        Supply::of(config, &self.context.path, self.context.pulled.as_deref())
    }

    /// From `supply`, with the account of the version before it.
    async fn component_on<W: World>(
        &self,
        supply: &Supply,
        config: &PluginConfig,
        account: Arc<Account>,
    ) -> Result<(Guest<W>, Entry), LoadError> {
        let name = name(&config.component);
        self.load(supply, &name, config, account).await.map_err(|fault| fault.of(&name, W::KIND))
    }

    async fn load<W: World>(
        &self,
        supply: &Supply,
        name: &str,
        config: &PluginConfig,
        account: Arc<Account>,
    ) -> Result<(Guest<W>, Entry), Fault> {
        let source = supply.fetch(config).await?;
        let surface = Surface::read(&source.bytes)?;
        let version = surface.fits(W::KIND)?;
        if surface.wants_stores() && config.stores.is_empty() {
            let remedy = format!("grant some: plugins.{}.stores = [\"main\"]", W::KIND.table());
            return Err(Fault::new("it opens images, and no store is granted to it", remedy));
        }
        let mut identity = identity(name, W::KIND, source.path.display().to_string());
        identity.sha256 = Some(source.sha256.clone());
        identity.interface = Some(version.to_string());
        let guest = self.ready(name, config, source, Arc::clone(&account)).await?;
        let entry = Entry { identity, account, shared: Some(Arc::clone(&guest.shared)) };
        Ok((guest, entry))
    }

    /// Compiles a component whose names fit, checks its types, and lets it check its settings.
    pub(super) async fn ready<W: World>(
        &self,
        name: &str,
        config: &PluginConfig,
        source: Source,
        account: Arc<Account>,
    ) -> Result<Guest<W>, Fault> {
        let shared = Arc::new(self.shared(name, W::KIND, config, account)?);
        let pre = self.fit::<W>(&self.compile(source).await?)?;
        let guest = Guest { shared, engine: self.engine.clone(), pre: Arc::new(pre) };
        configure(&guest).await?;
        Ok(guest)
    }

    fn shared(&self, name: &str, kind: Kind, config: &PluginConfig, account: Arc<Account>) -> Result<Shared, Fault> {
        let settings = Settings::new(&config.settings);
        Ok(Shared {
            name: name.to_owned(),
            settings: settings.map_err(|error| rejected(kind, &error.to_string()))?,
            memory: usize::try_from(config.memory.0).unwrap_or(usize::MAX),
            call_timeout: config.call_timeout.0,
            host_timeout: config.host_timeout.0,
            stores: self.granted(config)?,
            hosts: Hosts::new(&config.http, kind.table())?,
            keys: Keys::new(&config.keys, self.context.keys.clone()),
            pool: self.context.pool.clone(),
            depth: self.context.depth,
            host: self.host.clone(),
            threads: Arc::clone(&self.threads),
            instances: config.instances,
            places: Arc::new(Semaphore::new(config.instances)),
            purse: Purse::new(),
            flood: Flood::new(),
            account,
            fitness: Fitness::default(),
            transfers: Fitness::default(),
        })
    }

    fn granted(&self, config: &PluginConfig) -> Result<HashMap<StoreName, Arc<dyn ImageStore>>, Fault> {
        let find = |name: &StoreName| match self.context.stores.get(name) {
            Some(store) => Ok((name.clone(), Arc::clone(store))),
            None => Err(Fault::new(
                format!("the store {name} is granted to it, and there is no such store"),
                format!("add a table [stores.{name}], or correct plugins.writer.stores"),
            )),
        };
        config.stores.iter().map(find).collect()
    }

    /// Compiles, or takes what was compiled before. Compiling takes seconds for some languages.
    async fn compile(&self, source: Source) -> Result<Component, Fault> {
        let (engine, cache) = (self.engine.clone(), self.cache.clone());
        let compile = move || compile(&engine, cache.as_deref(), &source);
        let broken = |error: String| Fault::new(format!("it does not compile: {error}"), "build or fetch it again");
        let compiled = tokio::task::spawn_blocking(compile).await.map_err(|error| broken(error.to_string()))?;
        compiled.map_err(|error| broken(format!("{error:#}")))
    }

    fn fit<W: World>(&self, component: &Component) -> Result<W::Pre, Fault> {
        let mut linker = Linker::new(&self.engine);
        let pre = W::link(&mut linker).and_then(|()| linker.instantiate_pre(component)).and_then(W::fit);
        pre.map_err(|error| {
            let world = W::KIND.world();
            Fault::new(
                format!("it does not fit the world {world}: {error:#}"),
                format!("build it for the world {world} of this gateway's wit/ folder"),
            )
        })
    }
}

fn open_cache(folder: &Path) -> Option<Cache> {
    let opened = Cache::open(folder);
    let warn = |error: &std::io::Error| {
        tracing::warn!(folder = %folder.display(), %error, "plugin cache: not usable, compiling at each start");
    };
    opened.inspect_err(warn).ok()
}

/// Makes one instance, which checks the settings.
async fn configure<W: World>(guest: &Guest<W>) -> Result<(), Fault> {
    let shortages = || guest.shared.account.usage().limit_hits.get("memory").copied().unwrap_or_default();
    let before = shortages();
    match guest.start(nothing).await {
        Ok(_) => Ok(()),
        Err(error) if shortages() > before => {
            let table = W::KIND.table();
            let remedy = format!("raise the key memory under [plugins.{table}] (with `rsnap plugin`: --memory)");
            Err(Fault::new(detail(error), remedy))
        }
        Err(error) => Err(rejected(W::KIND, &detail(error))),
    }
}

/// What the plugin did, without its name.
fn detail(error: PluginError) -> String {
    match error {
        PluginError::Failed { detail, .. } => detail,
        other => other.to_string(),
    }
}

pub(super) fn nothing<W>(_: &mut Instance<W>) -> BoxFuture<'_, wasmtime::Result<()>> {
    Box::pin(std::future::ready(Ok(())))
}

/// A writer whose places are not in the stores granted to it would fail each transfer.
async fn try_out(writer: &ComponentWriter) -> Result<(), Fault> {
    let Ok(volume) = "check".parse::<VolumeId>() else { return Ok(()) };
    match writer.ask(volume.to_string()).await {
        Ok(_) => Ok(()),
        Err(PluginError::Failed { detail, .. }) => {
            Err(Fault::new(detail, "change plugins.writer.stores or the table [plugins.writer.settings]"))
        }
        Err(error) => Err(rejected(Kind::Writer, &error.to_string())),
    }
}

fn rejected(kind: Kind, text: &str) -> Fault {
    Fault::new(text, format!("change the table [plugins.{}.settings]", kind.table()))
}

/// A component's name without folder and ending, or without registry and digest.
pub(super) fn name(component: &str) -> String {
    if let Ok(reference) = component.parse::<Reference>() {
        return reference.stem().to_owned();
    }
    let path = Path::new(component);
    path.file_stem().map_or_else(|| component.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn identity(name: &str, kind: Kind, source: String) -> Identity {
    let loaded = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    Identity { name: name.to_owned(), kind, source, sha256: None, interface: None, loaded }
}
