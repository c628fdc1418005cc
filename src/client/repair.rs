//! Sending what is damaged at a gateway again, from a site or an image that still has it.
//!
//! Only what the gateway itself names after reading all it has stored is sent. Whether it is right is not decided here:
//! the gateway takes nothing but the bytes whose hashes its tree records, so a source that is wrong, or lies, is refused.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::header::RANGE;
use http::{HeaderMap, HeaderValue, StatusCode};
use rsnap_wire::rbd_diff as encoder;
use serde::Serialize;

use super::gateway::snapshot_path;
use super::progress::telling;
use super::send::next_wait;
use super::source::ImageFile;
use super::thread::on_thread;
use super::verify::{Checked, Extent, Held, Other, Side, check};
use super::{ClientError, Meter, Permission, Reporter, Stage};
use crate::api::{CONTENT_ROOT, RBD_DIFF, RepairAnswer, SnapshotAnswer};
use crate::retry::Backoff;

/// Damaged extents that one repair mends; where there are more, it says so and is run again.
const EXTENTS: usize = 100_000;
/// Bytes that one request carries, all of them in memory.
const REQUEST: u64 = 8 << 20;
/// Pieces that are read from the intact site at once.
const AT_ONCE: usize = 4;

/// How a repair ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repaired {
    #[serde(flatten)]
    pub side: Side,
    /// Bytes of the damaged extents, which were sent.
    pub damaged: u64,
    /// Bytes that the gateway found wrong among these and wrote.
    pub written: u64,
    /// Bytes that went to the damaged site.
    pub sent: u64,
    /// Bytes that cannot be mended, because the content tree is damaged there or there are too many at once.
    pub unmendable: u64,
}

/// Finds what is damaged at `damaged` and sends it again from `intact`.
pub async fn repair(
    damaged: &Held,
    intact: &Other,
    backoff: Backoff,
    reporter: &dyn Reporter,
) -> Result<Repaired, ClientError> {
    let checked = check(damaged, EXTENTS, backoff, reporter).await?;
    let mendable = |extent: &&Extent| extent.damage.as_ref().is_some_and(|damage| damage.mendable);
    let requests = requests(checked.extents.extents.iter().filter(mendable));
    let mut source = Source { intact, known: None, size: checked.side.size, root: checked.side.root.clone(), backoff };
    source.compare().await?;
    let meter = Arc::new(Meter::default());
    let total = requests.iter().flatten().map(|(_, length)| length).sum();
    let work = send_all(damaged, &source, &requests, &meter);
    let mended = telling(reporter, Stage::Repairing, damaged.snapshot.as_str(), total, &meter, work).await?;
    let unmendable = checked.extents.bytes - total;
    let Checked { side, .. } = checked;
    Ok(Repaired { side, damaged: total, written: mended.written, sent: meter.moved(), unmendable })
}

/// Where the right bytes come from.
struct Source<'a> {
    intact: &'a Other,
    /// What the other gateway says of it.
    known: Option<SnapshotAnswer>,
    size: u64,
    root: String,
    backoff: Backoff,
}

impl Source<'_> {
    /// Refuses what cannot help, before anything is read there.
    async fn compare(&mut self) -> Result<(), ClientError> {
        match self.intact {
            Other::Held(held) => {
                let known = held.gateway.find(&held.volume, &held.snapshot).await?;
                if known.root != self.root {
                    let text = format!("{} has other content: it cannot mend this one", held.name());
                    return Err(ClientError::Plan(text));
                }
                self.known = Some(known);
                Ok(())
            }
            Other::File(path) => {
                let size = ImageFile::open(path).map(|image| super::source::Blocks::size(&image))?;
                self.compare_size(&path.display().to_string(), size)
            }
            Other::Ceph(snapshot) => self.compare_size(&snapshot.location().to_string(), snapshot.size()),
        }
    }

    fn compare_size(&self, name: &str, size: u64) -> Result<(), ClientError> {
        match size == self.size {
            true => Ok(()),
            false => Err(ClientError::Plan(format!("{name} has {size} bytes, the snapshot {}", self.size))),
        }
    }

    /// The bytes of one piece.
    async fn read(&self, (offset, length): (u64, u64)) -> Result<Bytes, ClientError> {
        match self.intact {
            Other::Held(held) => retried(self.backoff, || self.fetch(held, offset, length)).await,
            Other::File(path) => {
                let path = path.clone();
                on_thread("source", move || ImageFile::open(&path)?.piece(offset, length)).await?
            }
            Other::Ceph(snapshot) => {
                let snapshot = Arc::clone(snapshot);
                on_thread("source", move || snapshot.piece(offset, length)).await?
            }
        }
    }

    async fn fetch(&self, held: &Held, offset: u64, length: u64) -> Result<Bytes, ClientError> {
        let (volume, snapshots) = (held.volume.clone(), vec![held.snapshot.clone()]);
        let ticketed = held.gateway.ticket(&Permission { volume, snapshots, size: self.size }).await?;
        let range = format!("bytes={offset}-{}", offset + length - 1);
        let range = HeaderValue::from_str(&range).map_err(|fault| ClientError::Usage(fault.to_string()))?;
        let path = snapshot_path(&held.volume, &held.snapshot);
        let answer = ticketed.gateway.get(&path, HeaderMap::from_iter([(RANGE, range)])).await?.success().await?;
        if answer.status() != StatusCode::PARTIAL_CONTENT || answer.header(CONTENT_ROOT) != Some(&*self.root) {
            return Err(ClientError::Protocol("it is not the range that was asked for".to_owned()));
        }
        let body = answer.document(usize::try_from(length).unwrap_or(usize::MAX)).await?;
        match body.len() as u64 == length {
            true => Ok(body),
            false => Err(ClientError::Cut(format!("{} of {length} bytes came", body.len()))),
        }
    }
}

/// Pieces of the extents, as many in each request as it carries.
fn requests<'a>(extents: impl Iterator<Item = &'a Extent>) -> Vec<Vec<(u64, u64)>> {
    let mut requests: Vec<Vec<(u64, u64)>> = Vec::new();
    let mut room = 0;
    for extent in extents {
        let (mut offset, mut left) = (extent.offset, extent.length);
        while left > 0 {
            if room == 0 {
                requests.push(Vec::new());
                room = REQUEST;
            }
            // Extents begin and end at leaves, and so do requests.
            let now = left.min(room);
            if let Some(request) = requests.last_mut() {
                request.push((offset, now));
            }
            (offset, left, room) = (offset + now, left - now, room - now);
        }
    }
    requests
}

async fn send_all(
    damaged: &Held,
    source: &Source<'_>,
    requests: &[Vec<(u64, u64)>],
    meter: &Meter,
) -> Result<RepairAnswer, ClientError> {
    let mut all = RepairAnswer { received: 0, written: 0 };
    for pieces in requests {
        let reads: Vec<(u64, u64)> = pieces.clone();
        let reads = reads.into_iter().map(|piece| source.read(piece));
        let read: Vec<Bytes> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        let body = body(source.size, pieces, &read)?;
        let answer = retried(source.backoff, || post(damaged, source.size, &body)).await?;
        meter.count(body.len() as u64);
        all.received += answer.received;
        all.written += answer.written;
        meter.reach(all.received);
    }
    Ok(all)
}

fn body(size: u64, pieces: &[(u64, u64)], read: &[Bytes]) -> Result<Bytes, ClientError> {
    let header = encoder::Header { from: None, to: None, size };
    let mut body = BytesMut::new();
    body.put_slice(&header.encode().map_err(|fault| ClientError::Usage(fault.to_string()))?);
    for ((offset, length), bytes) in pieces.iter().zip(read) {
        body.put_slice(&encoder::data(*offset, *length));
        body.put_slice(bytes);
    }
    body.put_slice(encoder::END);
    Ok(body.freeze())
}

async fn post(damaged: &Held, size: u64, body: &Bytes) -> Result<RepairAnswer, ClientError> {
    let (volume, snapshots) = (damaged.volume.clone(), vec![damaged.snapshot.clone()]);
    let ticketed = damaged.gateway.ticket(&Permission { volume, snapshots, size }).await?;
    let path = format!("{}/repair", snapshot_path(&damaged.volume, &damaged.snapshot));
    ticketed.gateway.post_bytes(&path, RBD_DIFF, body.clone()).await?.json().await
}

/// Again as long as it may heal.
async fn retried<T, F: Future<Output = Result<T, ClientError>>>(
    backoff: Backoff,
    mut work: impl FnMut() -> F,
) -> Result<T, ClientError> {
    let mut retry = 0;
    loop {
        let error = match work().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        retry += 1;
        let Some(wait) = next_wait(&error, backoff, retry) else { return Err(error) };
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_carry_all_and_not_too_much() {
        let extent = |offset, length| Extent { offset, length, damage: None };
        let extents = [extent(0, 65_536), extent(1 << 20, 3 * REQUEST), extent(1 << 30, 5)];
        let requests = requests(extents.iter());
        let sizes: Vec<u64> = requests.iter().map(|pieces| pieces.iter().map(|(_, length)| length).sum()).collect();
        assert_eq!(sizes, [REQUEST, REQUEST, REQUEST, 65_536 + 5]);
        assert_eq!((requests[0][0], requests[0][1]), ((0, 65_536), (1 << 20, REQUEST - 65_536)));
        assert_eq!(requests[3].last(), Some(&(1 << 30, 5)));
    }
}
