//! RADOS objects: small things that lie beside the images.

use std::ffi::c_char;
use std::ops::ControlFlow;
use std::ptr;

use crate::bindings::rados_list_ctx_t;
use crate::error::{Error, Kind, checked};
use crate::pool::{Pool, PoolHandle};
use crate::text::{from_c, to_c};

/// What an object says of itself. Lives on the heap while the library fills it.
#[derive(Debug, Default)]
struct Facts {
    size: u64,
    modified: i64,
}

impl Pool {
    /// Fills `buffer` from `offset` of an object; the number of bytes is smaller at the object's end. An object that
    /// is not there is [`crate::Kind::NotFound`].
    pub async fn read<B>(&self, object: &str, offset: u64, buffer: B) -> Result<(usize, B), Error>
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        let action = || format!("read object {object} of pool {}", self.handle.name);
        let answer = {
            let (name, cluster, raw) = (to_c(object)?, &self.handle.cluster, self.handle.raw);
            let point = |buffer: &mut B| {
                let bytes = buffer.as_mut();
                (bytes.as_mut_ptr(), bytes.len())
            };
            cluster.starter(&self.handle).start(buffer, point, |(bytes, length), completion| {
                // SAFETY: the name outlives the call, the buffer the operation, and it is as long as said.
                unsafe {
                    cluster.library.ceph.rados_aio_read(raw, name.as_ptr(), completion, bytes.cast(), length, offset)
                }
            })
        };
        let (value, buffer) = answer.map_err(|code| Error::new(action(), code))?.wait(action).await?;
        Ok((usize::try_from(value).unwrap_or(usize::MAX), buffer))
    }

    /// Writes `data` at `offset` of an object, making it if it is not there. Done means durable.
    pub async fn write<B>(&self, object: &str, offset: u64, data: B) -> Result<(), Error>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        self.put(object, Some(offset), data).await
    }

    /// Replaces what an object holds by `data`, in one step. Done means durable.
    pub async fn write_full<B>(&self, object: &str, data: B) -> Result<(), Error>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        self.put(object, None, data).await
    }

    async fn put<B>(&self, object: &str, offset: Option<u64>, data: B) -> Result<(), Error>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let action = || format!("write object {object} of pool {}", self.handle.name);
        let answer = {
            let (name, cluster, raw) = (to_c(object)?, &self.handle.cluster, self.handle.raw);
            let ceph = &cluster.library.ceph;
            let point = |data: &mut B| {
                let bytes = (*data).as_ref();
                (bytes.as_ptr(), bytes.len())
            };
            cluster.starter(&self.handle).start(data, point, |(bytes, length), completion| match offset {
                // SAFETY: the name outlives the call, the buffer the operation, and it is as long as said.
                Some(offset) => unsafe {
                    ceph.rados_aio_write(raw, name.as_ptr(), completion, bytes.cast(), length, offset)
                },
                // SAFETY: as above.
                None => unsafe { ceph.rados_aio_write_full(raw, name.as_ptr(), completion, bytes.cast(), length) },
            })
        };
        answer.map_err(|code| Error::new(action(), code))?.wait(action).await.map(|_| ())
    }

    /// Removes an object. One that is not there is [`crate::Kind::NotFound`].
    pub async fn remove(&self, object: &str) -> Result<(), Error> {
        let action = || format!("remove object {object} of pool {}", self.handle.name);
        let answer = {
            let (name, cluster, raw) = (to_c(object)?, &self.handle.cluster, self.handle.raw);
            cluster.starter(&self.handle).start(
                (),
                |()| (),
                |(), completion| {
                    // SAFETY: the name outlives the call.
                    unsafe { cluster.library.ceph.rados_aio_remove(raw, name.as_ptr(), completion) }
                },
            )
        };
        answer.map_err(|code| Error::new(action(), code))?.wait(action).await.map(|_| ())
    }

    /// Calls a method of an object class, which runs on the OSD and gives nothing back.
    pub(crate) async fn execute(
        &self,
        object: &str,
        class: &str,
        method: &str,
        input: Vec<u8>,
        action: String,
    ) -> Result<(), Error> {
        let answer = {
            let (name, class, method) = (to_c(object)?, to_c(class)?, to_c(method)?);
            let (cluster, raw) = (&self.handle.cluster, self.handle.raw);
            let point = |input: &mut Vec<u8>| (input.as_ptr(), input.len());
            cluster.starter(&self.handle).start(input, point, |(bytes, length), completion| {
                let (class, method) = (class.as_ptr(), method.as_ptr());
                // SAFETY: the names outlive the call, the input the operation; there is no room for an answer.
                unsafe {
                    cluster.library.ceph.rados_aio_exec(
                        raw,
                        name.as_ptr(),
                        completion,
                        class,
                        method,
                        bytes.cast(),
                        length,
                        ptr::null_mut(),
                        0,
                    )
                }
            })
        };
        let failed = |code| Error::new(action.clone(), code);
        answer.map_err(failed)?.wait(|| action.clone()).await.map(|_| ())
    }

    /// The names of all objects of the pool or the namespace that begin with `prefix`, in no order. `each` is called for
    /// every one until it breaks. Blocks, and asks for the name of every object there is: minutes for a large pool.
    pub fn objects(&self, prefix: &str, mut each: impl FnMut(&str) -> ControlFlow<()>) -> Result<(), Error> {
        let listing = Listing::open(&self.handle)?;
        while let Some(name) = listing.next()? {
            if name.starts_with(prefix) && each(&name).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The size of an object in bytes. One that is not there is [`crate::Kind::NotFound`].
    pub async fn stat(&self, object: &str) -> Result<u64, Error> {
        let action = || format!("ask for the size of object {object} of pool {}", self.handle.name);
        let answer = {
            let (name, cluster, raw) = (to_c(object)?, &self.handle.cluster, self.handle.raw);
            let point = |facts: &mut Facts| (&raw mut facts.size, &raw mut facts.modified);
            cluster.starter(&self.handle).start(Facts::default(), point, |(size, modified), completion| {
                // SAFETY: the name outlives the call; both numbers lie in the operation, which outlives it too.
                unsafe { cluster.library.ceph.rados_aio_stat(raw, name.as_ptr(), completion, size, modified) }
            })
        };
        let (_, facts) = answer.map_err(|code| Error::new(action(), code))?.wait(action).await?;
        Ok(facts.size)
    }
}

/// A walk through the objects of a pool.
struct Listing<'a> {
    pool: &'a PoolHandle,
    raw: rados_list_ctx_t,
}

impl<'a> Listing<'a> {
    fn open(pool: &'a PoolHandle) -> Result<Self, Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the pool is valid, `raw` is where the handle is written.
        let code = unsafe { pool.cluster.library.ceph.rados_nobjects_list_open(pool.raw, &raw mut raw) };
        checked(code, || format!("list the objects of pool {}", pool.name))?;
        Ok(Self { pool, raw })
    }

    fn next(&self) -> Result<Option<String>, Error> {
        let mut name: *const c_char = ptr::null();
        let ceph = &self.pool.cluster.library.ceph;
        // SAFETY: the handle is valid, `name` is where the address of a string is written; what else could be is not wanted.
        let code = unsafe { ceph.rados_nobjects_list_next(self.raw, &raw mut name, ptr::null_mut(), ptr::null_mut()) };
        match checked(code, || format!("list the objects of pool {}", self.pool.name)) {
            // SAFETY: the library's own string, valid until the next call.
            Ok(_) => Ok(Some(unsafe { from_c(name) })),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `rados_nobjects_list_open`, closed once.
        unsafe { self.pool.cluster.library.ceph.rados_nobjects_list_close(self.raw) };
    }
}
