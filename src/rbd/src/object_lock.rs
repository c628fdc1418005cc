//! Locks on RADOS objects: they agree who does something that has no lock of its own.
//!
//! Ceph's class `lock`, as the `rados lock` command has it. Such a lock keeps nobody from anything by itself, and stays when
//! its holder dies: whoever breaks it has to blocklist the holder first, see [`crate::Cluster::blocklist`].

use std::ptr;

use crate::error::{Error, Kind, checked};
use crate::image::Locker;
use crate::pool::Pool;
use crate::text::{growing, to_c};

/// The only lock of an object.
const LOCK: &str = "rsnap";

impl Pool {
    /// Takes the lock of an object, which is made if it is not there. Held by somebody else, it is [`Kind::Busy`]; held by
    /// this client, [`Kind::Exists`]. It goes with the object. Blocks.
    pub fn lock_object(&self, object: &str) -> Result<(), Error> {
        let (name, lock, empty) = (to_c(object)?, to_c(LOCK)?, to_c("")?);
        // SAFETY: the pool is valid, the strings outlive the call; without a duration the lock has no end.
        let code = unsafe {
            self.library().ceph.rados_lock_exclusive(
                self.handle.raw,
                name.as_ptr(),
                lock.as_ptr(),
                lock.as_ptr(),
                empty.as_ptr(),
                ptr::null_mut(),
                0,
            )
        };
        checked(code, || format!("lock object {object} of pool {}", self.handle.name)).map(|_| ())
    }

    /// Who holds the lock of an object: one or nobody. Blocks.
    pub fn object_locker(&self, object: &str) -> Result<Option<Locker>, Error> {
        let (name, lock) = (to_c(object)?, to_c(LOCK)?);
        let action = || format!("ask who locked object {object} of pool {}", self.handle.name);
        let lists = growing(action, [256; 4], |[tag, clients, cookies, addresses], lengths| {
            let [tag_length, clients_length, cookies_length, addresses_length] = lengths;
            let mut exclusive = 0;
            // SAFETY: the pool is valid, the strings outlive the call, the buffers are as long as said.
            let code = unsafe {
                self.library().ceph.rados_list_lockers(
                    self.handle.raw,
                    name.as_ptr(),
                    lock.as_ptr(),
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
        match lists {
            Ok([_, clients, cookies, addresses]) => Ok(Locker::all(&clients, &cookies, &addresses).into_iter().next()),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock of an object away from this one. Somebody else's is [`Kind::NotFound`]. Blocks.
    pub fn break_object_lock(&self, object: &str, locker: &Locker) -> Result<(), Error> {
        let (name, lock) = (to_c(object)?, to_c(LOCK)?);
        let (client, cookie) = (to_c(&locker.client)?, to_c(&locker.cookie)?);
        // SAFETY: the pool is valid, the strings outlive the call.
        let code = unsafe {
            self.library().ceph.rados_break_lock(
                self.handle.raw,
                name.as_ptr(),
                lock.as_ptr(),
                client.as_ptr(),
                cookie.as_ptr(),
            )
        };
        let action = || format!("break the lock of {} on object {object} of pool {}", locker.client, self.handle.name);
        checked(code, action).map(|_| ())
    }
}
