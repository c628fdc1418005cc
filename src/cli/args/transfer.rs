//! The arguments of `send`, `plan` and `restore`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::{ConnectArgs, LimitArgs, VolumeArgs};
use crate::client::source::{Location, LocationError, RBD_PREFIX};
use crate::content::Root;
use crate::id::{SnapshotId, VolumeId};
use crate::quantity::Bytes;

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

/// An earlier snapshot of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseArg {
    /// `ID=FILE`.
    File { id: String, file: PathBuf },
    /// `[ID=]rbd:POOL/IMAGE@SNAPSHOT`.
    Ceph { id: Option<String>, location: Location },
    /// `SNAPSHOT`: of the image that SOURCE is a snapshot of.
    Name(String),
}

impl FromStr for BaseArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let ceph = |id: Option<&str>, text: &str| {
            let location = text.parse().map_err(|fault: LocationError| fault.to_string())?;
            Ok(Self::Ceph { id: id.map(str::to_owned), location })
        };
        if text.starts_with(RBD_PREFIX) {
            return ceph(None, text);
        }
        match text.split_once('=') {
            Some(("", _) | (_, "")) => {
                Err("write ID=FILE: the source's id of the snapshot, and its raw image".to_owned())
            }
            Some((id, place)) if place.starts_with(RBD_PREFIX) => ceph(Some(id), place),
            Some((id, file)) => Ok(Self::File { id: id.into(), file: file.into() }),
            None if text.is_empty() => Err("write the name of a snapshot, or ID=FILE".to_owned()),
            None => Ok(Self::Name(text.to_owned())),
        }
    }
}

/// How to reach the Ceph cluster of SOURCE.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Ceph")]
pub struct CephArgs {
    /// Configuration of the cluster that SOURCE lies in; where Ceph looks for it when not given.
    #[arg(long, value_name = "FILE")]
    pub ceph_conf: Option<PathBuf>,
    /// User of that cluster, without `client.`; admin when not given.
    #[arg(long, value_name = "NAME")]
    pub ceph_user: Option<String>,
    /// File with that user's key; what the configuration says when not given.
    #[arg(long, value_name = "FILE")]
    pub ceph_keyring: Option<PathBuf>,
}

/// Whether bodies are compressed on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compress {
    /// Where the gateway takes it, as long as the line is slower than this machine.
    Auto,
    /// Everything that gets smaller by it.
    Always,
    Never,
}

#[derive(Debug, Clone, Args)]
pub struct SendArgs {
    /// Raw image in a file or on a block device, a snapshot in Ceph (rbd:POOL[/NAMESPACE]/IMAGE@SNAPSHOT), or a stream;
    /// `-` is standard input.
    pub source: PathBuf,
    /// The volume's id at the target.
    #[arg(long, value_name = "ID")]
    pub volume: VolumeId,
    /// The snapshot's id at the target; for rbd-export all of them, oldest first, with commas between.
    #[arg(long, value_name = "ID", value_delimiter = ',', required = true)]
    pub snapshot: Vec<SnapshotId>,
    /// An earlier snapshot of the source: its id there and its raw image, as ID=FILE; of a snapshot in Ceph just its
    /// name, where all earlier ones are offered when none is given. Again for more, oldest first.
    #[arg(long)]
    pub base: Vec<BaseArg>,
    /// The volume's id at the source, recorded with the snapshot.
    #[arg(long, value_name = "ID")]
    pub source_volume: Option<String>,
    /// The snapshot's id at the source; its name in Ceph or in the stream, or the one at the target when not given.
    #[arg(long, value_name = "ID")]
    pub source_snapshot: Option<String>,
    /// What SOURCE is.
    #[arg(long, value_enum, default_value_t = SourceFormat::Raw)]
    pub format: SourceFormat,
    /// Size of the image, in bytes or such as 10GiB: needed for a raw image on standard input; for rbd-export, of the
    /// largest snapshot.
    #[arg(long, value_name = "SIZE")]
    pub size: Option<Bytes>,
    /// The target's snapshot that an rbd-diff starts from, when the plan shall not find it.
    #[arg(long, value_name = "ID")]
    pub base_snapshot: Option<SnapshotId>,
    /// Content root of the snapshot that an rbd-diff starts from, as `rsnap chain` shows it.
    #[arg(long, value_name = "ROOT")]
    pub base_root: Option<Root>,
    /// Send in full, whatever could be left out.
    #[arg(long, conflicts_with = "base_snapshot")]
    pub full: bool,
    /// How often in a row, without anything gained in between, it is tried again when that may help.
    #[arg(long, default_value_t = 8)]
    pub retries: u32,
    /// File with the answer of the target's GET /server, with its ticket, that somebody who has an account there asked
    /// for: instead of --gateway and a token.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token", "token_file"])]
    pub answer: Option<PathBuf>,
    #[command(flatten)]
    pub limit: LimitArgs,
    /// Connections at once, for an image in a file or in Ceph; chosen from the round-trip time when not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub streams: Option<u8>,
    /// Compress on the way, with zstd; what does not get smaller goes as it is. Not for rbd-export.
    #[arg(long, value_enum, default_value_t = Compress::Auto)]
    pub compress: Compress,
    #[command(flatten)]
    pub ceph: CephArgs,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

impl SendArgs {
    /// The snapshot in Ceph that SOURCE names; `None` for a file or a stream.
    pub(in crate::cli) fn location(&self) -> Result<Option<Location>, LocationError> {
        match self.source.to_str() {
            Some(text) if text.starts_with(RBD_PREFIX) => text.parse().map(Some),
            _ => Ok(None),
        }
    }
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
    /// How often it is tried again when that may help.
    #[arg(long, default_value_t = 8)]
    pub retries: u32,
    #[command(flatten)]
    pub limit: LimitArgs,
    #[command(flatten)]
    pub volume: VolumeArgs,
}
