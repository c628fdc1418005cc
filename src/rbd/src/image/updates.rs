//! What others do to an image while it is open: its size above all.
//!
//! An exclusive lock keeps nobody from resizing: librbd itself carries out what another client asks of the owner. And who
//! compares the size now and then misses an image that was made smaller and larger again, with zeroes where data was. So
//! librbd tells of each change of the image's header, and the size is looked at each time.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Image;
use crate::bindings::rbd_image_t;
use crate::error::{Error, checked};
use crate::library::Library;

/// What librbd has told of an image.
struct Noticed {
    library: Arc<Library>,
    raw: rbd_image_t,
    /// The smallest size seen after a change, in bytes.
    smallest: AtomicU64,
}

// SAFETY: librbd locks inside; its documentation allows an image to be used from many threads at once.
unsafe impl Send for Noticed {}
// SAFETY: as above.
unsafe impl Sync for Noticed {}

/// Notices changes of an image's header until it is ended.
pub(super) struct Watch {
    noticed: Arc<Noticed>,
    handle: u64,
}

impl Watch {
    /// The image is open, and the watch is ended before it is closed.
    pub(super) fn begin(library: &Arc<Library>, raw: rbd_image_t, image: &str) -> Result<Self, Error> {
        let library = Arc::clone(library);
        let noticed = Arc::new(Noticed { library, raw, smallest: AtomicU64::new(u64::MAX) });
        let (argument, mut handle) = (Arc::as_ptr(&noticed).cast_mut().cast::<c_void>(), 0);
        // SAFETY: the image is open; the argument lives in `noticed`, which is kept until the watch is ended.
        let code = unsafe { noticed.library.ceph.rbd_update_watch(raw, &raw mut handle, Some(notice), argument) };
        checked(code, || format!("watch image {image}"))?;
        Ok(Self { noticed, handle })
    }

    /// No call comes after this. Blocks.
    pub(super) fn end(self) {
        // SAFETY: the image is open, the handle is from `begin` and ended once; librbd waits for calls under way.
        let code = unsafe { self.noticed.library.ceph.rbd_update_unwatch(self.noticed.raw, self.handle) };
        if code < 0 {
            // A call may still come: what it points to stays.
            std::mem::forget(self.noticed);
        }
    }
}

/// Called by librbd on a thread of its own, where an image may be asked. Cannot unwind: nothing in it panics.
unsafe extern "C" fn notice(argument: *mut c_void) {
    // SAFETY: `begin` gave this pointer, and it is valid until `end`.
    let Some(noticed) = (unsafe { argument.cast::<Noticed>().as_ref() }) else { return };
    let mut size = 0;
    // SAFETY: the image is open until the watch is ended.
    if unsafe { noticed.library.ceph.rbd_get_size(noticed.raw, ptr::from_mut(&mut size)) } >= 0 {
        noticed.smallest.fetch_min(size, Ordering::AcqRel);
    }
}

impl Image {
    /// Forgets which sizes the image was seen to have: a change of one's own is over.
    pub fn forget_sizes(&self) {
        if let Some(watch) = &self.watch {
            watch.noticed.smallest.store(u64::MAX, Ordering::Release);
        }
    }

    /// The smallest size in bytes that the image was seen to have since it was opened for writing, or since
    /// [`Image::forget_sizes`], now included. What was changed is seen soon after it. Blocks.
    pub fn smallest_size(&self) -> Result<u64, Error> {
        let seen = self.watch.as_ref().map_or(u64::MAX, |watch| watch.noticed.smallest.load(Ordering::Acquire));
        Ok(self.size()?.min(seen))
    }
}
