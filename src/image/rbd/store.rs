//! The store as a whole: its connection, and what is asked of it between transfers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rsnap_rbd::{Cluster, Error, Image, Kind, Library, Mode, Pool};

use super::catalog::Catalog;
use super::collect::collect;
use super::config::RbdConfig;
use super::failure::{other, unanswered};
use super::fence::{self, PATIENCE};
use super::publish::recover;
use super::record::{PREFIX, deleted_key};
use super::session::Session;
use super::snapshot::{Client, RbdSnapshot};
use super::tree::Tree;
use super::upload::{REST, Resting};
use super::writers::{Claim, Writers};
use crate::id::{ImageName, SnapshotId};
use crate::image::readers::Readers;
use crate::image::record::{Tombstone, unseal};
use crate::image::{Chain, ImageError};
use crate::metrics::Metrics;

/// How often an image is looked at while somebody changes it.
const LOOKS: usize = 8;

/// What all users of the store have in common.
#[derive(Debug)]
pub(super) struct Shared {
    library: Arc<Library>,
    pub config: RbdConfig,
    pub metrics: Arc<Metrics>,
    pub readers: Readers,
    pub writers: Writers,
    pub resting: Resting,
    /// How long the owner of a lock may take to refuse it.
    pub patience: Duration,
    /// How long the owner of an unfinished transfer stays it after a request.
    pub rest: Duration,
    /// The connection of all readers.
    connection: Mutex<Option<Connection>>,
    #[cfg(test)]
    pub deaths: super::deaths::Deaths,
    /// What each transfer with a base has found, for tests.
    #[cfg(test)]
    pub reverted: Mutex<Vec<super::head::Reverted>>,
}

#[derive(Debug, Clone)]
struct Connection {
    cluster: Cluster,
    pool: Pool,
}

/// An image as it was at one moment.
#[derive(Debug)]
pub(super) struct Survey {
    pub pool: Pool,
    pub catalog: Catalog,
}

impl Shared {
    /// Loads Ceph's libraries and connects. Blocks.
    pub(super) fn open(config: RbdConfig, metrics: Arc<Metrics>) -> Result<Self, ImageError> {
        let library = Library::load().map_err(|missing| other("use Ceph RBD", missing.to_string()))?;
        let shared = Self {
            library,
            config,
            metrics,
            readers: Readers::default(),
            writers: Writers::default(),
            resting: Resting::default(),
            patience: PATIENCE,
            rest: REST,
            connection: Mutex::default(),
            #[cfg(test)]
            deaths: super::deaths::Deaths::default(),
            #[cfg(test)]
            reverted: Mutex::default(),
        };
        shared.connection()?;
        Ok(shared)
    }

    /// Makes an image this process's to write to, once those who close it or rest in it are gone. Blocks.
    pub(super) fn claim(&self, image: &ImageName) -> Result<Claim, ImageError> {
        self.resting.end(image);
        let claim = self.writers.claim(image, self.config.timeout.0);
        claim.ok_or_else(|| ImageError::Busy { image: image.clone() })
    }

    /// A client of its own.
    pub(super) fn connect(&self) -> Result<Cluster, ImageError> {
        Cluster::connect(&self.library, &self.config.settings()).map_err(unanswered)
    }

    pub(super) fn pool(&self, cluster: &Cluster) -> Result<Pool, ImageError> {
        cluster.pool(&self.config.pool, self.config.namespace.as_deref()).map_err(unanswered)
    }

    fn connection(&self) -> Result<Connection, ImageError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = &*connection {
            return Ok(there.clone());
        }
        let cluster = self.connect()?;
        let pool = self.pool(&cluster)?;
        Ok(connection.insert(Connection { cluster, pool }).clone())
    }

    pub(super) fn readers_pool(&self) -> Result<Pool, ImageError> {
        Ok(self.connection()?.pool)
    }

    #[cfg(test)]
    pub(super) fn reader_address(&self) -> String {
        self.connection().unwrap().cluster.addresses().unwrap()
    }

    /// The cluster and the pool by their ids, which a new name does not change, and the namespace.
    pub(super) fn identity(&self) -> Result<String, ImageError> {
        let Connection { cluster, pool } = self.connection()?;
        let fsid = cluster.fsid().map_err(|error| self.read_failed(error))?;
        let namespace = self.config.namespace.as_deref().unwrap_or_default();
        Ok(format!("ceph:{fsid}/{}/{namespace}", pool.id()))
    }

    /// What an error of a reader means. A client that was blocklisted stays so: the next reader gets another one.
    fn read_failed(&self, error: Error) -> ImageError {
        if error.kind() == Kind::Blocklisted {
            *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        unanswered(error)
    }

    /// The records and snapshots of an image, read together; `None`: there is no image. Blocks.
    ///
    /// An image opened for reading has the snapshots of that moment, and its metadata is read after it. Where the two do not
    /// fit, somebody may have changed them in between, so both are read again, until they fit or the metadata was the
    /// same before and after the snapshots.
    pub(super) fn survey(&self, name: &ImageName) -> Result<Option<Survey>, ImageError> {
        let pool = self.connection()?.pool;
        let mut before = None;
        for _ in 0..LOOKS {
            let image = match pool.open(name.as_str(), Mode::ReadOnly, None) {
                Err(error) if error.kind() == Kind::NotFound => return Ok(None),
                other => other.map_err(|error| self.read_failed(error))?,
            };
            let (metadata, catalog) = self.look(&image)?;
            if catalog.is_settled() || before.as_ref() == Some(&metadata) {
                return Ok(Some(Survey { pool, catalog }));
            }
            before = Some(metadata);
        }
        Err(other(format!("look at image {name}"), "it changes all the time"))
    }

    fn look(&self, image: &Image) -> Result<(Vec<(String, String)>, Catalog), ImageError> {
        let failed = |error| self.read_failed(error);
        let (id, snapshots) = (image.id().map_err(failed)?, image.snapshots().map_err(failed)?);
        let metadata = image.all_metadata(PREFIX).map_err(failed)?;
        let catalog = Catalog::new(&id, &metadata, snapshots);
        Ok((metadata, catalog))
    }

    pub(super) fn chain(&self, name: &ImageName) -> Result<Chain, ImageError> {
        Ok(self.survey(name)?.map(|survey| survey.catalog.chain()).unwrap_or_default())
    }

    pub(super) fn open_snapshot(
        self: &Arc<Self>,
        name: &ImageName,
        snapshot: &SnapshotId,
    ) -> Result<RbdSnapshot, ImageError> {
        let missing = || ImageError::NotFound { image: name.clone(), snapshot: snapshot.clone() };
        let reading = self.readers.enter(name, snapshot);
        let survey = self.survey(name)?.ok_or_else(missing)?;
        let entry = survey.catalog.find(snapshot).ok_or_else(missing)?;
        RbdSnapshot::open(self, &survey.pool, name, &survey.catalog, entry, (Client::Readers, reading))
    }

    pub(super) fn deleted(&self, name: &ImageName, snapshot: &SnapshotId) -> Result<Option<SystemTime>, ImageError> {
        let pool = self.connection()?.pool;
        let image = match pool.open(name.as_str(), Mode::ReadOnly, None) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            other => other.map_err(|error| self.read_failed(error))?,
        };
        let text = image.metadata(&deleted_key(snapshot)).map_err(|error| self.read_failed(error))?;
        let Some(text) = text else { return Ok(None) };
        let tombstone = unseal::<Tombstone>(text.as_bytes());
        let unreadable = |fault: crate::image::record::RecordFault| {
            other(format!("read the tombstone of {snapshot}"), fault.to_string())
        };
        Ok(Some(tombstone.map_err(unreadable)?.deleted()))
    }

    pub(super) fn free_bytes(&self) -> Result<Option<u64>, ImageError> {
        self.connection()?.cluster.free_bytes().map_err(|error| self.read_failed(error))
    }

    /// Finishes a commit whose gateway died after its commit point; where that gateway still lives, it is its own business.
    /// Then looks at the snapshot: whether it is whole.
    pub(super) fn confirm(&self, name: &ImageName, snapshot: &SnapshotId) -> Result<bool, ImageError> {
        let Some(mut survey) = self.survey(name)? else { return Ok(false) };
        if survey.catalog.intent.is_some() {
            match self.tend(name) {
                Ok(()) | Err(ImageError::Busy { .. } | ImageError::InUse { .. }) => {}
                Err(error) => return Err(error),
            }
            let Some(again) = self.survey(name)? else { return Ok(false) };
            survey = again;
        }
        let Survey { pool, catalog } = survey;
        match catalog.find(snapshot) {
            Some(entry) if catalog.is_whole(entry) => Tree::is_sound(&pool, &catalog, entry),
            _ => Ok(false),
        }
    }

    /// Recovers and collects, if nobody has the image.
    fn tend(&self, name: &ImageName) -> Result<(), ImageError> {
        let busy = || ImageError::Busy { image: name.clone() };
        let claim = self.writers.claim(name, Duration::ZERO).ok_or_else(busy)?;
        claim.is_closing();
        let session = Arc::new(Session::open(self, name, None)?);
        self.tend_alone(&session)
    }

    fn tend_alone(&self, session: &Arc<Session>) -> Result<(), ImageError> {
        session.require_features()?;
        fence::take(session, self.patience)?;
        let catalog = recover(session, &self.config, session.survey()?)?;
        collect(session, &self.readers, catalog, None).map(|_| ())
    }
}
