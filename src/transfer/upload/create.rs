//! The first request of an upload: everything that can be refused is refused here, before a byte is sent.

use std::sync::Arc;

use super::note::Note;
use super::{Created, UploadId};
use crate::content::SIZE_MAX;
use crate::image::ImageError;
use crate::plugin::{Destination, TransferDescription, Writer};
use crate::transfer::receive::{already, refuse_deleted};
use crate::transfer::registry::new_id;
use crate::transfer::{TransferError, Transfers, Upload, base};

impl Transfers {
    /// Begins an upload, in the place of an unfinished one of the same snapshot: whoever asks for a new one no longer
    /// knows the old one. Not cancel-safe.
    pub async fn create_upload(&self, upload: &Upload) -> Result<Created, TransferError> {
        let writer = self.writer.now();
        let (store, image) = self.locate_by(writer.as_ref(), &upload.volume).await?;
        if !store.is_resumable() {
            let text = "the storage of this volume keeps no unfinished transfers; send the snapshot with one PUT";
            return Err(TransferError::NotResumable(text.to_owned()));
        }
        refuse_deleted(store.as_ref(), &image, upload).await?;
        let chain = store.chain(&image).await?;
        if let Some(there) = chain.find(&upload.snapshot) {
            let Some(committed) = already(there, upload)? else {
                // With a plain PUT the content decides; here its owner would find out after days.
                return Err(ImageError::Exists { snapshot: there.snapshot.clone(), root: there.root }.into());
            };
            if store.confirm(&image, &upload.snapshot).await? {
                return Ok(Created::Present(committed));
            }
        }
        let size = upload.size.filter(|size| *size <= SIZE_MAX);
        let size = size.ok_or_else(|| TransferError::Request("the size of the image must be known".to_owned()))?;
        let name = upload.base.snapshot.as_ref().and_then(|named| chain.find(named)).map(base::source_name);
        let from = upload.base.snapshot.as_ref().map(|_| name.unwrap_or_default());
        let base = base::resolve(upload, from, &chain)?;
        self.ask_policy(upload, size, base, &chain).await?;
        for there in self.uploads(&upload.volume, &upload.snapshot).await? {
            self.uploads.end(&there.id.transfer).await;
            store.discard(&image, &there.id.transfer).await?;
        }
        let description = TransferDescription {
            id: new_id()?,
            volume: upload.volume.clone(),
            snapshot: upload.snapshot.clone(),
            size,
            base: base.map(|record| record.snapshot.clone()),
            upload: Some(Note::of(upload).write()?),
        };
        begin(writer.as_ref(), &description).await?;
        let TransferDescription { volume, snapshot, id, .. } = description;
        Ok(Created::Upload(UploadId { volume, snapshot, transfer: id }))
    }
}

async fn begin(writer: &dyn Writer, description: &TransferDescription) -> Result<(), TransferError> {
    let text = "the writer plugin stores chunks by itself and cannot be interrupted; send the snapshot with one PUT";
    let refused = || Err(TransferError::NotResumable(text.to_owned()));
    let Destination::Image(ingest) = writer.begin(description).await? else { return refused() };
    match Arc::clone(ingest.staged()).upload() {
        Some(image) => {
            image.suspend().await;
            Ok(())
        }
        None => {
            ingest.abort().await;
            refused()
        }
    }
}
