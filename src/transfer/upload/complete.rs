//! The last request of an upload: verify and commit.

use std::sync::Arc;
use std::time::SystemTime;

use super::UploadId;
use super::open::OpenUpload;
use crate::content::Root;
use crate::image::{Committed, ImageError, Sealed};
use crate::metrics::Outcome;
use crate::transfer::receive::{check_root, refuse_deleted};
use crate::transfer::registry::Registered;
use crate::transfer::state::State;
use crate::transfer::{TransferError, Transfers};

impl Transfers {
    /// Commits an upload all of which is there; `root` is the content root that its sender expects. The same again finds
    /// the snapshot and succeeds. Not cancel-safe.
    pub async fn complete(&self, id: &UploadId, root: Option<Root>) -> Result<Committed, TransferError> {
        let open = match self.attach(id).await {
            Ok(open) => open,
            Err(TransferError::UploadCompleted) => return self.completed(id, root).await,
            Err(other) => return Err(other),
        };
        let result = self.finish(&open, root).await;
        self.uploads.leave(open).await;
        result
    }

    /// A repeated request after a lost answer.
    async fn completed(&self, id: &UploadId, root: Option<Root>) -> Result<Committed, TransferError> {
        let record = self.upload(id).await?.committed.ok_or(TransferError::UploadCompleted)?;
        check_root(&[root], record.root)?;
        let (store, image) = self.locate(&id.volume).await?;
        if store.confirm(&image, &id.snapshot).await? {
            return Ok(Committed::Already(record));
        }
        let detail = "its content tree cannot be read; send it again".to_owned();
        Err(ImageError::Damaged { snapshot: id.snapshot.clone(), offset: 0, detail }.into())
    }

    async fn finish(&self, open: &Arc<OpenUpload>, root: Option<Root>) -> Result<Committed, TransferError> {
        let registered = self.registry.enter(&open.note.upload(open.image.request()))?;
        registered.advance(State::Receiving)?;
        let size = open.image.size();
        let _place = open.enter(0..size.max(1)).await?;
        let missing: u64 = open.durable().gaps(size).iter().map(|gap| gap.end - gap.start).sum();
        if missing > 0 {
            return Err(TransferError::UploadIncomplete { missing, size });
        }
        // Whatever comes of it: nothing can be added any more by those who have it open.
        open.break_off();
        let committed = self.seal(open, root, &registered).await;
        registered.ended(match &committed {
            Ok(Committed::New(_)) => Outcome::Committed,
            Ok(Committed::Already(_)) => Outcome::Present,
            Err(fault) => fault.outcome(),
        });
        if let Err(fault) = &committed
            && is_lost(fault)
        {
            open.image.abort().await;
        }
        committed
    }

    async fn seal(
        &self,
        open: &Arc<OpenUpload>,
        expected: Option<Root>,
        registered: &Registered,
    ) -> Result<Committed, TransferError> {
        registered.advance(State::Flushing)?;
        let (root, durable) = open.image.close().await?;
        registered.advance(State::Verifying)?;
        check_root(&[expected, open.note.root], root)?;
        let upload = open.note.upload(open.image.request());
        let (store, image) = self.locate(&upload.volume).await?;
        refuse_deleted(store.as_ref(), &image, &upload).await?;
        registered.advance(State::Committing)?;
        let sealed = Sealed { root, identity: upload.source, created: SystemTime::now(), issued: upload.issued };
        let committed = open.image.commit(durable, sealed).await?;
        registered.advance(State::Committed)?;
        Ok(committed)
    }
}

/// Whether no repetition can make a snapshot of the upload any more.
fn is_lost(fault: &TransferError) -> bool {
    matches!(
        fault,
        TransferError::Digest { .. } | TransferError::Deleted(_) | TransferError::Image(ImageError::Exists { .. })
    )
}
