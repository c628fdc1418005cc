//! Small texts on an image, by key. They belong to the image and not to its snapshots, and a rollback leaves them.
//!
//! Keys that begin with `conf_` are settings of librbd: never let a stranger choose a key.

use std::ffi::CStr;
use std::sync::Arc;

use super::Image;
use crate::error::{ERANGE, Error, Kind, checked};
use crate::pool::Pool;
use crate::text::{growing, to_c, until_zero, zero_separated};

/// Entries that are asked for at once.
const PAGE: u64 = 64;

impl Image {
    /// The value of a key, if it is set. Blocks.
    pub fn metadata(&self, key: &str) -> Result<Option<String>, Error> {
        let text = to_c(key)?;
        let action = || format!("read the metadata {key} of image {}", self.name);
        let value = growing(action, [4096], |[value], [length]| {
            // SAFETY: the image is open, the string outlives the call, the buffer is as long as said.
            let code =
                unsafe { self.ceph().rbd_metadata_get(self.raw, text.as_ptr(), value.as_mut_ptr().cast(), length) };
            i64::from(code)
        });
        match value {
            Ok([bytes]) => Ok(Some(until_zero(&bytes))),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a key, durably. Others may do so too, with or without the lock. Blocks.
    pub fn set_metadata(&self, key: &str, value: &str) -> Result<(), Error> {
        let (name, text) = (to_c(key)?, to_c(value)?);
        // SAFETY: the image is open, the strings outlive the call.
        let code = unsafe { self.ceph().rbd_metadata_set(self.raw, name.as_ptr(), text.as_ptr()) };
        checked(code, || format!("set the metadata {key} of image {}", self.name)).map(|_| ())
    }

    /// Removes a key. One that is not set is no error. Blocks.
    pub fn remove_metadata(&self, key: &str) -> Result<(), Error> {
        let name = to_c(key)?;
        // SAFETY: the image is open, the string outlives the call.
        let code = unsafe { self.ceph().rbd_metadata_remove(self.raw, name.as_ptr()) };
        match checked(code, || format!("remove the metadata {key} of image {}", self.name)) {
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// As [`Image::set_metadata`], without telling anybody who has the image open, and without the lock: librbd waits for
    /// all of them, also for one that died a moment ago.
    pub async fn note_metadata(&self, key: &str, value: &str) -> Result<(), Error> {
        let mut input = 1_u32.to_le_bytes().to_vec();
        encode(&mut input, key);
        encode(&mut input, value);
        self.execute("metadata_set", input, format!("note the metadata {key} of image {}", self.name)).await
    }

    /// As [`Image::remove_metadata`], in the way of [`Image::note_metadata`].
    pub async fn unnote_metadata(&self, key: &str) -> Result<(), Error> {
        let mut input = Vec::new();
        encode(&mut input, key);
        let removed =
            self.execute("metadata_remove", input, format!("remove the note {key} of image {}", self.name)).await;
        match removed {
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A method of the class that librbd itself changes the image's header with.
    async fn execute(&self, method: &str, input: Vec<u8>, action: String) -> Result<(), Error> {
        let pool = Pool { handle: Arc::clone(&self.pool) };
        pool.execute(&format!("rbd_header.{}", self.id()?), "rbd", method, input, action).await
    }

    /// All keys that begin with `prefix` and are longer, in order, with their values. Blocks.
    pub fn all_metadata(&self, prefix: &str) -> Result<Vec<(String, String)>, Error> {
        let mut all: Vec<(String, String)> = Vec::new();
        loop {
            let after = all.last().map_or(prefix, |(key, _)| key.as_str());
            let page = self.metadata_page(&to_c(after)?)?;
            let last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            let wanted = page.iter().take_while(|(key, _)| key.starts_with(prefix)).count();
            let ended = last || wanted < page.len();
            all.extend(page.into_iter().take(wanted));
            if ended {
                return Ok(all);
            }
        }
    }

    fn metadata_page(&self, after: &CStr) -> Result<Vec<(String, String)>, Error> {
        let action = || format!("list the metadata of image {}", self.name);
        let [keys, values] = growing(action, [4096, 65536], |[keys, values], [keys_length, values_length]| {
            let (start, first, second) = (after.as_ptr(), keys.as_mut_ptr().cast(), values.as_mut_ptr().cast());
            // SAFETY: the image is open, the string outlives the call, the buffers are as long as said.
            let code = unsafe {
                self.ceph().rbd_metadata_list(self.raw, start, PAGE, first, keys_length, second, values_length)
            };
            i64::from(code)
        })?;
        let (keys, values) = (zero_separated(&keys), zero_separated(&values));
        if keys.len() != values.len() {
            return Err(Error::new(action(), ERANGE));
        }
        Ok(keys.into_iter().zip(values).collect())
    }
}

/// A text as Ceph's classes take it: its length, and its bytes.
fn encode(input: &mut Vec<u8>, text: &str) {
    input.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    input.extend_from_slice(text.as_bytes());
}
