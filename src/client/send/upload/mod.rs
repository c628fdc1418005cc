//! Sending an image as an upload: what is durable at the gateway's site is not sent again, whoever began it.
//!
//! Every try begins like the first one of a new process: ask for a gateway, ask for the plan, ask what is there of this
//! snapshot, and send what is missing. So a broken connection, another gateway and a death of our own are one case, and
//! there is no state file to lose. The missing ranges are cut into pieces and sent over several connections at once.
//!
//! Where the storage keeps no unfinished transfers, the snapshot goes with one PUT as ever.

mod piece;
mod schedule;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::attempt::{source_headers, verify};
use super::material::{Choice, Pieces};
use super::packing::Packing;
use super::writer::value;
use super::{Job, Run};
use crate::api::{self, SnapshotAnswer, UploadAnswer};
use crate::client::progress::{Streams, telling, telling_streams};
use crate::client::{ClientError, Event, Heal, Meter, Outcome, Stage, Ticketed, kind, on_thread};
use crate::content::Root;
use crate::image::Ranges;
use piece::Sent;

/// Images below this go with one PUT: that is all that could be sent twice.
pub(super) const WINDOW: u64 = 8 << 20;

/// What a job remembers of its upload between tries.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What is sent, with the hashes of what was read; kept as long as the choice is the same.
    source: Option<(Choice, Arc<dyn Pieces>)>,
    /// The path of the upload that this process began or went on with.
    path: Option<String>,
    /// It was begun by another process, so what is there need not be what we have.
    inherited: bool,
    /// An inherited one was given up: the next one is our own.
    restarted: bool,
    /// Pieces that broke off: how many bytes went out at which place.
    broken: Vec<Sent>,
    /// Bytes that were sent and have to be sent again.
    again: u64,
    /// Bytes that went over the network.
    moved: u64,
    /// Something became durable since the last time that it was looked at.
    progressed: bool,
    /// The gateway keeps no unfinished transfers.
    refused: bool,
    /// It was asked again once about a snapshot that the plan did not know of and that was there a moment later.
    surprised: bool,
    /// What this process has read, and so hashed. What is durable need not be among it, and may become more at any time
    /// while a gateway still takes what an earlier process has sent.
    read: Ranges,
}

impl Memory {
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Bytes that went over the network.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Counts what went out and is not there.
    fn settle(&mut self, durable: &[Range<u64>]) {
        for sent in std::mem::take(&mut self.broken) {
            let there = durable.iter().find(|range| range.contains(&sent.start)).map_or(sent.start, |range| range.end);
            self.again += sent.beyond(there);
            self.progressed |= there > sent.start;
            self.read.insert(sent.start..there.min(sent.reached()));
        }
    }
}

impl Run<'_> {
    /// Sends what is missing, and asks for the commit. `None`: the gateway wants one PUT.
    pub(super) async fn upload(
        &mut self,
        ticketed: &Ticketed,
        choice: &Choice,
        pieces: Arc<dyn Pieces>,
    ) -> Result<Option<Outcome>, ClientError> {
        self.job.material.hold().await?;
        let pieces = self.source(choice, pieces);
        let ended = self.go_on(ticketed, choice, &pieces).await;
        match ended {
            Err(error) if self.memory.inherited && is_hopeless(&error) && !self.memory.restarted => {
                self.give_up(ticketed).await;
                self.memory.restarted = true;
                Err(ClientError::Cut(format!("what was there of it cannot be gone on with ({error})")))
            }
            other => other,
        }
    }

    /// The source with the hashes that are known of it, as long as the same is sent.
    fn source(&mut self, choice: &Choice, pieces: Arc<dyn Pieces>) -> Arc<dyn Pieces> {
        match &self.memory.source {
            Some((same, there)) if same == choice => Arc::clone(there),
            _ => {
                self.memory.source = Some((choice.clone(), Arc::clone(&pieces)));
                self.memory.read = Ranges::default();
                self.memory.path = None;
                pieces
            }
        }
    }

    async fn go_on(
        &mut self,
        ticketed: &Ticketed,
        choice: &Choice,
        pieces: &Arc<dyn Pieces>,
    ) -> Result<Option<Outcome>, ClientError> {
        // A long way is gone twice at once.
        let (there, round_trip) =
            futures_util::future::join(self.find_or_begin(ticketed, choice), ticketed.gateway.round_trip()).await;
        let Some(there) = there? else {
            self.memory.refused = true;
            return Ok(None);
        };
        let size = self.job.material.size();
        let durable: Vec<Range<u64>> = there.durable.iter().map(|range| range.start..range.end).collect();
        self.memory.settle(&durable);
        let streams = schedule::streams(self.job.streams, round_trip);
        let waiting = schedule::pieces(&durable, size, streams);
        self.send_pieces(ticketed, &there.path, pieces, waiting, (size, streams)).await?;
        let root = self.root(pieces).await?;
        let snapshot = self.complete(ticketed, &there.path, root).await?;
        verify(std::slice::from_ref(&snapshot), root)?;
        self.sent = true;
        self.root = root.or(self.root);
        Ok(Some(Outcome::Committed { snapshots: vec![snapshot], moved: self.memory.moved, again: self.memory.again }))
    }

    /// The unfinished upload of this very content, as far as can be told; else a new one.
    async fn find_or_begin(
        &mut self,
        ticketed: &Ticketed,
        choice: &Choice,
    ) -> Result<Option<UploadAnswer>, ClientError> {
        let snapshot = self.job.snapshot()?.clone();
        let there = ticketed.gateway.uploads(&self.job.volume, &snapshot).await?;
        let Some(there) = there else { return Ok(None) };
        let fits = |upload: &&UploadAnswer| upload.committed.is_none() && self.fits(upload, choice);
        if let Some(found) = there.uploads.iter().find(fits) {
            if self.memory.path.as_deref() != Some(&*found.path) {
                self.memory.inherited = true;
                self.memory.path = Some(found.path.clone());
                self.tell_inherited(found);
            }
            return Ok(Some(found.clone()));
        }
        let headers = begin_headers(self.job, choice)?;
        let begun = ticketed.gateway.begin_upload(&self.job.volume, &snapshot, headers).await;
        let Some(path) = begun.map_err(|error| self.unless_surprised(error))? else { return Ok(None) };
        self.memory.inherited = false;
        self.memory.path = Some(path.clone());
        let begun = |upload: &UploadAnswer| upload.path == path;
        let there = ticketed.gateway.uploads(&self.job.volume, &snapshot).await?;
        let found = there.and_then(|there| there.uploads.into_iter().find(begun));
        found.map(Some).ok_or_else(|| ClientError::Protocol("the upload that it began is not there".to_owned()))
    }

    /// Whoever started the command again is to see that it was not for nothing.
    fn tell_inherited(&self, found: &UploadAnswer) {
        let there: u64 = found.durable.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        let percent = u128::from(there) * 100 / u128::from(found.size.max(1));
        if there > 0 {
            let text = format!("goes on where an earlier try ended: {percent}% of the image are there");
            self.reporter.tell(&Event::Note { text });
        }
    }

    /// Our own commit, whose answer was lost, may have ended after the plan was asked for: another plan knows.
    fn unless_surprised(&mut self, error: ClientError) -> ClientError {
        match &error {
            ClientError::Refused { problem, .. } if kind(problem) == "exists" && !self.memory.surprised => {
                self.memory.surprised = true;
                ClientError::Cut(format!("the snapshot came to be since the plan was made ({error})"))
            }
            _ => error,
        }
    }

    fn fits(&self, upload: &UploadAnswer, choice: &Choice) -> bool {
        let job = &*self.job;
        let base = match choice {
            Choice::Since(base) => Some(base.snapshot.as_str()),
            _ => None,
        };
        upload.size == job.material.size()
            && upload.base.as_deref() == base
            && upload.source_volume == job.source_volume
            && upload.source_snapshot.as_deref() == Some(&*job.source_snapshot)
            && upload.source_mark == job.material.mark()
    }

    async fn send_pieces(
        &mut self,
        ticketed: &Ticketed,
        path: &str,
        pieces: &Arc<dyn Pieces>,
        waiting: VecDeque<Range<u64>>,
        (size, streams): (u64, usize),
    ) -> Result<(), ClientError> {
        let missing: u64 = waiting.iter().map(|range| range.end - range.start).sum();
        let waiting = Mutex::new(waiting);
        let shown = Streams::new(size - missing);
        let packing = self.packing(ticketed);
        let one = || stream(ticketed, path, (pieces, packing), &waiting, &shown);
        let all = futures_util::future::join_all((0..streams).map(|_| one()));
        let name = self.job.snapshot()?.to_string();
        let ended = telling_streams(self.reporter, Stage::Sending, &name, size, &shown, all).await;
        self.memory.moved += shown.moved();
        let (mut fault, mut done) = (None, false);
        for (result, whole, broken) in ended {
            self.memory.broken.extend(broken);
            for range in whole {
                done = true;
                self.memory.read.insert(range);
            }
            if let Err(error) = result {
                fault = Some(prefer(fault, error));
            }
        }
        self.memory.progressed |= done;
        fault.map_or(Ok(()), Err)
    }

    /// The content root of the source, for which what is there and was not sent is read.
    async fn root(&mut self, pieces: &Arc<dyn Pieces>) -> Result<Option<Root>, ClientError> {
        let size = self.job.material.size();
        let unread = if pieces.has_root() { self.memory.read.gaps(size) } else { Vec::new() };
        let (source, meter) = (Arc::clone(pieces), Arc::new(Meter::default()));
        let counted = Arc::clone(&meter);
        let work = on_thread("proof", move || {
            for range in unread {
                source.read(range, &counted)?;
            }
            source.prove()?;
            Ok(source.root())
        });
        let name = self.job.snapshot()?.to_string();
        let root = telling(self.reporter, Stage::Proving, &name, size, &meter, work).await?;
        self.memory.read.insert(0..size);
        root
    }

    async fn complete(
        &self,
        ticketed: &Ticketed,
        path: &str,
        root: Option<Root>,
    ) -> Result<SnapshotAnswer, ClientError> {
        let mut headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/partial-upload")),
            (HeaderName::from_static("upload-offset"), HeaderValue::from(self.job.material.size())),
            (HeaderName::from_static("upload-complete"), HeaderValue::from_static("?1")),
        ]);
        if let Some(root) = root {
            headers.insert(HeaderName::from_static(api::CONTENT_ROOT), value(&root.to_string())?);
        }
        ticketed.gateway.complete_upload(path, headers).await
    }

    async fn give_up(&mut self, ticketed: &Ticketed) {
        let Some(path) = self.memory.path.take() else { return };
        match ticketed.gateway.cancel_upload(&path).await {
            Ok(()) => {}
            Err(ClientError::Refused { problem, .. }) if problem.status == StatusCode::NOT_FOUND.as_u16() => {}
            Err(error) => {
                let text = format!("the unfinished transfer stays there: {error}");
                self.reporter.tell(&Event::Note { text });
            }
        }
    }
}

/// One connection after the other, until nothing waits; which pieces were whole, and what broke off.
async fn stream(
    ticketed: &Ticketed,
    path: &str,
    (pieces, packing): (&Arc<dyn Pieces>, Packing),
    waiting: &Mutex<VecDeque<Range<u64>>>,
    shown: &Streams,
) -> (Result<(), ClientError>, Vec<Range<u64>>, Option<Sent>) {
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut whole = Vec::new();
    while let Some(range) = next() {
        match piece::send(ticketed, path, (Arc::clone(pieces), packing), range.clone(), shown).await {
            Ok(()) => whole.push(range),
            Err((error, sent)) => {
                // The others end with the pieces that they have.
                waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
                return (Err(error), whole, sent);
            }
        }
    }
    (Ok(()), whole, None)
}

/// Of several streams' errors, the one that says most: what will not heal, and is no consequence of another one.
fn prefer(there: Option<ClientError>, new: ClientError) -> ClientError {
    let is_shut_out =
        |error: &ClientError| matches!(error, ClientError::Refused { problem, .. } if kind(problem) == "overtaken");
    match there {
        Some(there) if is_shut_out(&new) || there.heal() == Heal::Never && !is_shut_out(&there) => there,
        _ => new,
    }
}

/// Whether an upload that another process began is of no use to us.
fn is_hopeless(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { problem, .. } => {
            let hopeless = [
                "digest-mismatch",
                "base-missing",
                "base-changed",
                "base-mismatch",
                "size-not-allowed",
                "damaged",
                "no-upload",
            ];
            hopeless.contains(&kind(problem)) || problem.status == StatusCode::GONE.as_u16()
        }
        _ => false,
    }
}

fn begin_headers(job: &Job, choice: &Choice) -> Result<HeaderMap, ClientError> {
    let mut headers = source_headers(job, choice)?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(api::RBD_DIFF));
    headers.insert(HeaderName::from_static("upload-complete"), HeaderValue::from_static("?0"));
    headers.insert(HeaderName::from_static("upload-length"), HeaderValue::from(job.material.size()));
    Ok(headers)
}
