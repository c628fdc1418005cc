//! The arguments of `send`, `plan` and `restore`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ConnectArgs, VolumeArgs};
use crate::content::Root;
use crate::id::{SnapshotId, VolumeId};

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
