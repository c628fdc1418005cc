//! A connection to a cluster.

use std::ffi::c_char;
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Arc, Once};
use std::time::Duration;

use crate::bindings::{rados_cluster_stat_t, rados_t};
use crate::completion::{Running, Service, Starter};
use crate::dispose::{Connected, dispose, guard_exit};
use crate::error::{Error, checked};
use crate::library::Library;
use crate::pool::{Pool, PoolHandle};
use crate::text::{from_c, growing, to_c, until_zero};

/// How to reach a cluster, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cluster's `ceph.conf`; `None`: where Ceph looks for it (`$CEPH_CONF`, `/etc/ceph/ceph.conf`).
    pub configuration: Option<PathBuf>,
    /// The user's name without `client.`; `None`: `admin`.
    pub user: Option<String>,
    /// The file with the user's key; `None`: what the configuration says.
    pub keyring: Option<PathBuf>,
    /// Further options in Ceph's words, such as `("mon_host", "…")`. They precede the file; the cache of images and
    /// the time limits are not among them.
    pub options: Vec<(String, String)>,
    /// How long the cluster may take for one operation before it is an error.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let timeout = Duration::from_secs(30);
        Self { configuration: None, user: None, keyring: None, options: Vec::new(), timeout }
    }
}

/// Options that this crate relies on, whatever the configuration says. Without the cache a write that completes is with
/// the OSDs. Writes are copied once by librbd: without that copy, release 16 never answers a write that it refuses itself
/// (behind the end, without the lock, of a blocklisted client), because the request that holds the buffer waits for the
/// completion and the completion for the buffer.
const OWN_OPTIONS: &[(&str, &str)] = &[("rbd_cache", "false"), ("rbd_disable_zero_copy_writes", "true")];
static CONNECTED: Once = Once::new();
/// Options that take [`Settings::timeout`], in seconds.
const TIME_LIMITS: &[&str] = &["client_mount_timeout", "rados_mon_op_timeout", "rados_osd_op_timeout"];

/// A connection to a cluster: one RADOS client, which can be blocklisted by its [`Cluster::addresses`]. Clones share it.
#[derive(Debug, Clone)]
pub struct Cluster {
    handle: Arc<ClusterHandle>,
}

/// The connection itself, alive until the last pool and image of it are closed.
pub(crate) struct ClusterHandle {
    pub(crate) library: Arc<Library>,
    pub(crate) raw: rados_t,
    /// Operations on RADOS objects; those of images are counted with the image.
    running: Arc<Running>,
    connected: Arc<Connected>,
}

// SAFETY: librados locks inside; its documentation allows a `rados_t` to be used from many threads at once.
unsafe impl Send for ClusterHandle {}
// SAFETY: as above.
unsafe impl Sync for ClusterHandle {}

impl ClusterHandle {
    /// For operations on objects of `pool`.
    pub(crate) fn starter(&self, pool: &Arc<PoolHandle>) -> Starter {
        let (library, running) = (Arc::clone(&self.library), Arc::clone(&self.running));
        Starter { library, service: Service::Rados, running, pool: Some(Arc::clone(pool)) }
    }
}

impl fmt::Debug for ClusterHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClusterHandle")
    }
}

impl Drop for ClusterHandle {
    fn drop(&mut self) {
        let (library, running) = (Arc::clone(&self.library), Arc::clone(&self.running));
        let closing = Closing { library, raw: self.raw, running, _connected: Arc::clone(&self.connected) };
        dispose(move || closing.close());
    }
}

/// A connection that nobody uses any more, on its way to another thread.
struct Closing {
    library: Arc<Library>,
    raw: rados_t,
    running: Arc<Running>,
    _connected: Arc<Connected>,
}

// SAFETY: as for `ClusterHandle`.
unsafe impl Send for Closing {}

impl Closing {
    fn close(self) {
        self.running.wait();
        // SAFETY: `raw` came from `rados_create2`; all that was made from it is gone, since each held the handle.
        unsafe { self.library.ceph.rados_shutdown(self.raw) };
    }
}

impl Cluster {
    /// Connects. Blocks, at most about [`Settings::timeout`].
    pub fn connect(library: &Arc<Library>, settings: &Settings) -> Result<Self, Error> {
        let cluster = Self::create(library, settings.user.as_deref().unwrap_or("admin"))?;
        cluster.configure(settings)?;
        // SAFETY: `raw` is valid, configured and not connected yet.
        let code = unsafe { library.ceph.rados_connect(cluster.raw()) };
        match checked(code, || settings.describe()) {
            Ok(_) => Ok(cluster),
            Err(error) => Err(error
                .with_remedy("check that the monitors of the configuration answer, and that the user has this key")),
        }
    }

    fn create(library: &Arc<Library>, user: &str) -> Result<Self, Error> {
        let name = to_c(&format!("client.{user}"))?;
        let mut raw = ptr::null_mut();
        // SAFETY: both names are strings that outlive the call, and `raw` is where the handle is written.
        let code = unsafe { library.ceph.rados_create2(&raw mut raw, c"ceph".as_ptr(), name.as_ptr(), 0) };
        checked(code, || "make a RADOS client".to_owned())?;
        guard_exit(&CONNECTED);
        let (library, connected) = (Arc::clone(library), Arc::new(Connected::new()));
        let handle = ClusterHandle { library, raw, running: Arc::default(), connected };
        Ok(Self { handle: Arc::new(handle) })
    }

    fn raw(&self) -> rados_t {
        self.handle.raw
    }

    fn configure(&self, settings: &Settings) -> Result<(), Error> {
        self.read_configuration(settings)?;
        for (option, value) in &settings.options {
            self.set(option, value)?;
        }
        if let Some(keyring) = &settings.keyring {
            self.set("keyring", &path_text(keyring))?;
        }
        let seconds = settings.timeout.as_secs().max(1).to_string();
        for option in TIME_LIMITS {
            self.set(option, &seconds)?;
        }
        OWN_OPTIONS.iter().try_for_each(|(option, value)| self.set(option, value))
    }

    fn read_configuration(&self, settings: &Settings) -> Result<(), Error> {
        let path = settings.configuration.as_deref().map(path_text);
        let file = path.as_deref().map(to_c).transpose()?;
        // SAFETY: null asks for the default places; the string outlives the call.
        let code = unsafe {
            self.handle
                .library
                .ceph
                .rados_conf_read_file(self.raw(), file.as_ref().map_or(ptr::null(), |file| file.as_ptr()))
        };
        let named = settings.options.iter().any(|(option, _)| option.replace(' ', "_") == "mon_host");
        if path.is_none() && named {
            return Ok(());
        }
        let place = path.unwrap_or_else(|| "in the usual places (/etc/ceph/ceph.conf)".to_owned());
        checked(code, || format!("read the Ceph configuration {place}")).map(|_| ())
    }

    fn set(&self, option: &str, value: &str) -> Result<(), Error> {
        let (name, text) = (to_c(option)?, to_c(value)?);
        // SAFETY: both strings outlive the call.
        let code = unsafe { self.handle.library.ceph.rados_conf_set(self.raw(), name.as_ptr(), text.as_ptr()) };
        checked(code, || format!("set the Ceph option {option} to {value:?}")).map(|_| ())
    }

    /// The cluster's identity (a UUID).
    pub fn fsid(&self) -> Result<String, Error> {
        let ceph = &self.handle.library.ceph;
        let [bytes] = growing(
            || "ask for the cluster's fsid".to_owned(),
            [64],
            |[buffer], lengths| {
                // SAFETY: the buffer is as long as said.
                let code = unsafe { ceph.rados_cluster_fsid(self.raw(), buffer.as_mut_ptr().cast(), buffer.len()) };
                lengths[0] = buffer.len();
                i64::from(code)
            },
        )?;
        Ok(until_zero(&bytes))
    }

    /// The addresses of this client, in the form that [`Cluster::blocklist`] takes.
    pub fn addresses(&self) -> Result<String, Error> {
        let ceph = &self.handle.library.ceph;
        let mut text: *mut c_char = ptr::null_mut();
        // SAFETY: `text` is where the address of a new string is written.
        checked(unsafe { ceph.rados_getaddrs(self.raw(), &raw mut text) }, || "ask for our own address".to_owned())?;
        // SAFETY: a string that is ours now.
        let addresses = unsafe { from_c(text) };
        // SAFETY: allocated by `rados_getaddrs`, freed once.
        unsafe { ceph.rados_buffer_free(text) };
        Ok(addresses)
    }

    /// Forbids the client at `address` everything for `seconds` (0: as long as the cluster's default, an hour). When it
    /// returns, this client knows of it: an OSD that serves it from then on does not serve the other. Blocks.
    pub fn blocklist(&self, address: &str, seconds: u32) -> Result<(), Error> {
        let text = to_c(address)?;
        // SAFETY: the string outlives the call; despite its type it is only read.
        let code =
            unsafe { self.handle.library.ceph.rados_blocklist_add(self.raw(), text.as_ptr().cast_mut(), seconds) };
        let action = || format!("blocklist the client at {address}");
        checked(code, action).map_err(|error| error.with_remedy("the user needs `mon 'profile rbd'`"))?;
        // SAFETY: connected.
        checked(unsafe { self.handle.library.ceph.rados_wait_for_latest_osdmap(self.raw()) }, action).map(|_| ())
    }

    /// Free bytes of the whole cluster, before replication; `None` while the cluster does not know (it needs a
    /// manager for that). Blocks.
    pub fn free_bytes(&self) -> Result<Option<u64>, Error> {
        let mut usage = rados_cluster_stat_t { kb: 0, kb_used: 0, kb_avail: 0, num_objects: 0 };
        // SAFETY: `usage` is where the answer is written.
        let code = unsafe { self.handle.library.ceph.rados_cluster_stat(self.raw(), &raw mut usage) };
        checked(code, || "ask the cluster for its free space".to_owned())?;
        Ok((usage.kb > 0).then(|| usage.kb_avail.saturating_mul(1024)))
    }

    /// A pool, or one of its namespaces. Blocks.
    pub fn pool(&self, name: &str, namespace: Option<&str>) -> Result<Pool, Error> {
        Pool::connect(&self.handle, name, namespace)
    }
}

impl Settings {
    fn describe(&self) -> String {
        let user = self.user.as_deref().unwrap_or("admin");
        match &self.configuration {
            Some(file) => format!("connect to the Ceph cluster of {} as client.{user}", file.display()),
            None => format!("connect to the Ceph cluster as client.{user}"),
        }
    }
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
