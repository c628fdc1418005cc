//! A fault on purpose: the address sanitiser must ring. Run by `cargo xtask asan`, and by nothing else.
#![allow(unsafe_code, reason = "the fault that is to be caught cannot be made without")]

use std::alloc::{Layout, alloc, dealloc};

use super::support::{Place, write};

const BYTES: usize = 1 << 20;

/// A buffer that is freed as soon as its address is known, as if its owner had not waited for the completion.
struct Freed;

impl AsMut<[u8]> for Freed {
    fn as_mut(&mut self) -> &mut [u8] {
        let layout = Layout::from_size_align(BYTES, 4096).unwrap();
        // SAFETY: none, on purpose: what the library is told to fill has been freed.
        unsafe {
            let start = alloc(layout);
            dealloc(start, layout);
            std::slice::from_raw_parts_mut(start, BYTES)
        }
    }
}

#[tokio::test]
#[ignore = "wrong on purpose, see `cargo xtask asan`"]
async fn a_buffer_that_is_freed_too_early() {
    let place = Place::new();
    let image = place.image("one", BYTES as u64);
    write(&image, 0, vec![1; BYTES]).await;
    drop(image.read(0, Freed).await);
}
