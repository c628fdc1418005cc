//! The commands that ask one question.

use super::args::{ConnectArgs, DeleteArgs, SiteArgs, VolumeArgs};
use super::connect::gateway;
use super::output::Output;
use crate::client::ClientError;

pub(super) async fn chain(args: &VolumeArgs, output: &Output) -> Result<(), ClientError> {
    output.chain(&gateway(&args.connect)?.chain(&args.volume).await?)
}

pub(super) async fn site(args: &SiteArgs, output: &Output) -> Result<(), ClientError> {
    output.site(&gateway(&args.connect)?.site(&args.name).await?)
}

pub(super) async fn servers(args: &ConnectArgs, output: &Output) -> Result<(), ClientError> {
    output.servers(&gateway(args)?.servers().await?)
}

pub(super) async fn delete(args: &DeleteArgs, output: &Output) -> Result<(), ClientError> {
    gateway(&args.volume.connect)?.delete(&args.volume.volume, &args.snapshot).await?;
    output.deleted(args.volume.volume.as_str(), args.snapshot.as_str())
}

pub(super) async fn cancel(args: &DeleteArgs, output: &Output) -> Result<(), ClientError> {
    let (volume, snapshot) = (&args.volume.volume, &args.snapshot);
    let gateway = gateway(&args.volume.connect)?;
    let there = gateway.uploads(volume, snapshot).await?.map(|there| there.uploads).unwrap_or_default();
    let unfinished: Vec<_> = there.into_iter().filter(|upload| upload.committed.is_none()).collect();
    if unfinished.is_empty() {
        return Err(ClientError::Missing(format!("snapshot {snapshot} of volume {volume} has no unfinished transfer")));
    }
    for upload in unfinished {
        gateway.cancel_upload(&upload.path).await?;
    }
    output.cancelled(volume.as_str(), snapshot.as_str())
}
