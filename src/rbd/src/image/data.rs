//! Reading and writing an image.

use std::ffi::c_void;
use std::ops::Range;

use super::Image;
use crate::bindings::{iovec, rbd_image_t};
use crate::error::{EINVAL, Error};

/// Where a buffer's bytes are, for C.
type Slice = (*const u8, usize);

impl Image {
    /// Fills `buffer` from `offset`; the number of bytes is smaller at the image's end.
    pub async fn read<B>(&self, offset: u64, buffer: B) -> Result<(usize, B), Error>
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        let action = || format!("read image {} at {offset}", self.name);
        let point = |buffer: &mut B| {
            let bytes = buffer.as_mut();
            (bytes.as_mut_ptr(), bytes.len())
        };
        let answer = self.starter.start(buffer, point, |(bytes, length), completion| {
            // SAFETY: the image is open; the buffer lives as long as the operation and is as long as said.
            unsafe { self.ceph().rbd_aio_read(self.raw, offset, length, bytes.cast(), completion) }
        });
        let (value, buffer) = answer.map_err(|code| Error::new(action(), code))?.wait(action).await?;
        Ok((usize::try_from(value).unwrap_or(usize::MAX), buffer))
    }

    /// Writes the part `range` of `buffer` at `offset`. Done means that the OSDs have it. The buffer is neither copied
    /// nor freed before.
    pub async fn write<B>(&self, offset: u64, buffer: B, range: Range<usize>) -> Result<(), Error>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        self.write_vectored(offset, vec![(buffer, range)]).await
    }

    /// Writes the parts of several buffers one after the other from `offset`, in one operation. Done means that the
    /// OSDs have it. Of an error it is not known how much was written.
    pub async fn write_vectored<B>(&self, offset: u64, buffers: Vec<(B, Range<usize>)>) -> Result<(), Error>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let action = || format!("write image {} at {offset}", self.name);
        let answer = self.starter.start(
            buffers,
            |buffers| slices(buffers),
            |slices, completion| submit(self.ceph(), self.raw, offset, slices, completion),
        );
        answer.map_err(|code| Error::new(action(), code))?.wait(action).await.map(|_| ())
    }

    /// Makes `length` bytes from `offset` zero, and a hole where whole objects are. Unlike a discard it skips nothing.
    pub async fn write_zeroes(&self, offset: u64, length: u64) -> Result<(), Error> {
        let action = || format!("zero {length} bytes of image {} at {offset}", self.name);
        let size = usize::try_from(length).map_err(|_| Error::new(action(), EINVAL))?;
        let answer = self.starter.start(
            (),
            |()| (),
            |(), completion| {
                // SAFETY: the image is open.
                unsafe { self.ceph().rbd_aio_write_zeroes(self.raw, offset, size, completion, 0, 0) }
            },
        );
        answer.map_err(|code| Error::new(action(), code))?.wait(action).await.map(|_| ())
    }

    /// Waits until all writes that are done are durable.
    pub async fn flush(&self) -> Result<(), Error> {
        let action = || format!("flush image {}", self.name);
        let answer = self.starter.start(
            (),
            |()| (),
            |(), completion| {
                // SAFETY: the image is open.
                unsafe { self.ceph().rbd_aio_flush(self.raw, completion) }
            },
        );
        answer.map_err(|code| Error::new(action(), code))?.wait(action).await.map(|_| ())
    }
}

/// The parts, or nothing if one of them lies outside of its buffer.
fn slices<B: AsRef<[u8]>>(buffers: &[(B, Range<usize>)]) -> Option<Vec<Slice>> {
    let part = |(buffer, range): &(B, Range<usize>)| {
        let bytes = buffer.as_ref().get(range.clone())?;
        Some((bytes.as_ptr(), bytes.len()))
    };
    buffers.iter().map(part).collect()
}

fn submit(
    ceph: &crate::bindings::Ceph,
    image: rbd_image_t,
    offset: u64,
    slices: Option<Vec<Slice>>,
    completion: *mut c_void,
) -> i32 {
    let Some(slices) = slices else { return -EINVAL };
    if let [(bytes, length)] = slices[..] {
        // SAFETY: the image is open; the buffer lives as long as the operation and is as long as said.
        return unsafe { ceph.rbd_aio_write(image, offset, length, bytes.cast(), completion) };
    }
    let vector: Vec<iovec> =
        slices.iter().map(|(bytes, length)| iovec { iov_base: bytes.cast_mut().cast(), iov_len: *length }).collect();
    let Ok(count) = i32::try_from(vector.len()) else { return -EINVAL };
    // SAFETY: as above; the list of the parts is read before the call returns, the parts are only read.
    unsafe { ceph.rbd_aio_writev(image, vector.as_ptr(), count, offset, completion) }
}
