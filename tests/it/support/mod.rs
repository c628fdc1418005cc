//! What the tests share: a gateway as a process, a client that can misbehave, images to send.

mod client;
mod gateway;
mod image;

pub use client::{Answer, Client, Upload};
pub use gateway::{Gateway, Options, binary, components};
pub use image::{Diff, Image, next, rbd_export, seed};
