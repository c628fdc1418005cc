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

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use rsnap_rbd::Kind;

use super::catalog::{Catalog, Entry, Named};
use super::config::RbdConfig;
use super::failure::failed;
use super::record::{INTENT, Intent, Layer, Stored, TEMPORARY, layer_key, snapshot_key};
use super::recovery::{Recovery, decide};
use super::session::Session;
use super::stage::is_owned;
use super::staged::{Phase, Staging, closed};
use super::store::Shared;
use super::tree::Tree;
use crate::id::{ImageName, SnapshotName};
use crate::image::record::milliseconds;
use crate::image::{Committed, ImageError, Sealed, SnapshotRecord, StageRequest};

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

impl Staging {
    /// Commits what was flushed. Blocks.
    pub(super) fn commit(&self, sealed: &Sealed) -> Result<Committed, ImageError> {
        let _records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let mut phase = self.phase();
        let Phase::Flushed(session) = &*phase else { return Err(closed()) };
        let session = std::sync::Arc::clone(session);
        let result = self.commit_with(&session, sealed);
        drop(session);
        if matches!(result, Ok(Committed::New(_)) | Err(ImageError::Unsure { .. }))
            && let Some(ending) = self.end(&mut phase)
        {
            drop(phase);
            ending.keep_tree().finish();
        }
        result
    }

    fn commit_with(&self, session: &Session, sealed: &Sealed) -> Result<Committed, ImageError> {
        let image = session.image()?;
        if !image.is_lock_owner().map_err(failed)? {
            return Err(ImageError::Fenced);
        }
        let catalog = session.survey()?;
        if catalog.generation.number != self.generation {
            return Err(ImageError::Fenced);
        }
        is_owned(&catalog, &self.request)?;
        catalog.permits(&self.request, sealed)?;
        if let Some(there) = self.existing(session, &catalog)? {
            return repeated(there, &self.request, sealed);
        }
        self.check_base(&catalog)?;
        self.check_head(session)?;
        check_name(&catalog, &self.request)?;
        let intent = self.intent(session, &catalog, sealed);
        let after = |step| died(&self.shared, session, step);
        Committing { session, config: &self.shared.config, after: &after }.run(&catalog, intent)
    }

    /// The whole snapshot that has the id or the name already. One whose tree cannot be read is damaged, and may be
    /// replaced.
    fn existing<'a>(&self, session: &Session, catalog: &'a Catalog) -> Result<Option<&'a Entry>, ImageError> {
        let both = catalog.find(&self.request.snapshot).into_iter().chain(catalog.find_name(&self.request.name));
        for entry in both {
            if catalog.is_whole(entry) && Tree::is_sound(&session.pool, catalog, entry)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The base may have been deleted meanwhile, but its pages must be there and be the same.
    fn check_base(&self, catalog: &Catalog) -> Result<(), ImageError> {
        let Some(base) = &self.base else { return Ok(()) };
        let base = base.stored();
        let same = catalog.layer(&base.layer.name).is_some_and(|entry| entry.stored == *base);
        let complete = catalog.line(&base.layer.name).is_some();
        if same && complete {
            return Ok(());
        }
        Err(ImageError::BaseChanged {
            image: self.request.image.clone(),
            base: base.layer.record.snapshot.clone(),
            detail: "its record was changed during the transfer; repeat the request".to_owned(),
        })
    }

    fn check_head(&self, session: &Session) -> Result<(), ImageError> {
        let size = session.image()?.size().map_err(failed)?;
        if size == self.request.size {
            return Ok(());
        }
        let detail = format!("it was resized to {size} bytes during the transfer; repeat the request");
        Err(ImageError::Foreign { image: self.request.image.clone(), detail })
    }

    fn intent(&self, session: &Session, catalog: &Catalog, sealed: &Sealed) -> Intent {
        let request = &self.request;
        let base = self.base.as_ref().map(|base| &base.stored().layer);
        let record = SnapshotRecord {
            volume: request.volume.clone(),
            snapshot: request.snapshot.clone(),
            name: request.name.clone(),
            size: request.size,
            root: sealed.root,
            identity: sealed.identity.clone(),
            base: request.base.clone(),
            created_ms: milliseconds(sealed.created),
            stored: self.stored.load(Ordering::Relaxed),
        };
        let layer = Layer {
            record,
            name: self.layer.clone(),
            parent: base.map(|base| base.name.clone()),
            tree: self.layer.clone(),
            tree_bytes: self.tree_bytes.load(Ordering::Acquire),
            pages: self.pages.load(Ordering::Acquire),
            limit: base.map_or(0, |base| base.record.size.min(request.size)),
            sequence: catalog.next_sequence(),
        };
        Intent { image: session.id.clone(), temporary: format!("{TEMPORARY}{}", self.layer), snapshot: None, layer }
    }
}

fn repeated(there: &Entry, request: &StageRequest, sealed: &Sealed) -> Result<Committed, ImageError> {
    let record = &there.stored.layer.record;
    if record.root != sealed.root || record.snapshot != request.snapshot {
        return Err(ImageError::Exists { snapshot: record.snapshot.clone(), root: record.root });
    }
    Ok(Committed::Already(record.clone()))
}

/// A snapshot of that name which rsnap did not make stays as it is.
pub(super) fn check_name(catalog: &Catalog, request: &StageRequest) -> Result<(), ImageError> {
    if catalog.named(&request.name) != Named::Foreign {
        return Ok(());
    }
    Err(name_taken(&request.image, &request.name))
}

fn name_taken(image: &ImageName, name: &SnapshotName) -> ImageError {
    let detail = format!(
        "somebody else made a snapshot {name} of it; remove it (`rbd snap rm`) if it is not needed, or rename it"
    );
    ImageError::Foreign { image: image.clone(), detail }
}

impl Committing<'_> {
    fn run(&self, catalog: &Catalog, mut intent: Intent) -> Result<Committed, ImageError> {
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
        match there.filter(|there| there.layer.name != stored.layer.name) {
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

#[cfg(not(test))]
fn died(_: &Shared, _: &Session, _: Step) -> Result<(), ImageError> {
    Ok(())
}

#[cfg(test)]
fn died(shared: &Shared, session: &Session, step: Step) -> Result<(), ImageError> {
    shared.deaths.strike(shared, session, step)
}

/// What happens in the middle of the next commit of a store, for tests.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Deaths(std::sync::Mutex<Option<(Step, Happening)>>);

#[cfg(test)]
type Happening = Box<dyn FnOnce(&Shared, &Session) -> Result<(), ImageError> + Send>;

#[cfg(test)]
impl std::fmt::Debug for Deaths {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Deaths")
    }
}

#[cfg(test)]
impl Deaths {
    /// The writer ends as a dead gateway ends: in the middle, with its lock and its watch left behind.
    pub(super) fn at(&self, step: Step) {
        self.put(step, |shared, session| {
            let executioner = shared.connect().unwrap();
            executioner.blocklist(session.address(), 3600).unwrap();
            Err(ImageError::Fenced)
        });
    }

    /// Somebody does something, and the commit goes on.
    pub(super) fn meanwhile(&self, step: Step, happening: impl FnOnce() + Send + 'static) {
        self.put(step, move |_, _| {
            happening();
            Ok(())
        });
    }

    fn put(&self, step: Step, happening: impl FnOnce(&Shared, &Session) -> Result<(), ImageError> + Send + 'static) {
        *self.0.lock().unwrap() = Some((step, Box::new(happening)));
    }

    fn strike(&self, shared: &Shared, session: &Session, step: Step) -> Result<(), ImageError> {
        let happening = self.0.lock().unwrap().take_if(|(at, _)| *at == step);
        happening.map_or(Ok(()), |(_, happening)| happening(shared, session))
    }
}
