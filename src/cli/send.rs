//! `rsnap send` and `rsnap plan`.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use super::args::{SendArgs, SourceFormat};
use super::connect::gateway;
use super::output::{Output, Stream};
use crate::api::Action;
use crate::client::send::{self as engine, Base, Image, Job, KnownBase, Material, PassThrough};
use crate::client::source::{StreamInput, StreamKind};
use crate::client::{ClientError, on_thread};
use crate::retry::Backoff;

pub(super) async fn send(args: &SendArgs, output: &Output) -> Result<(), ClientError> {
    let mut job = job(args).await?;
    let reporter = output.reporter(Stream::Answers);
    let outcome = engine::send(&mut job, &*reporter).await?;
    reporter.end();
    output.outcome(&outcome)
}

pub(super) async fn plan(args: &SendArgs, output: &Output) -> Result<(), ClientError> {
    let mut job = job(args).await?;
    let reporter = output.quiet_reporter();
    let answer = engine::plan(&mut job, &*reporter).await?;
    reporter.end();
    output.plan(&answer)?;
    match answer.action {
        Action::Refused => Err(ClientError::Plan(format!("the gateway refuses: {}", answer.reason))),
        _ => Ok(()),
    }
}

async fn job(args: &SendArgs) -> Result<Job, ClientError> {
    check(args)?;
    let (material, name) = material(args).await?;
    let snapshot = args.snapshot.last().map(ToString::to_string).unwrap_or_default();
    Ok(Job {
        gateway: gateway(&args.connect)?,
        volume: args.volume.clone(),
        snapshots: args.snapshot.clone(),
        source_volume: args.source_volume.clone(),
        source_snapshot: args.source_snapshot.clone().or(name).unwrap_or(snapshot),
        material,
        backoff: Backoff { retries: args.retries, ..Backoff::default() },
    })
}

/// Refuses options that would have no effect: whoever gave them expects one.
fn check(args: &SendArgs) -> Result<(), ClientError> {
    let refuse = |what: &str| Err(ClientError::Usage(what.to_owned()));
    let raw = args.format == SourceFormat::Raw;
    if !raw && !args.base.is_empty() {
        return refuse("--base is for a raw SOURCE; an rbd-diff was made from its base already");
    }
    if args.format != SourceFormat::RbdDiff && (args.base_snapshot.is_some() || args.base_root.is_some()) {
        return refuse("--base-snapshot and --base-root are for --format rbd-diff");
    }
    if args.format != SourceFormat::RbdExport && args.snapshot.len() != 1 {
        return refuse("--snapshot takes several ids only with --format rbd-export");
    }
    match (raw, is_pipe(args), args.size) {
        (true, true, None) => refuse("a raw image on standard input needs --size"),
        (true, false, Some(_)) => refuse("--size is for standard input; a file or device tells its own"),
        _ => Ok(()),
    }
}

fn is_pipe(args: &SendArgs) -> bool {
    args.source == Path::new("-")
}

/// What is sent, and the name of the snapshot in it.
async fn material(args: &SendArgs) -> Result<(Box<dyn Material>, Option<String>), ClientError> {
    let kind = match args.format {
        SourceFormat::Raw => return Ok((Box::new(image(args)?), None)),
        SourceFormat::RbdDiff => StreamKind::Diff,
        SourceFormat::RbdExport => StreamKind::Chain,
    };
    let (path, pipe) = (args.source.clone(), is_pipe(args));
    let opened = on_thread("source", move || match pipe {
        true => StreamInput::once(Box::new(standard_input()?), "standard input", kind),
        false => StreamInput::file(&path, kind),
    });
    let snapshot = args.base_snapshot.as_ref().map(ToString::to_string);
    let stream = PassThrough::new(opened.await??, KnownBase { snapshot, root: args.base_root }, args.size);
    let (found, named) = (stream.snapshots(), args.snapshot.len() as u64);
    if found != named {
        return Err(ClientError::Usage(format!("the stream has {found} snapshots, --snapshot names {named}")));
    }
    let name = stream.name().filter(|_| kind == StreamKind::Diff).map(str::to_owned);
    Ok((Box::new(stream), name))
}

fn image(args: &SendArgs) -> Result<Image, ClientError> {
    let bases = args.base.iter().filter(|_| !args.full);
    let bases = bases.map(|base| Base { id: base.id.clone(), path: base.file.clone() }).collect();
    match args.size {
        Some(size) => Ok(Image::pipe(Box::new(standard_input()?), size, "standard input", bases)),
        None => Image::file(args.source.clone(), bases),
    }
}

/// Without the small buffer and the lock of the library's handle.
fn standard_input() -> Result<File, ClientError> {
    let duplicate = std::io::stdin().as_fd().try_clone_to_owned();
    duplicate.map(File::from).map_err(ClientError::local("open", "standard input"))
}
