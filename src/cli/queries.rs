//! The commands that ask one question.

use super::args::{ChainArgs, ConnectArgs, DeleteArgs, SiteArgs, VolumeArgs};
use super::connect::{gateway, other_gateway};
use super::output::Output;
use crate::client::{ClientError, compare};

pub(super) async fn chain(args: &ChainArgs, output: &Output) -> Result<(), ClientError> {
    let VolumeArgs { volume, connect } = &args.volume;
    let here = gateway(connect)?;
    let Some(site) = &args.compare else { return output.chain(&here.chain(volume).await?) };
    let there = other_gateway(&args.other.connect(vec![here.site(site).await?.gateway]))?;
    let other_volume = args.other_volume.as_ref().unwrap_or(volume);
    output.chains(&compare((&here, volume), (&there, other_volume)).await?)
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
