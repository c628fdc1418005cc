//! The arguments of `rsnap plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::help::PLUGIN_RUN_EXAMPLES;
use crate::id::{SiteName, SnapshotId, StoreName, VolumeId};
use crate::plugin::Kind;
use crate::plugin::kit::Language;
use crate::quantity::{Bytes, Seconds};

#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Load a component as a gateway would, and say what is wrong with it.
    Check(PluginCheck),
    /// Show what is in a component: its world and version, what it reaches, what it says of itself. Nothing of it runs.
    Inspect(PluginInspect),
    /// Make the folder of a new plugin that builds at once: code, contract, build script, and what to do next.
    New(PluginNew),
    /// Make a component of what a compiler wrote, and give it a name. The build scripts of `new` do it.
    Pack(PluginPack),
    /// Pull a component from an OCI registry, check its digests and its signature, and tell how it is pinned.
    Pull(PluginPull),
    /// Push a component to an OCI registry, with the signature that lies beside it, and tell how it is pinned.
    Push(PluginPush),
    /// Call a plugin once, with the limits of a gateway: ask a policy or a resolver, send a stream through a writer.
    #[command(after_long_help = PLUGIN_RUN_EXAMPLES)]
    Run(Box<PluginRun>),
    /// Hold a plugin against the contract: each rule of its kind is tried out, in memory.
    Test(PluginTest),
    /// Measure what a plugin costs: its start, its calls, and data through a writer, beside the one that is compiled in.
    Bench(PluginBench),
    /// Ask a policy what a gateway has recorded ([plugins.recording]), and tell which decisions would change, and their
    /// cost in bytes.
    Replay(PluginReplay),
    /// List the plugins that a running gateway has loaded: calls, failures, time and memory.
    List(PluginAdmin),
    /// Have a running gateway load its plugins again, with whatever else SIGHUP reads again. Transfers that run end on the
    /// versions that they began with; what cannot be loaded changes nothing.
    Reload(PluginAdmin),
}

/// How a component is loaded.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Plugin")]
pub struct LoadArgs {
    /// The component: a file, or a name that is looked up as a gateway does it.
    pub component: String,
    /// Settings for it: a TOML file with the plugin's own table.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// What it may reach: a TOML file with a table [[http]] for each host, `keys`, and the [etcd] that they are in; all as
    /// in the configuration of a gateway.
    #[arg(long, value_name = "FILE")]
    pub grants: Option<PathBuf>,
    /// Memory of one instance, instead of the gateway's default.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Bytes>,
    /// Time of its own code in one call, instead of the gateway's default.
    #[arg(long, value_name = "TIME")]
    pub call_timeout: Option<Seconds>,
}

#[derive(Debug, Clone, Args)]
pub struct PluginCheck {
    #[command(flatten)]
    pub load: LoadArgs,
    /// What it must be; told from its world when not given.
    #[arg(long)]
    pub kind: Option<Kind>,
}

#[derive(Debug, Clone, Args)]
pub struct PluginInspect {
    /// The component: a file, or a name that is looked up as a gateway does it.
    pub component: String,
    /// Print its world as WIT instead.
    #[arg(long)]
    pub wit: bool,
}

#[derive(Debug, Clone, Args)]
pub struct PluginNew {
    /// writer, policy or resolver.
    pub kind: Kind,
    /// Its name, which becomes that of the folder: lower-case letters, digits and hyphens.
    pub name: String,
    /// rust, c, python or javascript.
    #[arg(long, value_name = "LANGUAGE")]
    pub lang: Language,
    /// Where to make its folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub into: PathBuf,
}

// `--version` is the component's, not this program's.
#[derive(Debug, Clone, Args)]
#[command(disable_version_flag = true)]
pub struct PluginPack {
    /// The core module. A component only gets name, version and description.
    pub module: PathBuf,
    /// The component to write.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// What the plugin is; only for modules that do not say it, as those from C.
    #[arg(long)]
    pub kind: Option<Kind>,
    /// Folder of the contract that a module from C was compiled for, instead of this program's.
    #[arg(long, value_name = "DIR", requires = "kind")]
    pub wit: Option<PathBuf>,
    #[arg(long)]
    pub name: Option<String>,
    #[arg(long)]
    pub version: Option<String>,
    #[arg(long)]
    pub description: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct PluginRun {
    #[command(flatten)]
    pub load: LoadArgs,
    /// For a policy or resolver: the question as JSON (for a resolver, a site's name will do). Default: standard input.
    pub question: Option<String>,
    /// Print a question that can be asked, and ask nothing.
    #[arg(long, conflicts_with = "question")]
    pub example: bool,
    #[command(flatten)]
    pub writer: WriterArgs,
}

/// What is sent through a writer.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Writers")]
pub struct WriterArgs {
    /// What to send: a file, or `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub stream: Option<PathBuf>,
    /// What the stream is.
    #[arg(long, value_enum, default_value_t = StreamFormat::Raw)]
    pub format: StreamFormat,
    /// Bytes of a raw image that comes from standard input.
    #[arg(long, value_name = "SIZE")]
    pub size: Option<Bytes>,
    #[arg(long, value_name = "ID", default_value = "my-volume")]
    pub volume: VolumeId,
    #[arg(long, value_name = "ID", default_value = "my-snapshot")]
    pub snapshot: SnapshotId,
    /// The snapshot that an rbd-diff starts from, which an earlier run has stored with --into.
    #[arg(long, value_name = "ID", requires = "into")]
    pub base: Option<SnapshotId>,
    /// Store in files below this folder; default: in memory, gone at the end.
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// A store that the writer may use; again for more.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub store: Vec<StoreName>,
}

/// What a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StreamFormat {
    /// The image itself.
    Raw,
    /// A stream of `rbd export-diff`.
    RbdDiff,
}

#[derive(Debug, Clone, Args)]
pub struct PluginPull {
    /// oci://registry/repository, with `:tag` or `@sha256:…`.
    pub reference: String,
    /// The file to write, instead of one here that is named after the repository. The signature goes beside it.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Keep it for the gateway with this data directory too, which then needs no registry to start.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The authority that vouches for the registry (PEM), instead of those of the system.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Logins, as `docker login` writes them.
    #[arg(long, env = "RSNAP_REGISTRY_CREDENTIALS", value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// A key by which it must be signed: the second line of minisign.pub; again for more, of which one is enough.
    #[arg(long, value_name = "KEY")]
    pub public_key: Vec<String>,
    /// For each request.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub timeout: Seconds,
}

#[derive(Debug, Clone, Args)]
pub struct PluginPush {
    /// The component's file. A signature is beside it, with the ending `.minisig`.
    pub component: PathBuf,
    /// oci://registry/repository, with `:tag`.
    pub reference: String,
    /// The authority that vouches for the registry (PEM), instead of those of the system.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Logins, as `docker login` writes them.
    #[arg(long, env = "RSNAP_REGISTRY_CREDENTIALS", value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// For each request.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub timeout: Seconds,
}

#[derive(Debug, Clone, Args)]
pub struct PluginTest {
    #[command(flatten)]
    pub load: LoadArgs,
    /// A site that a resolver must know; again for more.
    #[arg(long, value_name = "NAME")]
    pub site: Vec<SiteName>,
    /// A store that a writer may use; again for more.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub store: Vec<StoreName>,
}

#[derive(Debug, Clone, Args)]
pub struct PluginBench {
    #[command(flatten)]
    pub load: LoadArgs,
    /// Data that is sent through a writer in each round.
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub amount: Bytes,
    /// How often a writer and the compiled-in one take turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..1000))]
    pub rounds: u16,
    /// A store that a writer may use; again for more. Nothing is kept in it.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub store: Vec<StoreName>,
}

#[derive(Debug, Clone, Args)]
pub struct PluginReplay {
    #[command(flatten)]
    pub load: LoadArgs,
    /// The recording; again for more, such as the one before it (`<file>.1`). `-` is standard input.
    #[arg(required = true)]
    pub recording: Vec<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct PluginAdmin {
    /// The gateway's admin listener.
    #[arg(long, env = "RSNAP_ADMIN", value_name = "IP:PORT", default_value = "127.0.0.1:8081")]
    pub admin: String,
}
