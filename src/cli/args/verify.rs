//! The arguments of `verify` and `repair`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::queries::CredentialArgs;
use super::{CephArgs, ConnectArgs, VolumeArgs};
use crate::client::source::{Location, LocationError, RBD_PREFIX};
use crate::id::{SnapshotId, VolumeId};

/// Another site.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Other site")]
#[command(group(ArgGroup::new("other_place").args(["other_gateway"])))]
pub struct OtherArgs {
    /// The gateway of the other site, or several of it, as with --gateway.
    #[arg(long, value_name = "URL", value_delimiter = ',', requires = "other_credential", conflicts_with = "source")]
    pub other_gateway: Vec<String>,
    #[command(flatten)]
    pub credential: CredentialArgs,
    /// The volume's id there; the same as here when not given.
    #[arg(long, value_name = "ID", requires = "other_gateway")]
    pub other_volume: Option<VolumeId>,
    /// The snapshot's id there; the same as here when not given.
    #[arg(long, value_name = "ID", requires = "other_gateway")]
    pub other_snapshot: Option<SnapshotId>,
}

impl OtherArgs {
    /// How to reach it; `None` when there is none.
    pub(in crate::cli) fn connect(&self) -> Option<ConnectArgs> {
        let gateway = self.other_gateway.clone();
        (!gateway.is_empty()).then(|| self.credential.connect(gateway))
    }
}

#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("with").args(["source", "other_gateway", "deep"]).required(true).multiple(true)))]
pub struct VerifyArgs {
    /// An image to compare with: a file, a block device, or a snapshot in Ceph (rbd:POOL[/NAMESPACE]/IMAGE@SNAPSHOT).
    pub source: Option<PathBuf>,
    /// The snapshot's id at the gateway's site.
    #[arg(long, value_name = "ID")]
    pub snapshot: SnapshotId,
    /// Let the gateway read all that it has stored of the snapshot, and name what is damaged.
    #[arg(long)]
    pub deep: bool,
    /// How often it is tried again when that may help.
    #[arg(long, default_value_t = 8)]
    pub retries: u32,
    #[command(flatten)]
    pub other: OtherArgs,
    #[command(flatten)]
    pub ceph: CephArgs,
    #[command(flatten)]
    pub volume: VolumeArgs,
}

#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("from").args(["source", "other_gateway"]).required(true)))]
pub struct RepairArgs {
    /// What was sent: a file, a block device, or a snapshot in Ceph (rbd:POOL[/NAMESPACE]/IMAGE@SNAPSHOT).
    pub source: Option<PathBuf>,
    /// The snapshot's id at the gateway's site.
    #[arg(long, value_name = "ID")]
    pub snapshot: SnapshotId,
    /// How often it is tried again when that may help.
    #[arg(long, default_value_t = 8)]
    pub retries: u32,
    #[command(flatten)]
    pub other: OtherArgs,
    #[command(flatten)]
    pub ceph: CephArgs,
    #[command(flatten)]
    pub volume: VolumeArgs,
}

/// The snapshot in Ceph that `source` names; `None` for a file.
pub(in crate::cli) fn location(source: &std::path::Path) -> Result<Option<Location>, LocationError> {
    match source.to_str() {
        Some(text) if text.starts_with(RBD_PREFIX) => text.parse().map(Some),
        _ => Ok(None),
    }
}
