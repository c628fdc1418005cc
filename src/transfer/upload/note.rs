//! The words that an upload is begun with, as its next gateway finds them.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::content::Root;
use crate::image::{Identity, StageRequest};
use crate::transfer::{BaseClaim, DigestTrailers, Format, TransferError, Upload};

/// History: 1, the first.
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    version: u32,
    /// Who began it.
    pub principal: String,
    /// When the permission was issued, in milliseconds since the Unix epoch.
    issued_ms: u64,
    pub source: Identity,
    /// The content root that was announced.
    pub root: Option<Root>,
    /// `Upload-Metadata` of tus. Gateways from before it was kept cannot read a note that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

impl Note {
    pub(super) fn of(upload: &Upload) -> Self {
        let issued = upload.issued.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            version: VERSION,
            principal: upload.principal.clone(),
            issued_ms: u64::try_from(issued.as_millis()).unwrap_or(u64::MAX),
            source: upload.source.clone(),
            root: upload.root,
            metadata: upload.metadata.clone(),
        }
    }

    pub(super) fn write(&self) -> Result<String, TransferError> {
        serde_json::to_string(self).map_err(|fault| TransferError::Internal(fault.to_string()))
    }

    pub(super) fn read(request: &StageRequest) -> Result<Self, TransferError> {
        let text = request.upload.as_deref().unwrap_or_default();
        let unknown = |fault: String| {
            let transfer = &request.transfer;
            TransferError::Internal(format!("what was noted with the upload {transfer} cannot be read: {fault}"))
        };
        let note: Self = serde_json::from_str(text).map_err(|fault| unknown(fault.to_string()))?;
        match note.version {
            VERSION => Ok(note),
            other => Err(unknown(format!("it is version {other}, and this rsnap knows {VERSION}"))),
        }
    }

    /// The upload as its first request described it.
    pub(super) fn upload(&self, request: &StageRequest) -> Upload {
        Upload {
            volume: request.volume.clone(),
            snapshot: request.snapshot.clone(),
            format: Format::Raw,
            length: None,
            size: Some(request.size),
            base: BaseClaim { snapshot: request.base.clone(), ..BaseClaim::default() },
            root: self.root,
            source: self.source.clone(),
            issued: SystemTime::UNIX_EPOCH + Duration::from_millis(self.issued_ms),
            principal: self.principal.clone(),
            sender: self.source.marked_by.clone(),
            digests: Vec::new(),
            digest_trailers: DigestTrailers::default(),
            metadata: self.metadata.clone(),
        }
    }
}
