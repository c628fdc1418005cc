//! The content root of an image that lies here, in a first pass that sends nothing.

use std::sync::Arc;

use crate::client::progress::telling;
use crate::client::source::Blocks;
use crate::client::thread::on_thread;
use crate::client::{ClientError, Meter, Reporter, RootMeter, Stage};
use crate::content::{BLOCK_BYTES, Root};

/// Reads all of `image`; `name` is what the progress calls it.
pub(super) async fn prove(image: Box<dyn Blocks>, name: &str, reporter: &dyn Reporter) -> Result<Root, ClientError> {
    let meter = Arc::new(Meter::default());
    let (size, counted) = (image.size(), Arc::clone(&meter));
    let work = on_thread("proof", move || root_of(image, &counted));
    telling(reporter, Stage::Proving, name, size, &meter, work).await?
}

fn root_of(mut image: Box<dyn Blocks>, meter: &Meter) -> Result<Root, ClientError> {
    let mut root = RootMeter::new(image.size());
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut block = 0;
    while let Some(next) = image.next(block)? {
        image.read(next, &mut buffer)?;
        root.write(next * BLOCK_BYTES as u64, &buffer);
        block = next + 1;
        meter.reach(block * BLOCK_BYTES as u64);
        meter.count(BLOCK_BYTES as u64);
    }
    image.prove()?;
    Ok(root.finish())
}
