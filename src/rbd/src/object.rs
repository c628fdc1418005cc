//! RADOS objects: small things that lie beside the images.

use crate::error::Error;
use crate::pool::Pool;
use crate::text::to_c;

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
            cluster.starter().start(buffer, point, |(bytes, length), completion| {
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
            cluster.starter().start(data, point, |(bytes, length), completion| match offset {
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
            cluster.starter().start(
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

    /// The size of an object in bytes. One that is not there is [`crate::Kind::NotFound`].
    pub async fn stat(&self, object: &str) -> Result<u64, Error> {
        let action = || format!("ask for the size of object {object} of pool {}", self.handle.name);
        let answer = {
            let (name, cluster, raw) = (to_c(object)?, &self.handle.cluster, self.handle.raw);
            let point = |facts: &mut Facts| (&raw mut facts.size, &raw mut facts.modified);
            cluster.starter().start(Facts::default(), point, |(size, modified), completion| {
                // SAFETY: the name outlives the call; both numbers lie in the operation, which outlives it too.
                unsafe { cluster.library.ceph.rados_aio_stat(raw, name.as_ptr(), completion, size, modified) }
            })
        };
        let (_, facts) = answer.map_err(|code| Error::new(action(), code))?.wait(action).await?;
        Ok(facts.size)
    }
}
