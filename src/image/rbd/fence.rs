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
//! | got SIGKILL or SIGSTOP | none for 29.8 s, until the OSD gives up its watch; then librbd blocklists it and breaks its lock | after [`PATIENCE`]: blocklist it |
//! | is blocklisted while we wait | the lock, 20 to 30 ms later: the OSD drops the watch at once, and librbd goes on by itself | take it |
//! | is blocklisted before we ask | the lock, after 4 ms | take it |
//! | lives and took the lock without being asked to keep it (a virtual machine, `rbd`) | the lock: its librbd hands it over | do not ask: it is in use |
//!
//! A client that was stopped, blocklisted and woken up got ESHUTDOWN for write, flush, snapshot create, remove and protect,
//! resize, metadata set and get, RADOS write and stat, for opening the image again and for asking for the lock. `rbd
//! lock break` is not needed, and a RADOS notify of our own was refused: on the image's header, librbd does not
//! acknowledge what it does not know, and a header update makes every client read the header again.
//!
//! Where librbd breaks a lock it blocklists the owner by itself, but for an hour, also one that is blocklisted for longer
//! (and with `rbd_blocklist_expire_seconds` set, 16.2 fails with EINVAL). A process can be stopped for longer than that. So
//! whoever takes the image blocklists once more, for as long as we want, every client of ours that went without a word; who
//! is ours is in the metadata, see [`super::clients`].
//!
//! The blocklist is in force where it counts before the head is looked at: this client waits for the newest map, and then
//! asks every object of the head that may exist once. A writer marks an object in the object map before it writes to it, and
//! without such a map every object is asked. An OSD serves a client only after it has the client's map, so no OSD is left
//! that would take a late write of the former owner.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rsnap_rbd::{Error, Kind};

use super::clients::Company;
use super::failure::{failed, other};
use super::session::{BLOCKLIST, Session, seconds};
use crate::id::ImageName;
use crate::image::ImageError;

/// How long an owner may take to refuse, while the cluster answers: a gateway on a busy machine needs milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(6);
/// How often the cluster is asked meanwhile, and how soon it must have answered for the time to count.
pub(super) const STEP: Duration = Duration::from_millis(200);
const QUICK: Duration = Duration::from_millis(500);
/// How long a cluster may be too slow to tell who is dead.
const SLOW: Duration = Duration::from_secs(90);
/// How long librbd may take to see that a blocklisted owner is gone. It looks again at the latest after 30 s.
const TAKE_OVER: Duration = Duration::from_secs(60);
/// How long one that was refused may take to close the image.
const LEAVING: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// How the lock was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// From nobody, or from one that closed the image in order.
    Free,
    /// A writer died or was stopped since.
    Over,
}

/// Takes the exclusive lock of the session's image. Blocks.
pub(super) fn take(session: &Arc<Session>, patience: Duration) -> Result<Taken, ImageError> {
    let before = Company::look(session)?;
    before.refuse_strangers(session)?;
    let answer = ask(session)?;
    let mut answered = wait_for_owner(&answer, patience, || owners(session).map(drop))?;
    if answered.is_none() {
        evict(session, &before.owners)?;
        answered = Some(answer.recv_timeout(TAKE_OVER).map_err(|_| unanswered(&session.name))?);
    }
    granted(session, answered.unwrap_or(Ok(())))?;
    let now = wait_until_alone(session)?;
    let silent = now.shut_out_gone(session)?;
    Ok(if silent { Taken::Over } else { Taken::Free })
}

/// Lets a session in beside a stranger who has the image open, for changes of records and for removing snapshots: for
/// those nobody needs the lock. All of ours who change the image take the lock, which they do not do beside a stranger, or
/// come here: so it is enough that no other one has it open, and that those that died or were stopped are blocklisted.
/// Blocks.
pub(super) fn enter_beside_strangers(session: &Session) -> Result<(), ImageError> {
    session.works_beside()?;
    let company = Company::look(session)?;
    if !company.dead_strangers.is_empty() {
        company.refuse_strangers(session)?;
    }
    if company.is_changed_by_ours() || !company.sees_us {
        return Err(ImageError::Busy { image: session.name.clone() });
    }
    company.shut_out_gone(session).map(drop)
}

/// Who else has the lock.
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

/// How long somebody may still take: so long in one piece in which the cluster answered quickly. What was before a slow
/// answer does not count: the question may not have reached him.
pub(super) struct Patience {
    action: &'static str,
    limit: Duration,
    start: Instant,
    waited: Duration,
}

impl Patience {
    /// `action` is what is waited for: it completes the sentence "could not …".
    pub(super) fn new(action: &'static str, limit: Duration) -> Self {
        Self { action, limit, start: Instant::now(), waited: Duration::ZERO }
    }

    pub(super) fn is_over(&self) -> bool {
        self.waited >= self.limit
    }

    /// Counts a [`STEP`] in which the cluster took `answered` to answer.
    pub(super) fn spend(&mut self, answered: Duration) -> Result<(), ImageError> {
        self.waited = if answered < QUICK { self.waited + STEP } else { Duration::ZERO };
        match self.start.elapsed() > SLOW {
            true => Err(other(self.action, "the cluster answers too slowly to tell whether its owner lives")),
            false => Ok(()),
        }
    }
}

/// Waits for an answer until the owner has had all of `patience`. `None`: it does not answer.
fn wait_for_owner<T>(
    answer: &Receiver<T>,
    patience: Duration,
    mut probe: impl FnMut() -> Result<(), ImageError>,
) -> Result<Option<T>, ImageError> {
    let mut patience = Patience::new("ask for a lock", patience);
    while !patience.is_over() {
        match answer.recv_timeout(STEP) {
            Ok(answer) => return Ok(Some(answer)),
            Err(RecvTimeoutError::Disconnected) => return Err(other("ask for a lock", "the question was not put")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let asked = Instant::now();
        probe()?;
        patience.spend(asked.elapsed())?;
    }
    // It may have come during the last look.
    Ok(answer.try_recv().ok())
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
        session.cluster.blocklist(owner, seconds(BLOCKLIST)).map_err(failed)?;
    }
    Ok(())
}

/// The lock is ours. Somebody who came meanwhile must not find that he cannot write any more; and one of ours who was
/// refused closes the image soon. One that does not died or was stopped while it waited for the lock: Ceph would count it
/// for half a minute, and a gateway that is killed again and again leaves many.
fn wait_until_alone(session: &Session) -> Result<Company, ImageError> {
    for is_last in [false, true] {
        let start = Instant::now();
        while start.elapsed() <= LEAVING {
            let company = Company::look(session)?;
            company.refuse_strangers(session)?;
            if !company.is_changed_by_ours() {
                return Ok(company);
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        if is_last || !Company::look(session)?.shut_out_silent(session)? {
            break;
        }
    }
    Err(ImageError::Busy { image: session.name.clone() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_the_cluster_is_slow_does_not_count() {
        let (sender, answer) = mpsc::channel();
        let mut looks = 0;
        let probe = || {
            looks += 1;
            if looks == 3 {
                std::thread::sleep(QUICK);
            }
            if looks == 6 {
                sender.send(()).unwrap();
            }
            Ok(())
        };
        // Without the slow answer, four looks would be enough.
        assert_eq!(wait_for_owner(&answer, STEP * 4, probe).unwrap(), Some(()));
        assert_eq!(looks, 6);
        let silent = wait_for_owner(&answer, STEP * 2, || Ok(()));
        assert!(matches!(silent, Ok(None)), "{silent:?}");
    }

    #[test]
    fn a_question_that_was_not_put_is_an_error() {
        let (sender, answer) = mpsc::channel::<()>();
        drop(sender);
        assert!(wait_for_owner(&answer, STEP, || Ok(())).is_err());
    }
}
