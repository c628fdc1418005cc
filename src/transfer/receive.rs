//! Receiving one snapshot: stage → flush → verify → commit, and nothing visible before.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use rsnap_wire::{Event, SnapshotDecoder};

use super::digest::BodyCheck;
use super::registry::Registered;
use super::sink::Sink;
use super::state::State;
use super::{Body, BodyError, Format, TransferError, Transfers, Upload, base};
use crate::api;
use crate::content::Root;
use crate::id::ImageName;
use crate::image::{Committed, Identity, ImageStore, Ingested, Sealed, SnapshotRecord};
use crate::metrics::Outcome;
use crate::plugin::{Decision, PolicyRequest, SourceSnapshot, TransferDescription, Writer};

/// What a stream says before its first extent.
#[derive(Debug, Default)]
struct Prelude {
    from: Option<String>,
    to: Option<String>,
    size: Option<u64>,
}

impl Transfers {
    /// Checks everything that can be refused before the body is read. Gives `Some` when the snapshot is there already
    /// with the content that the sender announced, so that the body need not be sent.
    pub async fn admit(&self, upload: &Upload) -> Result<Option<Committed>, TransferError> {
        let (store, image) = self.locate(&upload.volume).await?;
        refuse_deleted(store.as_ref(), &image, upload).await?;
        let chain = store.chain(&image).await?;
        if let Some(there) = chain.find(&upload.snapshot)
            && let Some(committed) = already(there, upload)?
            && store.confirm(&image, &upload.snapshot).await?
        {
            return Ok(Some(committed));
        }
        if upload.base.snapshot.is_some() && upload.format == Format::Raw {
            let text = "a raw image is a full snapshot: send the change as application/vnd.ceph.rbd-diff, or leave out Rsnap-Base";
            return Err(TransferError::Request(text.to_owned()));
        }
        if let Some(named) = &upload.base.snapshot {
            let name = chain.find(named).map(|record| base::source_name(record).to_owned());
            base::resolve(upload, Some(name.as_deref().unwrap_or_default()), &chain)?;
        }
        if upload.format == Format::Raw {
            raw_size(upload)?;
        }
        self.registry.has_room()?;
        Ok(None)
    }

    /// Receives one snapshot. Not cancel-safe: run it on the drain's tracker.
    pub async fn receive(&self, upload: Upload, body: &mut dyn Body) -> Result<Committed, TransferError> {
        let (volume, snapshot) = (upload.volume.clone(), upload.snapshot.clone());
        let mut reception = self.start(upload).await?;
        let counted = self.load.enter();
        let result = reception.run(body).await;
        if let Err(fault) = &result {
            reception.fail(fault).await;
        }
        drop(reception);
        counted.leave().await;
        if result.is_ok() {
            self.drop_uploads(&volume, &snapshot).await;
        }
        result
    }

    /// Counts the transfer and lets it receive.
    pub(super) async fn start(&self, upload: Upload) -> Result<Reception<'_>, TransferError> {
        let writer = self.writer.now();
        let (store, image) = self.locate_by(writer.as_ref(), &upload.volume).await?;
        refuse_deleted(store.as_ref(), &image, &upload).await?;
        let registered = self.registry.enter(&upload)?;
        registered.advance(State::Receiving)?;
        let (store, prelude) = (Arc::clone(store), Prelude::default());
        Ok(Reception { transfers: self, writer, store, image, upload, registered, prelude, sink: None })
    }

    /// A policy may refuse what a sender does without having asked for a plan.
    pub(super) async fn ask_policy(
        &self,
        upload: &Upload,
        size: u64,
        base: Option<&SnapshotRecord>,
        chain: &crate::image::Chain,
    ) -> Result<(), TransferError> {
        let wanted_id = upload.source.source_snapshot.clone().unwrap_or_else(|| upload.snapshot.to_string());
        let wanted = SourceSnapshot { id: wanted_id, size, root: upload.root.map(|root| root.to_string()) };
        let before = base.map(|record| SourceSnapshot {
            id: base::source_name(record).to_owned(),
            size: record.size,
            root: Some(record.root.to_string()),
        });
        let request = PolicyRequest {
            volume: upload.volume.clone(),
            snapshot: upload.snapshot.clone(),
            source_volume: upload.source.source_volume.clone(),
            source: before.into_iter().chain([wanted.clone()]).collect(),
            wanted,
            target: super::plan::targets(chain),
        };
        let policy = self.policy.now();
        let plan = policy.decide(&request).await?;
        let disagrees = |reason| Err(TransferError::Policy { policy: policy.name().to_owned(), reason });
        match plan.decision {
            Decision::Refused => disagrees(plan.reason),
            Decision::Full if base.is_some() => {
                disagrees(format!("it wants a full snapshot and this stream is a change: {}", plan.reason))
            }
            _ => Ok(()),
        }
    }
}

/// A permission cannot make again what was deleted since it was issued.
pub(super) async fn refuse_deleted(
    store: &dyn ImageStore,
    image: &ImageName,
    upload: &Upload,
) -> Result<(), TransferError> {
    match store.deleted(image, &upload.snapshot).await? {
        Some(deleted) if deleted >= upload.issued => Err(TransferError::Deleted(upload.snapshot.clone())),
        _ => Ok(()),
    }
}

/// The snapshot that is there, if the sender announced its content; another content is an error. Marks that differ say
/// nothing: then the stream is taken and compared.
pub(super) fn already(there: &SnapshotRecord, upload: &Upload) -> Result<Option<Committed>, TransferError> {
    let mark = upload.source.source_mark.as_ref();
    let same = match upload.root {
        Some(root) if root != there.root => {
            let (snapshot, root) = (there.snapshot.clone(), there.root);
            return Err(crate::image::ImageError::Exists { snapshot, root }.into());
        }
        Some(_) => true,
        None => there.identity.has_mark(mark, upload.sender.as_deref()),
    };
    Ok(same.then(|| Committed::Already(there.clone())))
}

/// A raw stream has no size of its own: the declared length, or the size that the permission is for.
fn raw_size(upload: &Upload) -> Result<u64, TransferError> {
    let size = upload.length.or(upload.size).ok_or_else(|| {
        TransferError::Request("a raw image needs a Content-Length, or a ticket with its size".to_owned())
    })?;
    match upload.size.filter(|allowed| size > *allowed) {
        Some(allowed) => Err(TransferError::Size { size, allowed }),
        None => Ok(size),
    }
}

/// A raw image may be anything, but a stream of `rbd` that was sent without its type would become the image itself.
pub(super) fn refuse_disguised(start: &[u8]) -> Result<(), TransferError> {
    let kinds = [(&b"rbd diff v"[..], api::RBD_DIFF), (&b"rbd image v"[..], api::RBD_IMAGE)];
    match kinds.iter().find(|(banner, _)| start.starts_with(banner)) {
        None => Ok(()),
        Some((_, kind)) => Err(TransferError::Malformed(format!(
            "it was sent as a raw image and begins like a stream of rbd; send it with `Content-Type: {kind}`"
        ))),
    }
}

/// One transfer while it is received.
pub(super) struct Reception<'a> {
    transfers: &'a Transfers,
    /// The version that was loaded when it began: another one may name another place.
    writer: Arc<dyn Writer>,
    store: Arc<dyn ImageStore>,
    image: ImageName,
    upload: Upload,
    registered: Registered,
    prelude: Prelude,
    sink: Option<Sink>,
}

impl Reception<'_> {
    async fn run(&mut self, body: &mut dyn Body) -> Result<Committed, TransferError> {
        let mut decoder = match self.upload.format {
            Format::Raw => SnapshotDecoder::raw(raw_size(&self.upload)?),
            Format::RbdDiff => SnapshotDecoder::rbd_diff(),
        };
        let check = self.stream(body, &mut decoder).await?;
        let trailers = body.trailers().await?;
        let expected = [self.upload.root, trailers.root];
        self.complete(&expected, || check.verify(&trailers)).await
    }

    /// Moves the whole body into the sink.
    async fn stream(&mut self, body: &mut dyn Body, decoder: &mut SnapshotDecoder) -> Result<BodyCheck, TransferError> {
        let mut check = BodyCheck::new(&self.upload);
        loop {
            let frame = body.next().await?;
            let last = frame.is_none();
            let frame = frame.unwrap_or_default();
            if check.received() == 0 && self.upload.format == Format::Raw {
                refuse_disguised(&frame)?;
            }
            check.update(&frame);
            let mut input: &[u8] = &frame;
            while let Some(event) = decoder.next(&mut input).map_err(TransferError::malformed)? {
                self.take(event, &frame).await?;
            }
            if last {
                decoder.finish().map_err(TransferError::malformed)?;
                return Ok(check);
            }
        }
    }

    /// Takes one event, whose bytes lie in `frame`.
    pub(super) async fn take(&mut self, event: Event<'_>, frame: &Bytes) -> Result<(), TransferError> {
        match event {
            Event::From(name) => self.prelude.from = Some(name),
            Event::To(name) => self.prelude.to = Some(name),
            Event::Size(size) => self.prelude.size = Some(size),
            Event::Protected(_) => {}
            Event::Data { offset, bytes } => {
                self.registered.count(bytes.len());
                self.sink().await?.write(offset, frame.slice_ref(bytes)).await?;
            }
            Event::Zero { offset, length } => self.sink().await?.zero(offset, length).await?,
            Event::End => drop(self.sink().await?),
        }
        Ok(())
    }

    /// The destination; opened when the prelude is complete, which is when the first extent or the end is met.
    async fn sink(&mut self) -> Result<&mut Sink, TransferError> {
        if self.sink.is_none() {
            self.sink = Some(self.begin().await?);
        }
        self.sink.as_mut().ok_or_else(|| TransferError::Internal("the destination is not open".to_owned()))
    }

    /// Opens the destination for a stream with this prelude.
    async fn begin(&mut self) -> Result<Sink, TransferError> {
        let (upload, size) = (&self.upload, self.prelude.size.unwrap_or_default());
        if let Some(allowed) = upload.size.filter(|allowed| size > *allowed) {
            return Err(TransferError::Size { size, allowed });
        }
        let chain = self.store.chain(&self.image).await?;
        let base = base::resolve(upload, self.prelude.from.as_deref(), &chain)?;
        self.transfers.ask_policy(upload, size, base, &chain).await?;
        let description = TransferDescription {
            id: self.registered.id.clone(),
            volume: upload.volume.clone(),
            snapshot: upload.snapshot.clone(),
            size,
            base: base.map(|record| record.snapshot.clone()),
            upload: None,
        };
        Ok(self.writer.begin(&description).await?.into())
    }

    /// After the end marker: flush, verify, commit. `expected` are the roots that the sender gave, `check` is what
    /// else must hold.
    pub(super) async fn complete(
        &mut self,
        expected: &[Option<Root>],
        check: impl FnOnce() -> Result<(), TransferError>,
    ) -> Result<Committed, TransferError> {
        self.registered.advance(State::Flushing)?;
        let sink = self.sink.take().ok_or(BodyError::Cut("the stream has no end marker".to_owned()))?;
        let ingested = sink.finish().await?;

        let staged = Arc::clone(&ingested.staged);
        let committed = self.verify_and_commit(ingested, expected, check).await;
        if committed.is_err() {
            // Without effect where the commit may have happened.
            staged.abort().await;
        }
        let committed = committed?;
        self.registered.advance(State::Committed)?;
        self.registered.ended(match committed {
            Committed::New(_) => Outcome::Committed,
            Committed::Already(_) => Outcome::Present,
        });
        Ok(committed)
    }

    async fn verify_and_commit(
        &mut self,
        ingested: Ingested,
        expected: &[Option<Root>],
        check: impl FnOnce() -> Result<(), TransferError>,
    ) -> Result<Committed, TransferError> {
        self.registered.advance(State::Verifying)?;
        check()?;
        check_root(expected, ingested.root)?;
        self.registered.advance(State::Committing)?;
        let (identity, issued) = (self.identity(), self.upload.issued);
        let sealed = Sealed { root: ingested.root, identity, created: SystemTime::now(), issued };
        // The commit point: from the moment that the store's commit takes effect, the snapshot can be seen.
        Ok(ingested.staged.commit(ingested.durable, sealed).await?)
    }

    fn identity(&self) -> Identity {
        let told = self.upload.source.clone();
        Identity { source_snapshot: told.source_snapshot.or_else(|| self.prelude.to.clone()), ..told }
    }

    /// Frees what was staged.
    pub(super) async fn fail(&mut self, fault: &TransferError) {
        if let Some(sink) = self.sink.take() {
            sink.abort().await;
        }
        self.registered.ended(fault.outcome());
        if let Err(fault) = self.registered.advance(State::Failed) {
            tracing::error!(transfer = %self.registered.id, %fault, "transfer state");
        }
    }
}

pub(super) fn check_root(expected: &[Option<Root>], root: Root) -> Result<(), TransferError> {
    match expected.iter().flatten().find(|expected| **expected != root) {
        None => Ok(()),
        Some(expected) => Err(TransferError::Digest {
            what: "the content root",
            expected: expected.to_string(),
            actual: root.to_string(),
        }),
    }
}
