//! Receiving a whole chain: `rbd export --export-format 2`, one commit for each of its snapshots.
//!
//! Each snapshot starts from the one before, so each must be committed before the next can begin: a cut stream leaves
//! the snapshots that were complete, and the same request again finds them there. That is also why a digest over the
//! whole body is refused: it would be known only after the commits that it has to permit.

use bytes::Bytes;
use rsnap_wire::Event;
use rsnap_wire::chain::{Decoder, Event as ChainEvent, Limits};

use super::receive::Reception;
use super::{BaseClaim, Body, Format, TransferError, Transfers, Upload};
use crate::id::SnapshotId;
use crate::image::{Committed, Identity};

impl Transfers {
    /// Receives a whole chain. `snapshots` are the target's ids, oldest first, one for each snapshot in the stream; the
    /// head, which comes last, is checked and left out. Not cancel-safe, as [`Transfers::receive`].
    pub async fn receive_chain(
        &self,
        upload: Upload,
        snapshots: Vec<SnapshotId>,
        body: &mut dyn Body,
    ) -> Result<Vec<Committed>, TransferError> {
        if upload.digest_trailers.any() || !upload.digests.is_empty() || upload.root.is_some() {
            let text = "a chain commits its snapshots one by one, so a digest of the whole stream comes too late; \
                        leave it out, or send the snapshots as single diffs";
            return Err(TransferError::Request(text.to_owned()));
        }
        let mut chain = Chained { transfers: self, upload, snapshots, committed: Vec::new(), current: None };
        // One transfer for the other gateways: they would see it come and go between its snapshots.
        let counted = self.load.enter();
        let result = chain.run(Decoder::new(Limits::default()), body).await;
        if let (Err(fault), Some(mut current)) = (&result, chain.current.take()) {
            current.fail(fault).await;
        }
        counted.leave().await;
        result.map(|()| chain.committed)
    }
}

struct Chained<'a> {
    transfers: &'a Transfers,
    upload: Upload,
    snapshots: Vec<SnapshotId>,
    committed: Vec<Committed>,
    current: Option<Reception<'a>>,
}

impl Chained<'_> {
    async fn run(&mut self, mut decoder: Decoder, body: &mut dyn Body) -> Result<(), TransferError> {
        loop {
            let frame = body.next().await?;
            let last = frame.is_none();
            let frame = frame.unwrap_or_default();
            let mut input: &[u8] = &frame;
            while let Some(event) = decoder.next(&mut input).map_err(TransferError::malformed)? {
                self.take(event, &frame).await?;
            }
            if last {
                return decoder.finish().map_err(TransferError::malformed);
            }
        }
    }

    async fn take(&mut self, event: ChainEvent<'_>, frame: &Bytes) -> Result<(), TransferError> {
        match event {
            ChainEvent::Diffs(diffs) => self.check_count(diffs),
            ChainEvent::Diff(event) => self.take_of_diff(event, frame).await,
            _ => Ok(()),
        }
    }

    fn check_count(&self, diffs: u64) -> Result<(), TransferError> {
        let (found, named) = (diffs.saturating_sub(1), self.snapshots.len() as u64);
        if found == named {
            return Ok(());
        }
        Err(TransferError::Request(format!("the stream has {found} snapshots, the request names {named}")))
    }

    async fn take_of_diff(&mut self, event: Event<'_>, frame: &Bytes) -> Result<(), TransferError> {
        let Some(snapshot) = self.snapshots.get(self.committed.len()) else { return Ok(()) };
        let reception = match &mut self.current {
            Some(reception) => reception,
            empty => empty.insert(begin(self.transfers, &self.upload, snapshot, self.committed.last()).await?),
        };
        let ends = event == Event::End;
        reception.take(event, frame).await?;
        if ends {
            let committed = reception.complete(&[], || Ok(())).await?;
            self.committed.push(committed);
            self.current = None;
        }
        Ok(())
    }
}

async fn begin<'a>(
    transfers: &'a Transfers,
    chain: &Upload,
    snapshot: &SnapshotId,
    before: Option<&Committed>,
) -> Result<Reception<'a>, TransferError> {
    let base = before.map_or_else(BaseClaim::default, |before| BaseClaim {
        snapshot: Some(before.record().snapshot.clone()),
        root: Some(before.record().root),
        mark: None,
    });
    let upload = Upload { snapshot: snapshot.clone(), format: Format::RbdDiff, length: None, base, ..chain.clone() };
    // What the request says of a snapshot cannot be meant for each of them.
    let source = Identity { source_snapshot: None, source_mark: None, marked_by: None, ..upload.source };
    let upload = Upload { source, ..upload };
    transfers.start(upload).await
}
