//! `rsnap restore`.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::args::{RestoreArgs, RestoreFormat};
use super::connect::{gateway, limited};
use super::output::{Output, Stream};
use crate::client::ClientError;
use crate::client::restore::{self as engine, Destination, Restore, Shape};
use crate::retry::Backoff;

pub(super) async fn restore(args: &RestoreArgs, output: &Output) -> Result<(), ClientError> {
    let job = Restore {
        gateway: limited(gateway(&args.volume.connect)?, &args.limit)?,
        volume: args.volume.volume.clone(),
        snapshot: args.snapshot.clone(),
        shape: shape(args)?,
        backoff: Backoff { retries: args.retries, ..Backoff::default() },
    };
    let destination = destination(args)?;
    let stream = if matches!(destination, Destination::Stream(_)) { Stream::Errors } else { Stream::Answers };
    let shown = format!("{destination:?}");
    let reporter = output.reporter(stream);
    let restored = engine::restore(&job, destination, &*reporter).await?;
    reporter.end();
    output.restored(&restored, &shown, stream)
}

fn shape(args: &RestoreArgs) -> Result<Shape, ClientError> {
    match (args.format, &args.base) {
        (RestoreFormat::Raw, None) => Ok(Shape::Raw),
        (RestoreFormat::Raw, Some(_)) => Err(ClientError::Usage("--base needs --format rbd-diff".to_owned())),
        (RestoreFormat::RbdDiff, base) => Ok(Shape::RbdDiff { base: base.clone() }),
    }
}

fn destination(args: &RestoreArgs) -> Result<Destination, ClientError> {
    let path = args.destination.clone();
    if path == Path::new("-") {
        let duplicate = std::io::stdout().as_fd().try_clone_to_owned();
        let stream = duplicate.map_err(ClientError::local("open", "standard output"))?;
        return Ok(Destination::Stream(Box::new(File::from(stream))));
    }
    Ok(match path.metadata() {
        Ok(found) if found.file_type().is_block_device() => Destination::Device(path),
        Ok(found) if !found.is_file() => {
            return Err(ClientError::Usage(format!("{} is neither a file nor a block device", path.display())));
        }
        _ => Destination::File { path, replace: args.force },
    })
}
