//! The arguments, and the help that explains them.

mod help;
mod plugin;
mod queries;
mod transfer;
mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;

pub(super) use plugin::{
    LoadArgs, Plugin, PluginAdmin, PluginBench, PluginCheck, PluginInspect, PluginNew, PluginPack, PluginPull,
    PluginPush, PluginReplay, PluginRun, PluginTest, StreamFormat, WriterArgs,
};
pub(super) use queries::{ChainArgs, ConnectArgs, DeleteArgs, LimitArgs, SiteArgs, VolumeArgs};
pub(super) use transfer::{BaseArg, CephArgs, Compress, RestoreArgs, RestoreFormat, SendArgs, SourceFormat};
pub(super) use verify::{OtherArgs, RepairArgs, VerifyArgs, location};

use clap::{Args, Parser, Subcommand};

use crate::id::{SiteName, StoreName};
use help::{EXIT_CODES, REPAIR_EXAMPLES, RESTORE_EXAMPLES, SEND_EXAMPLES, VERIFY_EXAMPLES};

/// Copies volume snapshots from one site to another, at block level.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_long_help = EXIT_CODES)]
pub struct Cli {
    /// Write answers and progress as JSON, one object a line, and errors as JSON on standard error; `serve` writes its
    /// log so.
    // After the options of the command itself.
    #[arg(long, global = true, display_order = 990)]
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
    /// Prove that a gateway holds the same as another one, or as an image here; or that its stored bytes are intact.
    #[command(after_long_help = format!("{VERIFY_EXAMPLES}\n\n{EXIT_CODES}"))]
    Verify(Box<VerifyArgs>),
    /// Send what is damaged in a gateway's storage again, from a site that still has it.
    #[command(after_long_help = format!("{REPAIR_EXAMPLES}\n\n{EXIT_CODES}"))]
    Repair(Box<RepairArgs>),
    /// Ask what `send` with the same arguments would do, and why.
    #[command(after_long_help = EXIT_CODES)]
    Plan(Box<SendArgs>),
    /// List the snapshots of a volume that a gateway holds, or compare them with those of another site.
    #[command(after_long_help = EXIT_CODES)]
    Chain(ChainArgs),
    /// Show where a site is: its Keystone, region and gateway.
    #[command(after_long_help = EXIT_CODES)]
    Sites(SiteArgs),
    /// Show the gateways of the site, and what each has to do.
    #[command(after_long_help = EXIT_CODES)]
    Servers(ConnectArgs),
    /// Delete a snapshot that a gateway holds. The others of its chain stay whole.
    #[command(after_long_help = EXIT_CODES)]
    Delete(DeleteArgs),
    /// Give up what is unfinished of a snapshot's transfer, and free its space at the gateway.
    #[command(after_long_help = EXIT_CODES)]
    Cancel(DeleteArgs),
    /// Write, try out and watch plugins.
    Plugin {
        #[command(subcommand)]
        command: Plugin,
    },
    /// Work with the storage of a gateway.
    Store {
        #[command(subcommand)]
        command: Store,
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
pub enum Store {
    /// Remove what was kept for images that others have removed, such as content trees beside images in Ceph. Gateways
    /// may run meanwhile. It looks at all there is, which takes minutes in a large pool.
    Sweep(StoreSweep),
}

#[derive(Debug, Clone, Args)]
pub struct StoreSweep {
    /// The gateway's configuration file.
    pub file: PathBuf,
    /// The store to sweep; without: all of them.
    #[arg(long, value_name = "NAME")]
    pub store: Option<StoreName>,
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Read a configuration file as the gateway would, and list all that is wrong with it and with the files that it
    /// names. Run it as the gateway's user; it changes nothing.
    Check(ConfigCheck),
}

#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Configuration file; without, everything has its default.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory, instead of the configuration's; default: /var/lib/rsnap for root, ~/.local/share/rsnap for others.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for transfers, instead of the configuration's; without a configuration 127.0.0.1:8443.
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address for probes and metrics, instead of the configuration's; default: 127.0.0.1:8081.
    #[arg(long, value_name = "IP:PORT")]
    pub admin: Option<SocketAddr>,
    /// Name of this site, instead of the configuration's; default: local.
    #[arg(long, value_name = "NAME")]
    pub site: Option<SiteName>,
}

#[derive(Debug, Clone, Args)]
pub struct ConfigCheck {
    /// The configuration file.
    pub file: PathBuf,
    /// Look at the text alone: the files that it names are on another machine.
    #[arg(long)]
    pub text_only: bool,
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

    /// A heading lasts for all that comes after it, also of the structure that is flattened next.
    #[test]
    fn what_each_command_is_about_stands_first() {
        for command in Cli::command().get_subcommands() {
            for name in ["volume", "snapshot", "json"] {
                let found = command.get_arguments().find(|argument| argument.get_id() == name);
                let heading = found.and_then(clap::Arg::get_help_heading);
                assert_eq!(heading, None, "{name} of {}", command.get_name());
            }
        }
    }

    #[test]
    fn a_send_is_understood() {
        let cli = parse(
            "rsnap send a.raw --volume v --snapshot s --base b1=x=1 --base b2=y --gateway https://gw --json --full",
        );
        let Ok(Cli { json: true, command: Command::Send(send) }) = cli else { panic!("{cli:?}") };
        let base = |id: &str, file: &str| BaseArg::File { id: id.into(), file: file.into() };
        assert_eq!(send.base, [base("b1", "x=1"), base("b2", "y")]);
        assert_eq!((send.format, send.retries, send.full), (SourceFormat::Raw, 8, true));
    }

    #[test]
    fn snapshots_in_ceph_are_understood() {
        let cli = parse(
            "rsnap send rbd:volumes/n/v@s3 --volume v --snapshot s --base s1 --base rbd:volumes/n/v@s2 \
             --base id=rbd:volumes/n/v@s --gateway https://gw --ceph-conf c --ceph-user u --ceph-keyring k",
        );
        let Ok(Cli { command: Command::Send(send), .. }) = cli else { panic!("{cli:?}") };
        assert_eq!(send.location().unwrap().unwrap().to_string(), "rbd:volumes/n/v@s3");
        let ceph = |id: Option<&str>, location: &str| BaseArg::Ceph {
            id: id.map(str::to_owned),
            location: location.parse().unwrap(),
        };
        let expected =
            [BaseArg::Name("s1".into()), ceph(None, "rbd:volumes/n/v@s2"), ceph(Some("id"), "rbd:volumes/n/v@s")];
        assert_eq!(send.base, expected);
        assert_eq!(send.ceph.ceph_user.as_deref(), Some("u"));
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for line in [
            "rsnap send a.raw --volume v --gateway https://gw",
            "rsnap send a.raw --volume ../v --snapshot s --gateway https://gw",
            "rsnap send a.raw --volume v --snapshot s --base =file --gateway https://gw",
            "rsnap send rbd:p/v@s --volume v --snapshot s --base rbd:p/v --gateway https://gw",
            "rsnap send rbd:p/v@s --volume v --snapshot s --base s1=rbd:v@s1 --gateway https://gw",
            "rsnap send a.raw --volume v --snapshot s --base-root 12 --gateway https://gw",
            "rsnap send a.raw --volume v --snapshot s --full --base-snapshot t --gateway https://gw",
            "rsnap chain --volume v --gateway https://gw --token a --token-file b",
            "rsnap chain --volume v --gateway https://gw --client-certificate a",
            "rsnap chain --volume v --gateway https://gw --client-key a",
            "rsnap chain --volume v --gateway https://gw --compare dc1",
            "rsnap chain --volume v --gateway https://gw --compare dc1 --other-client-certificate a",
            "rsnap chain --volume v --gateway https://gw --other-client-certificate a --other-client-key b",
            "rsnap verify --volume v --snapshot s --gateway https://gw",
            "rsnap verify a.raw --volume v --snapshot s --other-gateway https://dc1 --other-token-file t",
            "rsnap verify --volume v --snapshot s --other-gateway https://dc1",
            "rsnap verify --volume v --snapshot s --deep --other-volume w",
            "rsnap repair --volume v --snapshot s --gateway https://gw",
            "rsnap send a.raw --volume v --snapshot s --limit 100MiB --limit-file f",
            "rsnap send a.raw --volume v --snapshot s --limit 100M",
            "rsnap serve --listen nowhere",
            "rsnap plugin check a.wasm --kind writr",
            "rsnap plugin new policy --lang cobol my-policy",
            "rsnap plugin run image --stream - --base b",
            "rsnap plugin run a.wasm dc1 --example",
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
            "rsnap verify --volume v --snapshot s --deep --gateway https://gw",
            "rsnap send a.raw --volume v --snapshot s --limit 100MiB",
            "rsnap send - --volume v --snapshot s --size 10GiB",
            "rsnap send - --volume v --snapshot s --size 1048576",
            "rsnap restore a.raw --volume v --snapshot s --limit-file f",
            "rsnap verify a.raw --volume v --snapshot s --gateway https://gw --json",
            "rsnap verify --volume v --snapshot s --other-gateway https://dc1 --other-token-file t --other-volume w",
            "rsnap repair a.raw --volume v --snapshot s --gateway https://gw",
            "rsnap repair --volume v --snapshot s --other-gateway https://dc1 --other-token-file t",
            "rsnap plan - --format rbd-diff --volume v --snapshot s --gateway https://gw",
            "rsnap servers --gateway https://gw --token-file t",
            "rsnap servers --gateway https://gw --client-certificate c --client-key k",
            "rsnap chain --volume v --compare dc1 --other-client-certificate c --other-client-key k --other-ca a",
            "rsnap verify --volume v --snapshot s --other-gateway https://a --other-client-certificate c --other-client-key k",
            "rsnap delete --volume v --snapshot s --gateway https://gw",
            "rsnap cancel --volume v --snapshot s --gateway https://gw",
            "rsnap plugin check a.wasm --kind policy --settings s.toml",
            "rsnap plugin inspect a.wasm --wit",
            "rsnap plugin new policy --lang javascript my-policy --into d",
            "rsnap plugin pack a.wasm -o b.wasm --kind policy --wit d --name n --version 1.0.0 --description d",
            "rsnap plugin run static dc1 --settings s.toml --memory 256MiB --call-timeout 2s",
            "rsnap plugin run a.wasm --example",
            "rsnap plugin run image --stream - --format rbd-diff --into d --base b --store main --store fast",
            "rsnap plugin test a.wasm --settings s.toml --site dc1 --site dc2 --store main --memory 256MiB",
            "rsnap plugin bench image --amount 64MiB --rounds 3 --store main",
            "rsnap plugin replay strict-order decisions.jsonl.1 decisions.jsonl --settings s.toml",
            "rsnap plugin list --admin 127.0.0.1:8081 --json",
            "rsnap plugin reload --admin 127.0.0.1:8081",
            "rsnap config check a.toml --json",
            "rsnap completions bash",
        ] {
            parse(line).unwrap();
        }
    }
}
