//! What the tests share: a gateway as a process, a client that can misbehave, images to send.

mod client;
mod gateway;
mod image;

use std::time::{Duration, Instant};

pub use client::{Answer, Client, Pending, Upload};
pub use gateway::{Gateway, Options, binary, components, free_address, scratch};
pub use image::{Diff, Image, next, rbd_export};

/// Waits for what must happen sooner or later, however busy the machine is.
#[track_caller]
pub fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !happened() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}
