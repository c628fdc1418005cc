//! Snapshots of an image.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use super::Image;
use crate::bindings::{RBD_SNAP_NAMESPACE_TYPE_USER, rbd_snap_info_t};
use crate::error::{ERANGE, Error, checked};
use crate::text::{from_c, to_c};

/// A snapshot of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Never given again in the image's pool; larger than those of all earlier snapshots of the image.
    pub id: u64,
    /// Unique in the image; it can be given again after the snapshot is gone.
    pub name: String,
    /// Size of the image at this snapshot, in bytes.
    pub size: u64,
    /// It cannot be removed before it is unprotected.
    pub protected: bool,
    /// Made by a user. False: by Ceph itself (groups, mirroring, the trash), not to be touched.
    pub is_user: bool,
}

impl Image {
    /// All snapshots, oldest first. Blocks.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        let mut capacity: c_int = 64;
        loop {
            let empty = rbd_snap_info_t { id: 0, size: 0, name: ptr::null() };
            let mut list = vec![empty; usize::try_from(capacity).unwrap_or_default()];
            let mut count = capacity;
            // SAFETY: the image is open, the list has room for `count` entries.
            let code = unsafe { self.ceph().rbd_snap_list(self.raw, list.as_mut_ptr(), &raw mut count) };
            if code == -ERANGE && count > capacity {
                capacity = count;
                continue;
            }
            let number = usize::try_from(checked(code, || format!("list the snapshots of image {}", self.name))?);
            let entries = list.iter().take(number.unwrap_or_default());
            let snapshots = entries.map(|entry| self.snapshot(entry)).collect::<Result<Vec<_>, _>>();
            // SAFETY: filled by the library, which also wrote the entry that ends the list; freed once.
            unsafe { self.ceph().rbd_snap_list_end(list.as_mut_ptr()) };
            let mut snapshots = snapshots?;
            snapshots.sort_by_key(|snapshot| snapshot.id);
            return Ok(snapshots);
        }
    }

    /// `entry` is one that the library has filled and not freed.
    fn snapshot(&self, entry: &rbd_snap_info_t) -> Result<Snapshot, Error> {
        // SAFETY: the library's own string, valid until the list is freed.
        let name = unsafe { from_c(entry.name) };
        let mut space = RBD_SNAP_NAMESPACE_TYPE_USER;
        // SAFETY: the image is open, `space` is where the answer is written.
        let code = unsafe { self.ceph().rbd_snap_get_namespace_type(self.raw, entry.id, &raw mut space) };
        checked(code, || format!("ask for the kind of snapshot {name} of image {}", self.name))?;
        let is_user = space == RBD_SNAP_NAMESPACE_TYPE_USER;
        let protected = is_user && self.is_protected(&name)?;
        Ok(Snapshot { id: entry.id, name, size: entry.size, protected, is_user })
    }

    fn is_protected(&self, name: &str) -> Result<bool, Error> {
        let mut protected = 0;
        self.named("ask for the protection of", name, |text| {
            // SAFETY: the image is open, the string outlives the call, `protected` is where the answer is written.
            unsafe { self.ceph().rbd_snap_is_protected(self.raw, text.as_ptr(), &raw mut protected) }
        })?;
        Ok(protected != 0)
    }

    /// Makes a snapshot of the head and gives its id. After an error it may be there all the same. Programs that have
    /// asked for it are told to hold still before. Blocks.
    pub fn create_snapshot(&self, name: &str) -> Result<u64, Error> {
        self.named("create", name, |text| {
            // Never with RBD_SNAP_CREATE_SKIP_QUIESCE: release 16 then answers 0 for a snapshot that it did not make
            // (over the limit).
            // SAFETY: the image is open, the string outlives the call, the callback needs no argument.
            unsafe { self.ceph().rbd_snap_create2(self.raw, text.as_ptr(), 0, Some(on_progress), ptr::null_mut()) }
        })?;
        self.snapshot_id(name)
    }

    /// The id of the snapshot that has this name now. Blocks.
    pub fn snapshot_id(&self, name: &str) -> Result<u64, Error> {
        let mut id = 0;
        self.named("find", name, |text| {
            // SAFETY: the image is open, the string outlives the call, `id` is where the answer is written.
            unsafe { self.ceph().rbd_snap_get_id(self.raw, text.as_ptr(), &raw mut id) }
        })?;
        Ok(id)
    }

    /// Removes a snapshot; a protected one is [`crate::Kind::Busy`]. Blocks.
    pub fn remove_snapshot(&self, name: &str) -> Result<(), Error> {
        // SAFETY: the image is open, the string outlives the call.
        self.named("remove", name, |text| unsafe { self.ceph().rbd_snap_remove(self.raw, text.as_ptr()) })
    }

    /// As [`Image::remove_snapshot`], by the number that no other snapshot ever has. Blocks.
    pub fn remove_snapshot_by_id(&self, id: u64) -> Result<(), Error> {
        // SAFETY: the image is open.
        let code = unsafe { self.ceph().rbd_snap_remove_by_id(self.raw, id) };
        checked(code, || format!("remove the snapshot with id {id} of image {}", self.name)).map(|_| ())
    }

    /// Gives a snapshot another name; it stays the same snapshot. Blocks.
    pub fn rename_snapshot(&self, name: &str, new: &str) -> Result<(), Error> {
        let new = to_c(new)?;
        self.named("rename", name, |text| {
            // SAFETY: the image is open, the strings outlive the call.
            unsafe { self.ceph().rbd_snap_rename(self.raw, text.as_ptr(), new.as_ptr()) }
        })
    }

    /// Protects a snapshot from being removed; a protected one is [`crate::Kind::Busy`]. Blocks.
    pub fn protect(&self, name: &str) -> Result<(), Error> {
        // SAFETY: the image is open, the string outlives the call.
        self.named("protect", name, |text| unsafe { self.ceph().rbd_snap_protect(self.raw, text.as_ptr()) })
    }

    /// Takes the protection away; a snapshot with clones is [`crate::Kind::Busy`]. Blocks.
    pub fn unprotect(&self, name: &str) -> Result<(), Error> {
        // SAFETY: the image is open, the string outlives the call.
        self.named("unprotect", name, |text| unsafe { self.ceph().rbd_snap_unprotect(self.raw, text.as_ptr()) })
    }

    /// Makes the head what the snapshot is, in data and size. Blocks: about a millisecond for each object of the image,
    /// however little has changed. Afterwards every object counts as changed for a difference of whole objects.
    pub fn rollback(&self, name: &str) -> Result<(), Error> {
        // SAFETY: the image is open, the string outlives the call.
        self.named("roll back to", name, |text| unsafe { self.ceph().rbd_snap_rollback(self.raw, text.as_ptr()) })
    }

    /// How many snapshots the image may have; `None`: no limit. Blocks.
    pub fn snapshot_limit(&self) -> Result<Option<u64>, Error> {
        // SAFETY: the image is open.
        let limit =
            self.number("snapshot limit", |limit| unsafe { self.ceph().rbd_snap_get_limit(self.raw, limit) })?;
        Ok((limit != u64::MAX).then_some(limit))
    }

    fn named(&self, verb: &str, name: &str, call: impl FnOnce(&CStr) -> c_int) -> Result<(), Error> {
        let text = to_c(name)?;
        checked(call(&text), || format!("{verb} snapshot {name} of image {}", self.name)).map(|_| ())
    }
}

/// librbd calls it whenever something takes long, without asking whether it is there.
extern "C" fn on_progress(_done: u64, _total: u64, _argument: *mut c_void) -> c_int {
    0
}
