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
