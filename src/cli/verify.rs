//! `rsnap verify`.

use std::path::Path;
use std::sync::Arc;

use super::args::{CephArgs, OtherArgs, VerifyArgs, VolumeArgs, location};
use super::connect::{gateway, other_gateway};
use super::output::{Output, Stream};
use crate::client::source::{Access, RbdSnapshot};
use crate::client::verify::{self as engine, Held, Other};
use crate::client::{ClientError, on_thread};
use crate::id::SnapshotId;
use crate::retry::Backoff;

pub(super) async fn verify(args: &VerifyArgs, output: &Output) -> Result<(), ClientError> {
    let backoff = Backoff { retries: args.retries, ..Backoff::default() };
    let one = held(&args.volume, &args.snapshot)?;
    let there = other_site(&args.other, &one)?;
    let mut faults = Vec::new();
    for held in [Some(&one), there.as_ref()].into_iter().flatten().filter(|_| args.deep) {
        let reporter = output.reporter(Stream::Answers);
        let checked = engine::check(held, engine::LISTED, backoff, &*reporter).await?;
        reporter.end();
        output.checked(&checked)?;
        if !checked.intact {
            faults.push(format!("snapshot {} is damaged", checked.side.name));
        }
    }
    let other = match (there, &args.source) {
        (Some(held), _) => Some(Other::Held(held)),
        (None, Some(source)) => Some(local(source, &args.ceph).await?),
        (None, None) => None,
    };
    if let Some(other) = other {
        let reporter = output.reporter(Stream::Answers);
        let comparison = engine::compare(one, other, backoff, &*reporter).await?;
        reporter.end();
        output.comparison(&comparison)?;
        if !comparison.equal {
            faults.push(format!("{} and {} differ", comparison.one.name, comparison.other.name));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(ClientError::Differs(faults.join("; "))) }
}

/// What the gateway of the arguments holds.
pub(super) fn held(volume: &VolumeArgs, snapshot: &SnapshotId) -> Result<Held, ClientError> {
    Ok(Held { gateway: gateway(&volume.connect)?, volume: volume.volume.clone(), snapshot: snapshot.clone() })
}

/// The same snapshot at the other site.
pub(super) fn other_site(args: &OtherArgs, one: &Held) -> Result<Option<Held>, ClientError> {
    let Some(connect) = args.connect() else { return Ok(None) };
    Ok(Some(Held {
        gateway: other_gateway(&connect)?,
        volume: args.other_volume.clone().unwrap_or_else(|| one.volume.clone()),
        snapshot: args.other_snapshot.clone().unwrap_or_else(|| one.snapshot.clone()),
    }))
}

/// An image that lies here.
pub(super) async fn local(source: &Path, ceph: &CephArgs) -> Result<Other, ClientError> {
    let Some(location) = location(source).map_err(|fault| ClientError::Usage(fault.to_string()))? else {
        return Ok(Other::File(source.to_owned()));
    };
    let CephArgs { ceph_conf: configuration, ceph_user: user, ceph_keyring: keyring } = ceph.clone();
    let access = Access { configuration, user, keyring };
    let snapshot = on_thread("source", move || RbdSnapshot::open(location, &access)).await??;
    Ok(Other::Ceph(Arc::new(snapshot)))
}
