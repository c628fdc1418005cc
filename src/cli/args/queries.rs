//! How to reach a gateway, and the commands that ask it one question.

use std::path::PathBuf;

use clap::Args;

use crate::id::{SiteName, SnapshotId, VolumeId};
use crate::quantity::Bytes;

/// How to reach a gateway.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Gateway")]
pub struct ConnectArgs {
    /// The gateway, or the balancer before several: https://host:port. Without a balancer, several gateways of one site
    /// with commas between: the first that answers is asked.
    #[arg(long, env = "RSNAP_GATEWAY", value_name = "URL", value_delimiter = ',')]
    pub gateway: Vec<String>,
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

/// How fast.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Gateway")]
pub struct LimitArgs {
    /// Move at most this much a second over all connections, such as 100MiB.
    #[arg(long, value_name = "SIZE", conflicts_with = "limit_file")]
    pub limit: Option<Bytes>,
    /// The same, from a file that is read again every second, so that it can be changed meanwhile; `none` lifts it.
    #[arg(long, value_name = "FILE")]
    pub limit_file: Option<PathBuf>,
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
