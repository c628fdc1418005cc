//! How to reach a gateway, and the commands that ask it one question.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

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
    /// Certificate (PEM, then the intermediate ones) that says who calls, instead of a token: a token that is given too
    /// decides alone.
    #[arg(long, env = "RSNAP_CLIENT_CERTIFICATE", value_name = "FILE", requires = "client_key")]
    pub client_certificate: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, env = "RSNAP_CLIENT_KEY", value_name = "FILE", requires = "client_certificate")]
    pub client_key: Option<PathBuf>,
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
    // Not below the heading of what stands before it in the command.
    #[arg(long, value_name = "ID", help_heading = None::<&'static str>)]
    pub volume: VolumeId,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Who calls the gateway of another site, and what proves that one. Where it is, `other_place` says.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Other site")]
#[command(group(ArgGroup::new("other_credential").args(["other_token_file", "other_client_certificate"]).multiple(true)))]
pub struct CredentialArgs {
    /// File with the bearer token for the gateway there.
    #[arg(long, value_name = "FILE", requires = "other_place")]
    pub other_token_file: Option<PathBuf>,
    /// Certificate (PEM) to show there, as with --client-certificate.
    #[arg(long, value_name = "FILE", requires_all = ["other_place", "other_client_key"])]
    pub other_client_certificate: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "other_client_certificate")]
    pub other_client_key: Option<PathBuf>,
    /// Certificates (PEM) to trust there instead of those of the system.
    #[arg(long, value_name = "FILE", requires = "other_place")]
    pub other_ca: Option<PathBuf>,
}

impl CredentialArgs {
    /// How to reach the gateway at these addresses.
    pub(in crate::cli) fn connect(&self, gateway: Vec<String>) -> ConnectArgs {
        let Self { other_token_file, other_client_certificate, other_client_key, other_ca } = self.clone();
        ConnectArgs {
            gateway,
            token: None,
            token_file: other_token_file,
            client_certificate: other_client_certificate,
            client_key: other_client_key,
            ca: other_ca,
        }
    }
}

#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("other_place").args(["compare"])))]
pub struct ChainArgs {
    #[command(flatten)]
    pub volume: VolumeArgs,
    /// Compare with the chain at this site: what both have, what one has, and what the policy there would do. The
    /// gateway here says where the site is.
    #[arg(long, value_name = "SITE", requires = "other_credential", help_heading = "Other site")]
    pub compare: Option<SiteName>,
    #[command(flatten)]
    pub other: CredentialArgs,
    /// The volume's id there; the same as here when not given.
    #[arg(long, value_name = "ID", requires = "compare", help_heading = "Other site")]
    pub other_volume: Option<VolumeId>,
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
