//! What the tests share: a gateway as a process, a client that can misbehave, images to send.

pub mod client;
mod gateway;
mod image;
pub mod keystone;
mod proxy;

use std::time::{Duration, Instant};

pub use client::{Answer, Client, Pending, Upload};
pub use gateway::{Gateway, Options, admin_ask, admin_get, binary, components, free_address, scratch};
pub use image::{Diff, Image, next, rbd_export, seed};
pub use proxy::{Meter, Proxy};

/// Waits for what must happen sooner or later, however busy the machine is.
#[track_caller]
pub fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !happened() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What `id` says of who runs the tests: `-un` the user, `-gn` the group.
pub fn user(option: &str) -> String {
    let output = std::process::Command::new("id").arg(option).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
