//! What changed between two snapshots.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::ptr;

use super::Image;
use crate::error::{Error, checked};
use crate::pool::Features;
use crate::text::to_c;

/// A range of an image that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes from the beginning of the image.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// There is data now. False: it reads as zeroes.
    pub exists: bool,
}

/// Any negative number that librbd does not use itself: it ends the iteration.
const STOP: c_int = -125;

/// What the callback works on.
struct Visit<F> {
    each: F,
    stopped: bool,
    panic: Option<Box<dyn Any + Send>>,
}

impl Image {
    /// Calls `each` with what changed from snapshot `from` (`None`: from nothing) to the snapshot that the image is open
    /// at, or its head, within `length` bytes from `offset`, until `each` breaks off. Offsets come in ascending order.
    ///
    /// With `whole_objects` a changed object is reported whole, which the object map answers without asking for each
    /// object (see [`Image::has_change_map`]); an object that counts as changed may be unchanged. Without, and where the
    /// map cannot be trusted, extents are exact to the byte, and each object is asked for. Data of the parent is included
    /// if `from` is `None`.
    ///
    /// Blocks. `each` may run on a thread of the library and must not call into this image.
    pub fn differences<F>(
        &self,
        from: Option<&str>,
        whole_objects: bool,
        offset: u64,
        length: u64,
        each: F,
    ) -> Result<(), Error>
    where
        F: FnMut(Extent) -> ControlFlow<()> + Send,
    {
        // An empty range is an assertion in librbd 16.2 that ends the process.
        if length == 0 || offset >= self.size()? {
            return Ok(());
        }
        let name = from.map(to_c).transpose()?;
        let whole_objects = whole_objects && self.kept_its_size(from)?;
        let mut visit = Visit { each, stopped: false, panic: None };
        // SAFETY: the image is open; the string and `visit` outlive the call, which calls back from one thread at a
        // time with `visit`, and not after it has returned.
        let code = unsafe {
            self.ceph().rbd_diff_iterate2(
                self.raw,
                name.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
                offset,
                length,
                1,
                u8::from(whole_objects),
                Some(visit_extent::<F>),
                (&raw mut visit).cast(),
            )
        };
        if let Some(payload) = visit.panic {
            std::panic::resume_unwind(payload);
        }
        if visit.stopped {
            return Ok(());
        }
        let action = || format!("list what changed in image {} since {}", self.name, from.unwrap_or("its beginning"));
        checked(code, action).map(|_| ())
    }

    /// Whether the object map tells what changed since `from` (`None`: what is there), for the whole image at once: the
    /// image has one, it is not flagged, and the image had one size all the time. Blocks.
    pub fn has_change_map(&self, from: Option<&str>) -> Result<bool, Error> {
        let flags = self.flags()?;
        let mapped = self.features()?.contains(Features::FAST_DIFF);
        let valid = !flags.fast_diff_invalid && !flags.object_map_invalid;
        Ok(mapped && valid && self.kept_its_size(from)?)
    }

    /// Where a snapshot in between is smaller than those around it, librbd 16 overlooks objects that were cut off and did
    /// not come back: asked for whole objects, it does not report that they are gone.
    fn kept_its_size(&self, from: Option<&str>) -> Result<bool, Error> {
        let Some(from) = from else { return Ok(true) };
        let (size, snapshots) = (self.size()?, self.snapshots()?);
        let Some(first) = snapshots.iter().find(|snapshot| snapshot.name == from) else { return Ok(true) };
        let span = first.id..=self.snapshot.unwrap_or(u64::MAX);
        Ok(snapshots.iter().filter(|snapshot| span.contains(&snapshot.id)).all(|snapshot| snapshot.size == size))
    }
}

unsafe extern "C" fn visit_extent<F>(offset: u64, length: usize, exists: c_int, argument: *mut c_void) -> c_int
where
    F: FnMut(Extent) -> ControlFlow<()> + Send,
{
    // SAFETY: `argument` is the `Visit` of `differences`, which waits, and there is one call at a time.
    let visit = unsafe { &mut *argument.cast::<Visit<F>>() };
    if visit.stopped || visit.panic.is_some() {
        return STOP;
    }
    let extent = Extent { offset, length: length as u64, exists: exists != 0 };
    match std::panic::catch_unwind(AssertUnwindSafe(|| (visit.each)(extent))) {
        Ok(ControlFlow::Continue(())) => 0,
        Ok(ControlFlow::Break(())) => {
            visit.stopped = true;
            STOP
        }
        Err(payload) => {
            visit.panic = Some(payload);
            STOP
        }
    }
}
