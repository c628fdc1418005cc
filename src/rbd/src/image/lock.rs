//! The exclusive lock: one client writes.
//!
//! It keeps others from writing data. It does not keep them from making or removing snapshots, from resizing and from
//! setting metadata. A client that lost it to [`Image::break_lock`] is blocklisted.

use std::ptr;

use super::Image;
use crate::bindings::{RBD_LOCK_MODE_EXCLUSIVE, rbd_image_watcher_t, rbd_lock_mode_t};
use crate::error::{ERANGE, Error, checked};
use crate::text::{from_c, growing, to_c, zero_separated};

/// Who holds the lock, as the OSD has it: for a client that does not answer any more as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locker {
    /// Such as `client.4123`.
    pub client: String,
    /// Which of the client's locks it is.
    pub cookie: String,
    /// In the form that [`crate::Cluster::blocklist`] takes.
    pub address: String,
}

impl Locker {
    /// From lists whose entries end with a zero each, as Ceph gives them.
    pub(crate) fn all(clients: &[u8], cookies: &[u8], addresses: &[u8]) -> Vec<Self> {
        let [clients, cookies, addresses] = [clients, cookies, addresses].map(zero_separated);
        let rest = cookies.into_iter().zip(addresses);
        let lockers = clients.into_iter().zip(rest);
        lockers.map(|(client, (cookie, address))| Self { client, cookie, address }).collect()
    }
}

/// A client that has the image open for writing, ourselves included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watcher {
    /// In the form that [`crate::Cluster::blocklist`] takes.
    pub address: String,
    /// The number in the client's name, such as 4123 of `client.4123`.
    pub client: i64,
}

impl Image {
    /// Who has the image open for writing. One that died is there until its watch ends (30 s) or it is blocklisted.
    /// Blocks.
    pub fn watchers(&self) -> Result<Vec<Watcher>, Error> {
        let mut count = 8;
        loop {
            let empty = rbd_image_watcher_t { addr: ptr::null_mut(), id: 0, cookie: 0 };
            let (mut list, capacity) = (vec![empty; count], count);
            // SAFETY: the image is open, the list has room for `count` entries.
            let code = unsafe { self.ceph().rbd_watchers_list(self.raw, list.as_mut_ptr(), &raw mut count) };
            if code == -ERANGE && count > capacity {
                continue;
            }
            checked(code, || format!("list the watchers of image {}", self.name))?;
            list.truncate(count);
            // SAFETY: the strings of the entries are valid until they are cleaned up.
            let watcher = |entry: &rbd_image_watcher_t| unsafe { from_c(entry.addr) };
            let watchers = list.iter().map(|entry| Watcher { address: watcher(entry), client: entry.id }).collect();
            // SAFETY: the entries that the library filled, freed once.
            unsafe { self.ceph().rbd_watchers_list_cleanup(list.as_mut_ptr(), list.len()) };
            return Ok(watchers);
        }
    }

    /// Takes the lock and keeps it: whoever asks for it is refused with [`crate::Kind::ReadOnly`] from then on. Blocks: an
    /// owner that lives refuses at once, one that does not answer is waited for until its watch ends (30 s).
    pub fn acquire_lock(&self) -> Result<(), Error> {
        // SAFETY: the image is open.
        let code = unsafe { self.ceph().rbd_lock_acquire(self.raw, RBD_LOCK_MODE_EXCLUSIVE) };
        checked(code, || format!("take the exclusive lock of image {}", self.name)).map(|_| ())
    }

    /// Gives the lock back. Blocks.
    pub fn release_lock(&self) -> Result<(), Error> {
        // SAFETY: the image is open.
        let code = unsafe { self.ceph().rbd_lock_release(self.raw) };
        checked(code, || format!("release the exclusive lock of image {}", self.name)).map(|_| ())
    }

    /// Whether this handle holds the lock, as far as it knows.
    pub fn is_lock_owner(&self) -> Result<bool, Error> {
        let mut owner = 0;
        // SAFETY: the image is open, `owner` is where the answer is written.
        let code = unsafe { self.ceph().rbd_is_exclusive_lock_owner(self.raw, &raw mut owner) };
        checked(code, || format!("ask for the lock of image {}", self.name))?;
        Ok(owner != 0)
    }

    /// The addresses of the clients that hold the lock: one or none. As [`Image::break_lock`] and
    /// [`crate::Cluster::blocklist`] take them. Blocks.
    pub fn lock_owners(&self) -> Result<Vec<String>, Error> {
        let mut capacity = 4;
        loop {
            let (mut list, mut count, mut mode) = (vec![ptr::null_mut(); capacity], capacity, RBD_LOCK_MODE_EXCLUSIVE);
            let kind: *mut rbd_lock_mode_t = &raw mut mode;
            // SAFETY: the image is open, the list has room for `count` entries.
            let code = unsafe { self.ceph().rbd_lock_get_owners(self.raw, kind, list.as_mut_ptr(), &raw mut count) };
            if code == -ERANGE && count > capacity {
                capacity = count;
                continue;
            }
            match checked(code, || format!("ask for the owner of the lock of image {}", self.name)) {
                Err(error) if error.kind() == crate::Kind::NotFound => return Ok(Vec::new()),
                other => other?,
            };
            list.truncate(count);
            // SAFETY: the strings are valid until they are cleaned up.
            let owners = list.iter().map(|owner| unsafe { from_c(*owner) }).collect();
            // SAFETY: the entries that the library filled, freed once.
            unsafe { self.ceph().rbd_lock_get_owners_cleanup(list.as_mut_ptr(), list.len()) };
            return Ok(owners);
        }
    }

    /// Takes the lock away from `owner` and blocklists that client, so that nothing it still sends takes effect. Blocks.
    pub fn break_lock(&self, owner: &str) -> Result<(), Error> {
        let text = to_c(owner)?;
        // SAFETY: the image is open, the string outlives the call.
        let code = unsafe { self.ceph().rbd_lock_break(self.raw, RBD_LOCK_MODE_EXCLUSIVE, text.as_ptr()) };
        checked(code, || format!("break the lock of {owner} on image {}", self.name)).map(|_| ())
    }

    /// Who holds the lock, with addresses. Blocks.
    pub fn lockers(&self) -> Result<Vec<Locker>, Error> {
        let action = || format!("list the lockers of image {}", self.name);
        let lists = growing(action, [256; 4], |[tag, clients, cookies, addresses], lengths| {
            let [tag_length, clients_length, cookies_length, addresses_length] = lengths;
            let mut exclusive = 0;
            // SAFETY: the image is open, the buffers are as long as said.
            let code = unsafe {
                self.ceph().rbd_list_lockers(
                    self.raw,
                    &raw mut exclusive,
                    tag.as_mut_ptr().cast(),
                    tag_length,
                    clients.as_mut_ptr().cast(),
                    clients_length,
                    cookies.as_mut_ptr().cast(),
                    cookies_length,
                    addresses.as_mut_ptr().cast(),
                    addresses_length,
                )
            };
            code as i64
        });
        let [_, clients, cookies, addresses] = lists?;
        Ok(Locker::all(&clients, &cookies, &addresses))
    }
}
