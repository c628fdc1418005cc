//! An open image.
//!
//! What is asked of it is answered by librbd from what it knows; an image that is open for writing is told of changes
//! by others, one that is open for reading is as it was when it was opened.

mod data;
mod difference;
mod lock;
mod metadata;
mod snapshot;
mod updates;

pub use difference::Extent;
pub use lock::{Locker, Watcher};
pub use snapshot::Snapshot;

use std::ffi::{c_char, c_int};
use std::fmt;
use std::mem;
use std::ptr;
use std::sync::{Arc, Once};

use self::updates::Watch;
use crate::bindings::{
    Ceph, RBD_FLAG_FAST_DIFF_INVALID, RBD_FLAG_OBJECT_MAP_INVALID, rbd_config_option_t, rbd_image_info_t, rbd_image_t,
};
use crate::completion::{Service, Starter};
use crate::dispose::{dispose, guard_exit};
use crate::error::{EINVAL, ERANGE, Error, checked};
use crate::pool::{Features, Mode, Pool, PoolHandle, SnapshotReference};
use crate::text::{from_c, growing, to_c, until_zero};

/// What may hold a write back that it has answered, in memory or on a disk of this machine, with the value that says it is
/// off. A release that does not know an option has no such cache.
const CACHES: [(&str, &str); 2] = [("rbd_cache", "false"), ("rbd_persistent_cache_mode", "disabled")];

static OPENED: Once = Once::new();

/// What librbd says of an image's maps: a map that is flagged must not be trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// The map of the objects that exist must not be trusted.
    pub object_map_invalid: bool,
    /// The map of the objects that changed must not be trusted.
    pub fast_diff_invalid: bool,
}

/// An open image. Closed when it is dropped, in the background; by [`Image::close`] at once.
pub struct Image {
    starter: Starter,
    /// Alive until the image is closed.
    pool: Arc<PoolHandle>,
    raw: rbd_image_t,
    /// The snapshot that it is open at; `None`: the head.
    snapshot: Option<u64>,
    /// Of an image that is open for writing.
    watch: Option<Watch>,
    /// `pool/image` or `pool/image@snapshot`, for errors.
    name: String,
}

// SAFETY: librbd locks inside; its documentation allows an image to be used from many threads at once.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

impl fmt::Debug for Image {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Image({})", self.name)
    }
}

/// An image that nobody uses any more.
struct Closing {
    starter: Starter,
    pool: Arc<PoolHandle>,
    watch: Option<Watch>,
    raw: rbd_image_t,
}

// SAFETY: as for `Image`.
unsafe impl Send for Closing {}

impl Closing {
    fn close(self) -> c_int {
        self.starter.running.wait();
        if let Some(watch) = self.watch {
            watch.end();
        }
        // SAFETY: opened by us, closed once, after all of its operations.
        let code = unsafe { self.starter.library.ceph.rbd_close(self.raw) };
        drop(self.pool);
        code
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Some(closing) = self.take() {
            dispose(move || {
                closing.close();
            });
        }
    }
}

impl Image {
    pub(crate) fn open(
        pool: &Pool,
        name: &str,
        mode: Mode,
        snapshot: Option<SnapshotReference<'_>>,
    ) -> Result<Self, Error> {
        let (text, mut raw) = (to_c(name)?, ptr::null_mut());
        let (ceph, context) = (&pool.library().ceph, pool.handle.raw);
        // SAFETY: the pool is valid, the string outlives the call, `raw` is where the handle is written.
        let code = unsafe {
            match mode {
                Mode::ReadOnly => ceph.rbd_open_read_only(context, text.as_ptr(), &raw mut raw, ptr::null()),
                Mode::ReadWrite => ceph.rbd_open(context, text.as_ptr(), &raw mut raw, ptr::null()),
            }
        };
        let full_name = format!("{}/{name}", pool.handle.name);
        checked(code, || format!("open image {full_name}"))?;
        guard_exit(&OPENED);
        let library = Arc::clone(pool.library());
        let starter = Starter { library, service: Service::Rbd, running: Arc::default(), pool: None };
        let mut image =
            Self { starter, pool: Arc::clone(&pool.handle), raw, snapshot: None, watch: None, name: full_name };
        image.select(snapshot)?;
        if mode == Mode::ReadWrite {
            image.watch = Some(Watch::begin(&image.starter.library, image.raw, &image.name)?);
            image.refuse_cache()?;
        }
        Ok(image)
    }

    fn select(&mut self, snapshot: Option<SnapshotReference<'_>>) -> Result<(), Error> {
        let Some(snapshot) = snapshot else { return Ok(()) };
        let (code, name) = match snapshot {
            SnapshotReference::Name(name) => {
                self.snapshot = Some(self.snapshot_id(name)?);
                let text = to_c(name)?;
                // SAFETY: the image is open and not shared yet, the string outlives the call.
                let code = unsafe { self.ceph().rbd_snap_set(self.raw, text.as_ptr()) };
                (code, name.to_owned())
            }
            SnapshotReference::Id(id) => {
                self.snapshot = Some(id);
                // SAFETY: the image is open and not shared yet.
                let code = unsafe { self.ceph().rbd_snap_set_by_id(self.raw, id) };
                (code, format!("(id {id})"))
            }
        };
        checked(code, || format!("open snapshot {name} of image {}", self.name))?;
        self.name = format!("{}@{name}", self.name);
        Ok(())
    }

    /// A cache would acknowledge writes that no OSD has. Settings of the image and the pool go before ours.
    fn refuse_cache(&self) -> Result<(), Error> {
        for (option, off) in CACHES {
            if let Some(value) = self.setting(option)?.filter(|value| value != off) {
                let remedy = format!(
                    "its cache is on ({option}={value}); switch it off: rbd config image remove {} {option}, and the same \
                     for the pool",
                    self.name
                );
                return Err(Error::new(format!("open image {} for writing", self.name), EINVAL).with_remedy(remedy));
            }
        }
        Ok(())
    }

    /// The value that an option of librbd has for this image.
    fn setting(&self, option: &str) -> Result<Option<String>, Error> {
        let mut capacity = 256;
        loop {
            let empty = rbd_config_option_t { name: ptr::null_mut(), value: ptr::null_mut(), source: 0 };
            let mut list = vec![empty; usize::try_from(capacity).unwrap_or_default()];
            let mut count = capacity;
            // SAFETY: the image is open, the list has room for `count` entries.
            let code = unsafe { self.ceph().rbd_config_image_list(self.raw, list.as_mut_ptr(), &raw mut count) };
            if code == -ERANGE && count > capacity {
                capacity = count;
                continue;
            }
            checked(code, || format!("read the settings of image {}", self.name))?;
            list.truncate(usize::try_from(count).unwrap_or_default());
            // SAFETY: the strings of the entries are valid until they are cleaned up.
            let found = list.iter().find(|entry| unsafe { from_c(entry.name) } == option);
            // SAFETY: as above.
            let value = found.map(|entry| unsafe { from_c(entry.value) });
            // SAFETY: the entries that the library filled, freed once.
            unsafe { self.ceph().rbd_config_image_list_cleanup(list.as_mut_ptr(), count) };
            return Ok(value);
        }
    }

    /// Closes the image and waits for that, and for all operations under way. Blocks.
    pub fn close(mut self) -> Result<(), Error> {
        let Some(closing) = self.take() else { return Ok(()) };
        checked(closing.close(), || format!("close image {}", self.name)).map(|_| ())
    }

    /// The handle, once.
    fn take(&mut self) -> Option<Closing> {
        let raw = mem::replace(&mut self.raw, ptr::null_mut());
        let (starter, pool, watch) = (self.starter.clone(), Arc::clone(&self.pool), self.watch.take());
        (!raw.is_null()).then_some(Closing { starter, pool, watch, raw })
    }

    fn ceph(&self) -> &Ceph {
        &self.starter.library.ceph
    }

    /// Ceph's own identity of the image, which no other image of the pool ever has. Its header object is
    /// `rbd_header.<id>`.
    pub fn id(&self) -> Result<String, Error> {
        let action = || format!("ask for the id of image {}", self.name);
        let [bytes] = growing(action, [64], |[buffer], lengths| {
            // SAFETY: the image is open, the buffer is as long as said.
            let code = unsafe { self.ceph().rbd_get_id(self.raw, buffer.as_mut_ptr().cast::<c_char>(), buffer.len()) };
            lengths[0] = if code == -ERANGE { buffer.len() * 2 } else { buffer.len() };
            i64::from(code)
        })?;
        Ok(until_zero(&bytes))
    }

    /// The size, in bytes, of the snapshot that it is open at, or of the head. Blocks.
    pub fn size(&self) -> Result<u64, Error> {
        // SAFETY: the image is open.
        self.number("size", |size| unsafe { self.ceph().rbd_get_size(self.raw, size) })
    }

    /// Blocks.
    pub fn features(&self) -> Result<Features, Error> {
        // SAFETY: the image is open.
        self.number("features", |bits| unsafe { self.ceph().rbd_get_features(self.raw, bits) }).map(Features)
    }

    /// What is said of the maps of the snapshot that it is open at, or of the head. Blocks.
    pub fn flags(&self) -> Result<Flags, Error> {
        // SAFETY: the image is open.
        let bits = self.number("flags", |bits| unsafe { self.ceph().rbd_get_flags(self.raw, bits) })?;
        Ok(Flags {
            object_map_invalid: bits & u64::from(RBD_FLAG_OBJECT_MAP_INVALID) != 0,
            fast_diff_invalid: bits & u64::from(RBD_FLAG_FAST_DIFF_INVALID) != 0,
        })
    }

    /// Bytes in one object. Blocks.
    pub fn object_bytes(&self) -> Result<u64, Error> {
        let mut facts = mem::MaybeUninit::<rbd_image_info_t>::zeroed();
        // SAFETY: the image is open, `facts` is where as many bytes as said are written.
        let code = unsafe { self.ceph().rbd_stat(self.raw, facts.as_mut_ptr(), size_of::<rbd_image_info_t>()) };
        checked(code, || format!("ask for the object size of image {}", self.name))?;
        // SAFETY: numbers and pointers of which zero is a valid value, filled by the library.
        Ok(unsafe { facts.assume_init() }.obj_size)
    }

    /// Stripe unit in bytes, and the number of objects that a stripe goes over (1: not striped). Blocks.
    pub fn stripe(&self) -> Result<(u64, u64), Error> {
        // SAFETY: the image is open.
        let unit = self.number("stripe unit", |unit| unsafe { self.ceph().rbd_get_stripe_unit(self.raw, unit) })?;
        // SAFETY: the image is open.
        let count =
            self.number("stripe count", |count| unsafe { self.ceph().rbd_get_stripe_count(self.raw, count) })?;
        Ok((unit, count))
    }

    /// Bytes at the image's beginning that it shares with the parent that it was cloned from; 0 without one. Blocks.
    pub fn parent_overlap(&self) -> Result<u64, Error> {
        // SAFETY: the image is open.
        self.number("parent", |bytes| unsafe { self.ceph().rbd_get_overlap(self.raw, bytes) })
    }

    fn number(&self, what: &str, ask: impl FnOnce(*mut u64) -> c_int) -> Result<u64, Error> {
        let mut number = 0;
        checked(ask(&raw mut number), || format!("ask for the {what} of image {}", self.name))?;
        Ok(number)
    }

    /// Makes the image larger or smaller. What is cut off is gone. Blocks, longer for more data.
    pub fn resize(&self, size: u64) -> Result<(), Error> {
        // SAFETY: the image is open.
        let code = unsafe { self.ceph().rbd_resize(self.raw, size) };
        checked(code, || format!("resize image {} to {size} bytes", self.name)).map(|_| ())
    }
}
