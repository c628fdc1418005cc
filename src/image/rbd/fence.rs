//! One writer at a time, made sure of in the storage.
//!
//! Each writer is a client of its own ([`super::session`]) and holds the image's exclusive lock. The lock keeps others from
//! writing data and from nothing else: `snap create`, `resize` and metadata go through without it. So whoever takes over
//! from an owner that does not answer blocklists that client first, and after that the OSDs take nothing from it at all.
//!
//! What a second client sees when it asks for the lock (Ceph 16.2, `rbd_lock_acquire`):
//!
//! | the owner | the answer | what we do |
//! |---|---|---|
//! | lives, whether it works or waits | EROFS after 2 ms: its librbd refuses | busy |
//! | got SIGKILL or SIGSTOP | none for 29.8 s, until the OSD gives up its watch; then librbd blocklists it and breaks its lock | after twice [`PATIENCE`]: blocklist it |
//! | is blocklisted while we wait | the lock, 20 to 30 ms later: the OSD drops the watch at once, and librbd goes on by itself | take it |
//! | is blocklisted before we ask | the lock, after 4 ms | take it |
//! | lives and took the lock without being asked to keep it (a virtual machine, `rbd`) | the lock: its librbd hands it over | give it back, busy: it has the image open |
//!
//! A client that was stopped, blocklisted and woken up got ESHUTDOWN for write, flush, snapshot create, remove and protect,
//! resize, metadata set and get, RADOS write and stat, for opening the image again and for asking for the lock. `rbd
//! lock break` is not needed, and a RADOS notify of our own was refused: on the image's header, librbd does not
//! acknowledge what it does not know, and a header update makes every client read the header again.
//!
//! Where librbd breaks a lock it blocklists the owner by itself, but for an hour, also one that is blocklisted for longer
//! (and with `rbd_blocklist_expire_seconds` set, 16.2 fails with EINVAL). A process can be stopped for longer than that. So
//! the former owner, which by then is dead or has closed the image, is blocklisted once more for as long as we want.
//!
//! The blocklist is in force where it counts before the head is looked at: this client waits for the newest map, and then
//! asks every object of the head that may exist once. A writer marks an object in the object map before it writes to it, and
//! without such a map every object is asked. An OSD serves a client only after it has the client's map, so no OSD is left
//! that would take a late write of the former owner.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use rsnap_rbd::{Error, Kind};

use super::failure::{failed, other};
use super::session::{BLOCKLIST, Session, seconds};
use crate::id::ImageName;
use crate::image::ImageError;

/// How long an owner may take to refuse, twice: a gateway on a busy machine needs milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// How long librbd may take to see that a blocklisted owner is gone. It looks again at the latest after 30 s.
const TAKE_OVER: Duration = Duration::from_secs(60);

/// How the lock was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nobody had it.
    Free,
    /// From an owner that did not answer.
    Over,
}

/// Takes the exclusive lock of the session's image. Blocks.
pub(super) fn take(session: &Arc<Session>, patience: Duration) -> Result<Taken, ImageError> {
    let before = owners(session)?;
    let answer = ask(session)?;
    let mut answered = answer.recv_timeout(patience);
    if answered == Err(RecvTimeoutError::Timeout) {
        // Perhaps it is the cluster that did not answer. It does now, and the owner gets as much time once more.
        owners(session)?;
        answered = answer.recv_timeout(patience);
    }
    if answered == Err(RecvTimeoutError::Timeout) {
        evict(session, &before)?;
        answered = answer.recv_timeout(TAKE_OVER);
    }
    granted(session, answered.map_err(|_| unanswered(&session.name))?)?;
    refuse_others(session)?;
    if before.is_empty() {
        return Ok(Taken::Free);
    }
    before.iter().try_for_each(|owner| blocklist(session, owner))?;
    Ok(Taken::Over)
}

/// Who else has the lock: librbd may have taken it for this client already, to remove a snapshot.
fn owners(session: &Session) -> Result<Vec<String>, ImageError> {
    let owners = session.image()?.lock_owners().map_err(failed)?;
    Ok(owners.into_iter().filter(|owner| owner != session.address()).collect())
}

/// Asks on a thread of its own, because librbd waits as long as the owner's watch lasts.
fn ask(session: &Arc<Session>) -> Result<Receiver<Result<(), Error>>, ImageError> {
    let (sender, answer) = mpsc::channel();
    let session = Arc::clone(session);
    let ask = move || {
        let answered = session.image().map(|image| image.acquire_lock());
        drop(session);
        if let Ok(answered) = answered {
            // Nobody listens any more if it took too long.
            drop(sender.send(answered));
        }
    };
    let thread = std::thread::Builder::new().name("rbd-lock".to_owned()).spawn(ask);
    thread.map_err(|error| ImageError::Io { action: "start a thread".to_owned(), source: error })?;
    Ok(answer)
}

fn granted(session: &Session, answered: Result<(), Error>) -> Result<(), ImageError> {
    answered.map_err(|error| match error.kind() {
        Kind::ReadOnly => ImageError::Busy { image: session.name.clone() },
        _ => failed(error),
    })
}

/// Blocklists the owner that does not answer: the one that was there when we asked, and no other.
fn evict(session: &Session, before: &[String]) -> Result<(), ImageError> {
    let now = owners(session)?;
    for owner in now.iter().filter(|owner| before.contains(owner)) {
        tracing::warn!(image = %session.name, owner, "take an image over from a client that does not answer");
        blocklist(session, owner)?;
    }
    Ok(())
}

fn blocklist(session: &Session, owner: &str) -> Result<(), ImageError> {
    session.cluster.blocklist(owner, seconds(BLOCKLIST)).map_err(failed)
}

/// The lock is ours, but somebody lives who has the image open to write it, and would find that it cannot any more.
fn refuse_others(session: &Session) -> Result<(), ImageError> {
    let watchers = session.image()?.watchers().map_err(failed)?;
    match watchers.into_iter().find(|watcher| watcher.address != session.address()) {
        None => Ok(()),
        Some(watcher) => {
            tracing::warn!(image = %session.name, client = watcher.address, "refuse an image that somebody else has open");
            Err(ImageError::Busy { image: session.name.clone() })
        }
    }
}

fn unanswered(name: &ImageName) -> ImageError {
    other(
        format!("take the exclusive lock of image {name}"),
        "its owner does not answer, and its lock did not come free",
    )
}

/// Makes sure that no OSD takes a late write of a former owner, see the module's text. Blocks; costs a round trip for
/// each object with data, several at a time.
pub(super) fn settle(session: &Session) -> Result<(), ImageError> {
    let image = session.image()?;
    let size = image.size().map_err(failed)?;
    image.differences(None, false, 0, size, |_| ControlFlow::Continue(())).map_err(failed)
}
