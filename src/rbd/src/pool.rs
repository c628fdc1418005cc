//! A pool: where RADOS objects and images lie.

use std::fmt;
use std::ptr;
use std::sync::Arc;

use crate::bindings::{
    RBD_FEATURE_DATA_POOL, RBD_FEATURE_DEEP_FLATTEN, RBD_FEATURE_EXCLUSIVE_LOCK, RBD_FEATURE_FAST_DIFF,
    RBD_FEATURE_JOURNALING, RBD_FEATURE_LAYERING, RBD_FEATURE_OBJECT_MAP, RBD_FEATURE_STRIPINGV2,
    RBD_IMAGE_OPTION_FEATURES, RBD_IMAGE_OPTION_FORMAT, RBD_IMAGE_OPTION_ORDER, RBD_IMAGE_OPTION_STRIPE_COUNT,
    RBD_IMAGE_OPTION_STRIPE_UNIT, rados_ioctx_t, rbd_image_options_t, rbd_image_spec_t,
};
use crate::cluster::ClusterHandle;
use crate::error::{EINVAL, ERANGE, Error, checked};
use crate::image::Image;
use crate::library::Library;
use crate::text::{from_c, to_c};

/// Whether an image is opened to be written. Reading takes no lock and sets no watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For reading. What others change afterwards, such as the list of snapshots, is not seen.
    ReadOnly,
    /// For reading and writing.
    ReadWrite,
}

/// The snapshot that an image is opened at. Names can be given again, numbers are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotReference<'a> {
    /// The one that has this name now.
    Name(&'a str),
    /// The one with this id.
    Id(u64),
}

/// An image in a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// It can be given to another image later.
    pub name: String,
    /// Ceph's own identity of the image: another image of the same name has another one.
    pub id: String,
}

/// Features of an image, as Ceph's bit mask.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Features(pub u64);

impl Features {
    /// It can be cloned.
    pub const LAYERING: Self = Self(RBD_FEATURE_LAYERING as u64);
    /// Neighbouring bytes can lie in several objects.
    pub const STRIPING: Self = Self(RBD_FEATURE_STRIPINGV2 as u64);
    /// One client writes at a time.
    pub const EXCLUSIVE_LOCK: Self = Self(RBD_FEATURE_EXCLUSIVE_LOCK as u64);
    /// Which objects exist is known without asking for each.
    pub const OBJECT_MAP: Self = Self(RBD_FEATURE_OBJECT_MAP as u64);
    /// Which objects changed between two snapshots is known without asking for each.
    pub const FAST_DIFF: Self = Self(RBD_FEATURE_FAST_DIFF as u64);
    /// Flattening a clone detaches its snapshots too.
    pub const DEEP_FLATTEN: Self = Self(RBD_FEATURE_DEEP_FLATTEN as u64);
    /// Writes go through a journal.
    pub const JOURNALING: Self = Self(RBD_FEATURE_JOURNALING as u64);
    /// Data lies in a pool of its own.
    pub const DATA_POOL: Self = Self(RBD_FEATURE_DATA_POOL as u64);

    /// By the names of the `rbd` tool.
    const NAMES: [(&'static str, Self); 8] = [
        ("layering", Self::LAYERING),
        ("striping", Self::STRIPING),
        ("exclusive-lock", Self::EXCLUSIVE_LOCK),
        ("object-map", Self::OBJECT_MAP),
        ("fast-diff", Self::FAST_DIFF),
        ("deep-flatten", Self::DEEP_FLATTEN),
        ("journaling", Self::JOURNALING),
        ("data-pool", Self::DATA_POOL),
    ];

    /// The feature of that name, as the `rbd` tool calls it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, feature)| *feature)
    }

    /// Whether it has all features of `other`.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Features {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().filter(|(_, feature)| self.contains(*feature)).map(|(name, _)| *name);
        write!(formatter, "Features({:#x}: {})", self.0, names.collect::<Vec<_>>().join(","))
    }
}

/// How a new image lies in its objects. `None` leaves it to the cluster's configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Layout {
    /// Bytes in one object: a power of two, 4 KiB to 32 MiB.
    pub object_bytes: Option<u64>,
    /// Those of the image itself.
    pub features: Option<Features>,
    /// Stripe unit in bytes, and the number of objects that a stripe goes over.
    pub stripe: Option<(u64, u64)>,
}

/// A pool, or one namespace of it. Clones share it.
#[derive(Debug, Clone)]
pub struct Pool {
    pub(crate) handle: Arc<PoolHandle>,
}

pub(crate) struct PoolHandle {
    pub(crate) cluster: Arc<ClusterHandle>,
    pub(crate) raw: rados_ioctx_t,
    /// `pool` or `pool/namespace`, for errors.
    pub(crate) name: String,
}

// SAFETY: librados locks inside; what is not safe to do at once (to change the namespace) is done before it is shared.
unsafe impl Send for PoolHandle {}
// SAFETY: as above.
unsafe impl Sync for PoolHandle {}

impl fmt::Debug for PoolHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PoolHandle({})", self.name)
    }
}

impl Drop for PoolHandle {
    fn drop(&mut self) {
        // SAFETY: made by `rados_ioctx_create`, destroyed once. Operations under way keep this handle.
        unsafe { self.cluster.library.ceph.rados_ioctx_destroy(self.raw) };
    }
}

impl Pool {
    pub(crate) fn connect(cluster: &Arc<ClusterHandle>, name: &str, namespace: Option<&str>) -> Result<Self, Error> {
        let text = to_c(name)?;
        let mut raw = ptr::null_mut();
        // SAFETY: the connection is valid, the string outlives the call, `raw` is where the handle is written.
        let code = unsafe { cluster.library.ceph.rados_ioctx_create(cluster.raw, text.as_ptr(), &raw mut raw) };
        checked(code, || format!("open the pool {name}"))?;
        let full_name = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{name}/{namespace}"));
        let handle = PoolHandle { cluster: Arc::clone(cluster), raw, name: full_name };
        // SAFETY: valid. Writes to a full pool fail then, instead of waiting for space that may never come. Before the
        // namespace is asked for: that question counts as a write.
        unsafe { cluster.library.ceph.rados_set_pool_full_try(raw) };
        if let Some(namespace) = namespace {
            handle.enter(namespace)?;
        }
        Ok(Self { handle: Arc::new(handle) })
    }

    pub(crate) fn library(&self) -> &Arc<Library> {
        &self.handle.cluster.library
    }

    /// The number of the pool, never given again in this cluster.
    #[must_use]
    pub fn id(&self) -> i64 {
        // SAFETY: valid, and the function only reads.
        unsafe { self.library().ceph.rados_ioctx_get_id(self.handle.raw) }
    }

    /// Makes an image of `size` bytes. Blocks.
    pub fn create(&self, name: &str, size: u64, layout: &Layout) -> Result<(), Error> {
        let text = to_c(name)?;
        let options = Options::new(self.library(), layout)?;
        // SAFETY: pool and options are valid, the string outlives the call.
        let code = unsafe { self.library().ceph.rbd_create4(self.handle.raw, text.as_ptr(), size, options.raw) };
        checked(code, || format!("create image {name} of {size} bytes in pool {}", self.handle.name)).map(|_| ())
    }

    /// Removes an image, which must have no snapshots and not be open anywhere. Blocks, longer for more data.
    pub fn remove_image(&self, name: &str) -> Result<(), Error> {
        let text = to_c(name)?;
        // SAFETY: the pool is valid, the string outlives the call.
        let code = unsafe { self.library().ceph.rbd_remove(self.handle.raw, text.as_ptr()) };
        checked(code, || format!("remove image {name} from pool {}", self.handle.name)).map(|_| ())
    }

    /// The images of the pool. Blocks.
    pub fn images(&self) -> Result<Vec<ImageName>, Error> {
        let ceph = &self.library().ceph;
        let mut count = 64;
        loop {
            let empty = rbd_image_spec_t { id: ptr::null_mut(), name: ptr::null_mut() };
            let mut list = vec![empty; count];
            let capacity = count;
            // SAFETY: the list has room for `count` entries.
            let code = unsafe { ceph.rbd_list2(self.handle.raw, list.as_mut_ptr(), &raw mut count) };
            if code == -ERANGE && count > capacity {
                continue;
            }
            checked(code, || format!("list the images of pool {}", self.handle.name))?;
            list.truncate(count);
            // SAFETY: the strings of the entries are valid until they are cleaned up.
            let names =
                list.iter().map(|entry| unsafe { ImageName { name: from_c(entry.name), id: from_c(entry.id) } });
            let names = names.collect();
            // SAFETY: the entries that the library filled, freed once.
            unsafe { ceph.rbd_image_spec_list_cleanup(list.as_mut_ptr(), list.len()) };
            return Ok(names);
        }
    }

    /// Opens an image, at a snapshot or at its head. Blocks.
    ///
    /// An image whose own settings or whose pool's settings switch the cache on is refused: what is written would not
    /// be with the OSDs when the write is done.
    pub fn open(&self, name: &str, mode: Mode, snapshot: Option<SnapshotReference<'_>>) -> Result<Image, Error> {
        Image::open(self, name, mode, snapshot)
    }
}

impl PoolHandle {
    fn enter(&self, namespace: &str) -> Result<(), Error> {
        let (ceph, text, mut exists) = (&self.cluster.library.ceph, to_c(namespace)?, false);
        // SAFETY: the string outlives the call, `exists` is where the answer is written.
        let code = unsafe { ceph.rbd_namespace_exists(self.raw, text.as_ptr(), &raw mut exists) };
        let action = || format!("open the namespace {}", self.name);
        checked(code, action)?;
        if !exists {
            return Err(Error::new(action(), 2).with_remedy(format!("make it: rbd namespace create {}", self.name)));
        }
        // SAFETY: nobody else has this handle yet; the string outlives the call.
        unsafe { ceph.rados_ioctx_set_namespace(self.raw, text.as_ptr()) };
        Ok(())
    }
}

/// Options of a new image.
struct Options<'a> {
    library: &'a Library,
    raw: rbd_image_options_t,
}

impl<'a> Options<'a> {
    fn new(library: &'a Library, layout: &Layout) -> Result<Self, Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` is where the handle is written.
        unsafe { library.ceph.rbd_image_options_create(&raw mut raw) };
        let options = Self { library, raw };
        options.set(RBD_IMAGE_OPTION_FORMAT, 2)?;
        if let Some(bytes) = layout.object_bytes {
            options.set(RBD_IMAGE_OPTION_ORDER, order(bytes)?)?;
        }
        if let Some(features) = layout.features {
            options.set(RBD_IMAGE_OPTION_FEATURES, features.0)?;
        }
        if let Some((unit, count)) = layout.stripe {
            options.set(RBD_IMAGE_OPTION_STRIPE_UNIT, unit)?;
            options.set(RBD_IMAGE_OPTION_STRIPE_COUNT, count)?;
        }
        Ok(options)
    }

    fn set(&self, option: u32, value: u64) -> Result<(), Error> {
        let option = option.cast_signed();
        // SAFETY: the handle is valid.
        let code = unsafe { self.library.ceph.rbd_image_options_set_uint64(self.raw, option, value) };
        checked(code, || format!("use {value} in the layout of an image")).map(|_| ())
    }
}

impl Drop for Options<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `rbd_image_options_create`, destroyed once.
        unsafe { self.library.ceph.rbd_image_options_destroy(self.raw) };
    }
}

/// The exponent of an object size.
fn order(bytes: u64) -> Result<u64, Error> {
    if bytes.is_power_of_two() {
        return Ok(u64::from(bytes.trailing_zeros()));
    }
    Err(Error::new(format!("make objects of {bytes} bytes"), EINVAL).with_remedy("it must be a power of two"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_sizes_are_powers_of_two() {
        assert_eq!(order(4 << 20).unwrap(), 22);
        assert!(order(3 << 20).is_err() && order(0).is_err());
    }

    #[test]
    fn features_have_the_names_of_the_tool() {
        let features = Features::named("fast-diff").unwrap() | Features::OBJECT_MAP;
        assert!(features.contains(Features::FAST_DIFF) && !features.contains(Features::LAYERING));
        assert_eq!(format!("{features:?}"), "Features(0x18: object-map,fast-diff)");
        assert_eq!(Features::named("speed"), None);
    }
}
