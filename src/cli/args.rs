//! The arguments, and the help that explains them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::content::Root;
use crate::id::{SiteName, SnapshotId, VolumeId};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed, after all retries that make sense
  2    the command line cannot be meant like this
  3    refused by the gateway's policy, its plan, or what it holds already
  4    not authorised, or the gateway's certificate is not trusted
  5    bytes are not what they must be: a damaged stream, a changed source, a wrong content root
  130  interrupted

Environment:
  RSNAP_GATEWAY     instead of --gateway
  RSNAP_TOKEN       instead of --token
  RSNAP_TOKEN_FILE  instead of --token-file
  RSNAP_CA          instead of --ca";

const SEND_EXAMPLES: &str = "\
Examples:
  Send a snapshot in full; zeroes are not sent:
    rsnap send snap1.raw --volume V --snapshot S1
  Send what changed since an earlier one. The gateway decides whether it can use it:
    rsnap send snap2.raw --volume V --snapshot S2 --base SOURCE-S1=snap1.raw
  From Ceph, as a stream:
    rbd export-diff volumes/volume-X@snap1 - | rsnap send - --format rbd-diff --volume V --snapshot S1
  From Ceph, all snapshots of a volume at once, oldest first:
    rbd export --export-format 2 volumes/volume-X - | rsnap send - --format rbd-export --volume V --snapshot S1,S2

The source must not change while it is read: use a snapshot, and keep it until the command ends. For a file this is
checked by its size and times before the end is sent; for a block device it cannot be checked.

What may heal (a broken connection, a busy or restarting gateway) is tried again. What comes through a pipe can be read
only once, so there only what happens before the first byte is tried again.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  rsnap restore --volume V --snapshot S1 disk.raw
  rsnap restore --volume V --snapshot S1 /dev/vdb
  rsnap restore --volume V --snapshot S2 --format rbd-diff --base S1 - | rbd import-diff - volumes/volume-Y

A file appears under its name only when it is whole, durable, and has the content root that the gateway recorded. What
goes to a block device or to a pipe cannot be held back: there a difference is an error at the end (exit code 5).";

/// Copies volume snapshots from one site to another, at block level.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_long_help = EXIT_CODES)]
pub struct Cli {
    /// Write answers and progress as JSON, one object a line, and errors as JSON on standard error.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Run a gateway.
    ///
    /// Without a configuration file it runs with safe defaults in a data directory: a certificate and a token of its
    /// own, nothing open to strangers, and prints what to do next.
    Serve(Serve),
    /// Send a snapshot to a gateway.
    #[command(after_long_help = format!("{SEND_EXAMPLES}\n\n{EXIT_CODES}"))]
    Send(Box<SendArgs>),
    /// Bring a snapshot back from a gateway.
    #[command(after_long_help = format!("{RESTORE_EXAMPLES}\n\n{EXIT_CODES}"))]
    Restore(RestoreArgs),
    /// Ask what `send` with the same arguments would do, and why.
    #[command(after_long_help = EXIT_CODES)]
    Plan(Box<SendArgs>),
    /// List the snapshots of a volume that a gateway holds.
    #[command(after_long_help = EXIT_CODES)]
    Chain(VolumeArgs),
    /// Show where a site is: its Keystone, region and gateway.
    #[command(after_long_help = EXIT_CODES)]
    Sites(SiteArgs),
    /// Show which gateway a transfer would be sent to now.
    #[command(after_long_help = EXIT_CODES)]
    Servers(ConnectArgs),
    /// Delete a snapshot that a gateway holds. The others of its chain stay whole.
    #[command(after_long_help = EXIT_CODES)]
    Delete(DeleteArgs),
    /// Work with plugins.
    Plugin {
        #[command(subcommand)]
        command: Plugin,
    },
    /// Work with configuration files.
    Config {
        #[command(subcommand)]
        command: Config,
    },
    /// Print a completion script for a shell.
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Load a component as the gateway would, and say what is wrong with it.
    Check(PluginCheck),
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Read a configuration file as the gateway would, and list all that is wrong with it.
    Check(ConfigCheck),
}

#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory, instead of the configuration's.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for transfers, instead of the configuration's.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address for probes and metrics, instead of the configuration's.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
    /// Name of this site, instead of the configuration's.
    #[arg(long, value_name = "NAME")]
    pub site: Option<SiteName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PluginKind {
    Writer,
    Policy,
    Resolver,
}

#[derive(Debug, Clone, Args)]
pub struct PluginCheck {
    /// The component.
    pub file: PathBuf,
    /// What it must be; told from its world when not given.
    #[arg(long)]
    pub kind: Option<PluginKind>,
    /// Settings to offer it: a TOML file with the plugin's own table.
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct ConfigCheck {
    /// The configuration file.
    pub file: PathBuf,
}

/// How to reach a gateway.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Gateway")]
pub struct ConnectArgs {
    /// The gateway, or the balancer before several: https://host:port.
    #[arg(long, env = "RSNAP_GATEWAY", value_name = "URL")]
    pub gateway: String,
    /// Bearer token. Others on this machine can see it: prefer --token-file or RSNAP_TOKEN.
    #[arg(long, conflicts_with = "token_file")]
    pub token: Option<String>,
    /// File with the bearer token.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust instead of those of the system.
    #[arg(long, env = "RSNAP_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct VolumeArgs {
    /// The volume's id at the gateway's site.
    #[arg(long, value_name = "ID")]
    pub volume: VolumeId,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

#[derive(Debug, Clone, Args)]
pub struct DeleteArgs {
    /// The snapshot's id at the gateway's site.
    #[arg(long, value_name = "ID")]
    pub snapshot: SnapshotId,
    #[command(flatten)]
    pub volume: VolumeArgs,
}

#[derive(Debug, Clone, Args)]
pub struct SiteArgs {
    /// The site's name.
    pub name: SiteName,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// What SOURCE is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceFormat {
    /// The image itself.
    Raw,
    /// A stream of `rbd export-diff`.
    RbdDiff,
    /// A stream of `rbd export --export-format 2`: a whole chain.
    RbdExport,
}

/// An earlier snapshot of the source: `ID=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseArg {
    pub id: String,
    pub file: PathBuf,
}

impl std::str::FromStr for BaseArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((id, file)) if !id.is_empty() && !file.is_empty() => Ok(Self { id: id.into(), file: file.into() }),
            _ => Err("write ID=FILE: the source's id of the snapshot, and its raw image".to_owned()),
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct SendArgs {
    /// Raw image in a file or on a block device, or a stream; `-` is standard input.
    pub source: PathBuf,
    /// The volume's id at the target.
    #[arg(long, value_name = "ID")]
    pub volume: VolumeId,
    /// The snapshot's id at the target; for rbd-export all of them, oldest first, with commas between.
    #[arg(long, value_name = "ID", value_delimiter = ',', required = true)]
    pub snapshot: Vec<SnapshotId>,
    /// An earlier snapshot of the source: its id there and its raw image. Again for more, oldest first.
    #[arg(long, value_name = "ID=FILE")]
    pub base: Vec<BaseArg>,
    /// The volume's id at the source, recorded with the snapshot.
    #[arg(long, value_name = "ID")]
    pub source_volume: Option<String>,
    /// The snapshot's id at the source; the name in the stream, or the one at the target when not given.
    #[arg(long, value_name = "ID")]
    pub source_snapshot: Option<String>,
    /// What SOURCE is.
    #[arg(long, value_enum, default_value_t = SourceFormat::Raw)]
    pub format: SourceFormat,
    /// Bytes of the image: needed for a raw image on standard input; for rbd-export, of the largest snapshot.
    #[arg(long, value_name = "BYTES")]
    pub size: Option<u64>,
    /// The target's snapshot that an rbd-diff starts from, when the plan shall not find it.
    #[arg(long, value_name = "ID")]
    pub base_snapshot: Option<SnapshotId>,
    /// Content root of the snapshot that an rbd-diff starts from, as `rsnap chain` shows it.
    #[arg(long, value_name = "ROOT")]
    pub base_root: Option<Root>,
    /// Send in full, whatever could be left out.
    #[arg(long, conflicts_with = "base_snapshot")]
    pub full: bool,
    /// How often is tried again what may heal.
    #[arg(long, default_value_t = 8)]
    pub retries: u32,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// What DEST shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RestoreFormat {
    /// The image itself.
    Raw,
    /// A stream for `rbd import-diff`.
    RbdDiff,
}

#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// File to make, block device to overwrite, or `-` for standard output.
    pub destination: PathBuf,
    /// The snapshot's id at the gateway's site.
    #[arg(long, value_name = "ID")]
    pub snapshot: SnapshotId,
    /// What DESTINATION shall be.
    #[arg(long, value_enum, default_value_t = RestoreFormat::Raw)]
    pub format: RestoreFormat,
    /// Only what changed since this snapshot of the same volume; with --format rbd-diff.
    #[arg(long, value_name = "ID")]
    pub base: Option<SnapshotId>,
    /// Replace an existing file.
    #[arg(long)]
    pub force: bool,
    /// How often is tried again what may heal.
    #[arg(long, default_value_t = 8)]
    pub retries: u32,
    #[command(flatten)]
    pub volume: VolumeArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_send_is_understood() {
        let cli = parse(
            "rsnap send a.raw --volume v --snapshot s --base b1=x=1 --base b2=y --gateway https://gw --json --full",
        );
        let Ok(Cli { json: true, command: Command::Send(send) }) = cli else { panic!("{cli:?}") };
        let base = |id: &str, file: &str| BaseArg { id: id.into(), file: file.into() };
        assert_eq!(send.base, [base("b1", "x=1"), base("b2", "y")]);
        assert_eq!((send.format, send.retries, send.full), (SourceFormat::Raw, 8, true));
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for line in [
            "rsnap send a.raw --volume v --gateway https://gw",
            "rsnap send a.raw --volume ../v --snapshot s --gateway https://gw",
            "rsnap send a.raw --volume v --snapshot s --base nofile --gateway https://gw",
            "rsnap send a.raw --volume v --snapshot s --base-root 12 --gateway https://gw",
            "rsnap send a.raw --volume v --snapshot s --full --base-snapshot t --gateway https://gw",
            "rsnap chain --volume v --gateway https://gw --token a --token-file b",
            "rsnap serve --listen nowhere",
            "rsnap sites",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_rest_is_understood() {
        for line in [
            "rsnap serve --config a --data b --listen 127.0.0.1:1 --admin 127.0.0.1:2 --site dc1",
            "rsnap restore --volume v --snapshot s - --format rbd-diff --base b --gateway https://gw",
            "rsnap plan - --format rbd-diff --volume v --snapshot s --gateway https://gw",
            "rsnap servers --gateway https://gw --token-file t",
            "rsnap delete --volume v --snapshot s --gateway https://gw",
            "rsnap plugin check a.wasm --kind policy --settings s.toml",
            "rsnap config check a.toml --json",
            "rsnap completions bash",
        ] {
            parse(line).unwrap();
        }
    }
}
