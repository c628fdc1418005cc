//! The end of a transfer: what it has staged goes, and the image is closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::head;
use super::objects::Objects;
use super::session::Session;
use super::staging::{Phase, Staging};
use super::writers::Claim;
use crate::id::ImageName;

/// A transfer that is over, on its way to a thread that may block. Its parts are dropped in this order.
#[derive(Debug)]
pub(super) struct Ending {
    session: Arc<Session>,
    /// The tree that nobody needs.
    tree: Option<Arc<Objects>>,
    image: ImageName,
    /// Whether the head is emptied now. Otherwise the next transfer reverts it; but one that has filled the storage must not
    /// keep others from theirs until then.
    empties: bool,
    _claim: Option<Claim>,
}

impl Ending {
    /// The tree has become a snapshot's, or may have.
    pub(super) fn keep_tree(self) -> Self {
        Self { tree: None, ..self }
    }

    /// Removes the tree, gives the lock back and closes the image. Blocks.
    pub(super) fn finish(self) {
        let Self { session, tree, image, empties, _claim } = self;
        if empties && let Err(error) = head::clear(&session, 0) {
            tracing::warn!(%image, %error, "leave the data of a failed transfer to the next one");
        }
        if let Some(tree) = tree.filter(|_| !session.is_doubtful())
            && let Err(error) = tree.remove()
        {
            tracing::debug!(%image, %error, "leave a content tree to the next transfer");
        }
        drop(session);
    }
}

impl Staging {
    /// Ends the transfer if it has not ended; gives what is to be closed.
    pub(super) fn end(&self, phase: &mut Phase) -> Option<Ending> {
        let session = match std::mem::replace(phase, Phase::Ended) {
            Phase::Open(session) | Phase::Flushed(session) => session,
            Phase::Ended => return None,
        };
        let claim = self.claim().take();
        if let Some(claim) = &claim {
            claim.is_closing();
        }
        Some(Ending {
            session,
            tree: Some(Arc::clone(&self.objects)),
            image: self.request.image.clone(),
            empties: self.request.upload.is_none() && self.base.is_none() && self.is_full.load(Ordering::Acquire),
            _claim: claim,
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let Some(ending) = self.end(&mut self.phase()) else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || ending.finish())),
            Err(_) => ending.keep_tree().finish(),
        }
    }
}
