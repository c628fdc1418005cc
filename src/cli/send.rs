//! `rsnap send` and `rsnap plan`.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use super::args::{BaseArg, CephArgs, Compress, SendArgs, SourceFormat};
use super::connect::{limited, target};
use super::output::{Output, Stream};
use crate::api::Action;
use crate::client::send::{self as engine, Base, Image, Job, KnownBase, Material, PassThrough, RbdBase, RbdImage};
use crate::client::source::{Access, Location, RbdSnapshot, StreamInput, StreamKind};
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
        gateway: limited(target(args)?, &args.limit)?,
        volume: args.volume.clone(),
        snapshots: args.snapshot.clone(),
        source_volume: args.source_volume.clone(),
        source_snapshot: args.source_snapshot.clone().or(name).unwrap_or(snapshot),
        material,
        backoff: Backoff { retries: args.retries, ..Backoff::default() },
        streams: args.streams.map(usize::from),
        compress: compress(args),
    })
}

fn compress(args: &SendArgs) -> engine::Compress {
    match args.compress {
        Compress::Auto => engine::Compress::Auto,
        Compress::Always => engine::Compress::Always,
        Compress::Never => engine::Compress::Never,
    }
}

/// Refuses options that would have no effect: whoever gave them expects one.
fn check(args: &SendArgs) -> Result<(), ClientError> {
    let refuse = |what: &str| Err(ClientError::Usage(what.to_owned()));
    let raw = args.format == SourceFormat::Raw;
    if !raw && !args.base.is_empty() {
        return refuse("--base is for a raw SOURCE; an rbd-diff was made from its base already");
    }
    check_ceph(args)?;
    if args.format != SourceFormat::RbdDiff && (args.base_snapshot.is_some() || args.base_root.is_some()) {
        return refuse("--base-snapshot and --base-root are for --format rbd-diff");
    }
    if args.format == SourceFormat::RbdExport && args.compress == Compress::Always {
        return refuse("--compress is not for --format rbd-export");
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

/// What only a snapshot in Ceph has, and what it does not have.
fn check_ceph(args: &SendArgs) -> Result<(), ClientError> {
    let refuse = |what: &str| Err(ClientError::Usage(what.to_owned()));
    let location = args.location().map_err(|fault| ClientError::Usage(fault.to_string()))?;
    let ceph = &args.ceph;
    match location {
        Some(_) if args.format != SourceFormat::Raw => refuse("--format is for files and streams, not for rbd:…"),
        Some(_) if args.size.is_some() => refuse("--size is for standard input; a snapshot in Ceph tells its own"),
        None if ceph.ceph_conf.is_some() || ceph.ceph_user.is_some() || ceph.ceph_keyring.is_some() => {
            refuse("--ceph-conf, --ceph-user and --ceph-keyring are for a SOURCE in Ceph, rbd:…")
        }
        _ => Ok(()),
    }
}

fn is_pipe(args: &SendArgs) -> bool {
    args.source == Path::new("-")
}

/// What is sent, and the name of the snapshot in it.
async fn material(args: &SendArgs) -> Result<(Box<dyn Material>, Option<String>), ClientError> {
    if let Some(location) = args.location().map_err(|fault| ClientError::Usage(fault.to_string()))? {
        let name = location.snapshot.clone();
        return Ok((Box::new(rbd(args, location).await?), Some(name)));
    }
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
    let stream =
        PassThrough::new(opened.await??, KnownBase { snapshot, root: args.base_root }, args.size.map(|size| size.0));
    let (found, named) = (stream.snapshots(), args.snapshot.len() as u64);
    if found != named {
        return Err(ClientError::Usage(format!("the stream has {found} snapshots, --snapshot names {named}")));
    }
    let name = stream.name().filter(|_| kind == StreamKind::Diff).map(str::to_owned);
    Ok((Box::new(stream), name))
}

/// A snapshot in Ceph, with the earlier ones of its image that may be bases.
async fn rbd(args: &SendArgs, location: Location) -> Result<RbdImage, ClientError> {
    let wanted = args.base.iter().map(|base| named(base, &location)).collect::<Result<Vec<_>, _>>()?;
    let CephArgs { ceph_conf: configuration, ceph_user: user, ceph_keyring: keyring } = args.ceph.clone();
    let access = Access { configuration, user, keyring };
    let snapshot = on_thread("source", move || RbdSnapshot::open(location, &access)).await??;
    let bases = match (args.full, wanted.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => {
            snapshot.earlier().iter().map(|one| RbdBase { id: one.name.clone(), snapshot: one.clone() }).collect()
        }
        (false, false) => wanted.iter().map(|(id, name)| found(&snapshot, id, name)).collect::<Result<_, _>>()?,
    };
    let image = RbdImage::new(snapshot, bases);
    Ok(if args.full { image.in_full() } else { image })
}

/// The id and the name of a base of a snapshot in Ceph.
fn named(base: &BaseArg, source: &Location) -> Result<(String, String), ClientError> {
    match base {
        BaseArg::Name(name) => Ok((name.clone(), name.clone())),
        BaseArg::Ceph { id, location } if location.is_sibling(source) => {
            let name = location.snapshot.clone();
            Ok((id.clone().unwrap_or_else(|| name.clone()), name))
        }
        BaseArg::Ceph { location, .. } => {
            Err(ClientError::Usage(format!("{location} is not a snapshot of the same image as {source}")))
        }
        BaseArg::File { .. } => Err(ClientError::Usage(
            "the base of a snapshot in Ceph is an earlier one of its image: --base SNAPSHOT".to_owned(),
        )),
    }
}

fn found(snapshot: &RbdSnapshot, id: &str, name: &str) -> Result<RbdBase, ClientError> {
    let earlier = snapshot.earlier().iter().find(|earlier| earlier.name == name).cloned();
    let missing = || ClientError::Usage(format!("{} has no earlier snapshot {name}", snapshot.location()));
    Ok(RbdBase { id: id.to_owned(), snapshot: earlier.ok_or_else(missing)? })
}

fn image(args: &SendArgs) -> Result<Image, ClientError> {
    let bases = args.base.iter().filter(|_| !args.full).map(|base| match base {
        BaseArg::File { id, file } => Ok(Base { id: id.clone(), path: file.clone() }),
        BaseArg::Ceph { .. } => Err(ClientError::Usage("a base in Ceph is for a SOURCE in Ceph".to_owned())),
        BaseArg::Name(name) => {
            let text = format!("write --base ID={name}: the source's id of the snapshot, and its raw image");
            Err(ClientError::Usage(text))
        }
    });
    let bases = bases.collect::<Result<_, _>>()?;
    let image = match args.size {
        Some(size) => Image::pipe(Box::new(standard_input()?), size.0, "standard input", bases),
        None => Image::file(args.source.clone(), bases)?,
    };
    Ok(if args.full { image.in_full() } else { image })
}

/// Without the small buffer and the lock of the library's handle.
fn standard_input() -> Result<File, ClientError> {
    let duplicate = std::io::stdin().as_fd().try_clone_to_owned();
    duplicate.map(File::from).map_err(ClientError::local("open", "standard input"))
}
