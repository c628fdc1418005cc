//! The commit of a staged snapshot, step by step, and finishing one that was cut short.
//!
//! | step | after it |
//! |---|---|
//! | checks | the lock and the generation are ours, the base is in place, the head has its size, the name is free |
//! | [`Step::Intended`] | the intent is in the metadata: what will be recorded, and the name nobody else has |
//! | [`Step::Created`] | the snapshot exists under that name |
//! | [`Step::Identified`] | the intent has the snapshot's id |
//! | [`Step::Named`] | **committed**: the snapshot has its own name, and whoever looks finds it, with the intent as its record |
//! | [`Step::Recorded`] | the record is in the metadata |
//! | [`Step::Protected`] | the snapshot is protected, where that is wanted |
//! | [`Step::Cleared`] | the intent is gone |
//!
//! All of it is done by one client that the successor of this writer has blocklisted: it stops wherever it is, and what
//! [`super::recovery`] finds is one of the rows. An error before the commit point leaves nothing visible, now or later; an
//! error at it or after it is [`ImageError::Unsure`], and the repeated request finds out.

use rsnap_rbd::Kind;

use super::catalog::Catalog;
use super::commit::name_taken;
use super::config::RbdConfig;
use super::failure::failed;
use super::record::{INTENT, Intent, Stored, TEMPORARY, layer_key, snapshot_key};
use super::recovery::{Recovery, decide};
use super::session::Session;
use crate::image::{Committed, ImageError};

/// The gaps in which a gateway can die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Intended,
    Created,
    Identified,
    Named,
    Recorded,
    Protected,
    Cleared,
}

/// Commits one transfer.
pub(super) struct Committing<'a> {
    pub session: &'a Session,
    pub config: &'a RbdConfig,
    /// What happens after a step; tests die here.
    pub after: &'a (dyn Fn(Step) -> Result<(), ImageError> + Sync),
}

impl Committing<'_> {
    /// Blocks.
    pub(super) fn run(&self, catalog: &Catalog, mut intent: Intent) -> Result<Committed, ImageError> {
        let (session, image) = (self.session, self.session.image()?);
        session.set(INTENT, &intent)?;
        (self.after)(Step::Intended)?;
        let id = match self.create(&mut intent) {
            Ok(id) => id,
            Err(error) => return Err(self.undo(&intent, error)),
        };
        let ready = self.check_made(&intent, id, &intent.temporary).and_then(|()| self.make_room(catalog, &intent));
        if let Err(error) = ready {
            return Err(self.undo(&intent, error));
        }
        // The commit point.
        match image.rename_snapshot(&intent.temporary, intent.layer.record.name.as_str()) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), Kind::TimedOut | Kind::Other | Kind::Blocklisted) => {
                return Err(unsure(session.changed(Err::<(), _>(error)).err()));
            }
            Err(error) if error.kind() == Kind::Exists => {
                return Err(self.undo(&intent, name_taken(&session.name, &intent.layer.record.name)));
            }
            Err(error) => return Err(self.undo(&intent, failed(error))),
        }
        match self.check_made(&intent, id, intent.layer.record.name.as_str()) {
            Ok(()) => {}
            Err(error @ ImageError::Foreign { .. }) => return Err(self.undo(&intent, error)),
            Err(error) => return Err(unsure(Some(error))),
        }
        let stored = intent.stored(id);
        self.finish(&stored).map_err(|error| unsure(Some(error)))?;
        Ok(Committed::New(stored.layer.record))
    }

    /// Makes the snapshot under its temporary name, and notes its id.
    fn create(&self, intent: &mut Intent) -> Result<u64, ImageError> {
        let (session, image) = (self.session, self.session.image()?);
        let id = session.changed(image.create_snapshot(&intent.temporary))?;
        (self.after)(Step::Created)?;
        intent.snapshot = Some(id);
        session.set(INTENT, intent)?;
        (self.after)(Step::Identified)?;
        Ok(id)
    }

    /// What was made may have been removed, made again or renamed by somebody, or be of another size because the image was
    /// resized a moment before: the lock keeps nobody from that.
    fn check_made(&self, intent: &Intent, id: u64, name: &str) -> Result<(), ImageError> {
        let snapshots = self.session.image()?.snapshots().map_err(failed)?;
        let detail = match snapshots.iter().find(|there| there.id == id) {
            Some(there) if there.name == name && there.size == intent.layer.record.size => return Ok(()),
            Some(there) if there.name == name => {
                format!("it was resized to {} bytes during the commit; repeat the request", there.size)
            }
            _ => "its new snapshot was removed or renamed during the commit; repeat the request".to_owned(),
        };
        Err(ImageError::Foreign { image: self.session.name.clone(), detail })
    }

    /// A snapshot of ours that is damaged, or deleted and still read, gives its name to the new one.
    fn make_room(&self, catalog: &Catalog, intent: &Intent) -> Result<(), ImageError> {
        let name = intent.layer.record.name.as_str();
        let Some(there) = catalog.snapshots.iter().find(|there| there.name == name) else { return Ok(()) };
        let away = format!("{TEMPORARY}replaced.{}", there.id);
        self.session.changed(self.session.image()?.rename_snapshot(name, &away))
    }

    /// All that is left to do after the commit point. May be repeated.
    fn finish(&self, stored: &Stored) -> Result<(), ImageError> {
        let (session, image) = (self.session, self.session.image()?);
        (self.after)(Step::Named)?;
        let key = snapshot_key(&stored.layer.record.name);
        self.keep_replaced(&key, stored)?;
        session.set(&key, stored)?;
        (self.after)(Step::Recorded)?;
        if self.config.protect {
            match image.protect(stored.layer.record.name.as_str()) {
                Err(error) if error.kind() == Kind::Busy => {}
                other => session.changed(other)?,
            }
        }
        (self.after)(Step::Protected)?;
        session.unset(INTENT)?;
        (self.after)(Step::Cleared)
    }

    /// Others may stand on the pages of a damaged snapshot whose record is about to be replaced.
    fn keep_replaced(&self, key: &str, stored: &Stored) -> Result<(), ImageError> {
        let there: Option<Stored> = self.session.get(key)?;
        match there.filter(|there| there.image == stored.image && there.layer.name != stored.layer.name) {
            Some(there) => self.session.set(&layer_key(&there.layer.name), &there),
            None => Ok(()),
        }
    }

    /// Takes back what was done before the commit point, as far as that works; the rest is recovered later. Gives `error`.
    fn undo(&self, intent: &Intent, error: ImageError) -> ImageError {
        if matches!(error, ImageError::Fenced) {
            return error;
        }
        if let Err(left) = forget(self.session, &intent.temporary) {
            tracing::warn!(error = %left, "leave a commit that failed to the next transfer");
        }
        error
    }
}

fn unsure(error: Option<ImageError>) -> ImageError {
    let detail = error.map_or_else(String::new, |error| error.to_string());
    ImageError::Unsure { detail }
}

/// Removes a snapshot that was not committed, and the intent.
fn forget(session: &Session, temporary: &str) -> Result<(), ImageError> {
    let snapshots = session.image()?.snapshots().map_err(failed)?;
    if let Some(there) = snapshots.iter().find(|there| there.name == temporary) {
        session.remove_snapshot(there.id)?;
    }
    session.unset(INTENT)
}

/// Finishes or forgets the commit that a dead transfer has left, and gives the records as they are then. Wants the lock.
/// Blocks.
pub(super) fn recover(session: &Session, config: &RbdConfig, catalog: Catalog) -> Result<Catalog, ImageError> {
    let nothing = |_| Ok(());
    match decide(&catalog) {
        Recovery::Nothing => return Ok(catalog),
        Recovery::Finish(stored) => {
            tracing::info!(snapshot = %stored.layer.record.snapshot, "finish a commit that was cut short");
            Committing { session, config, after: &nothing }.finish(&stored)?;
        }
        Recovery::Forget(unnamed) => {
            if let Some(id) = unnamed {
                session.remove_snapshot(id)?;
            }
            session.unset(INTENT)?;
        }
    }
    session.survey()
}
