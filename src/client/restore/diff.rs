//! The stream as it is, checked while it passes: a stream that was cut must not look whole to whoever imports it.

use std::sync::Arc;

use rsnap_wire::{Event, rbd_diff};

use super::image::{Mode, compare, malformed};
use super::output::Output;
use super::pour::Sink;
use crate::client::{ClientError, Meter, RootMeter};
use crate::content::Root;

/// Keeps a stream; a full one is verified by its content root, too.
#[derive(Debug)]
pub(super) struct DiffSink {
    output: Output,
    decoder: rbd_diff::Decoder,
    size: u64,
    expected: Option<Root>,
    meter: RootMeter,
    progress: Arc<Meter>,
    written: u64,
    done: bool,
}

impl DiffSink {
    /// A stream of an image of `size` bytes; `expected` is its content root when the stream is full.
    pub(super) fn new(output: Output, size: u64, expected: Option<Root>, progress: Arc<Meter>) -> Self {
        let (decoder, meter) = (rbd_diff::Decoder::new(), RootMeter::new(size));
        Self { output, decoder, size, expected, meter, progress, written: 0, done: false }
    }
}

impl Sink for DiffSink {
    fn missing(&self) -> Option<u64> {
        (!self.done).then_some(0)
    }

    /// Every body begins with the banner: a diff cannot be continued.
    fn expect(&mut self, _mode: Mode) {
        self.decoder = rbd_diff::Decoder::new();
        self.meter = RootMeter::new(self.size);
        self.written = 0;
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let mut rest = bytes;
        while let Some(event) = self.decoder.next(&mut rest).map_err(malformed)? {
            if let Event::Data { offset, bytes } = event {
                self.progress.reach(offset + bytes.len() as u64);
                if self.expected.is_some() {
                    self.meter.write(offset, bytes);
                }
            }
        }
        self.output.raw(self.written, bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn end(&mut self) -> Result<(), ClientError> {
        self.decoder.finish().map_err(malformed)?;
        self.done = true;
        Ok(())
    }

    fn can_go_on(&self) -> bool {
        self.written == 0 || self.output.is_staged()
    }

    fn finish(mut self: Box<Self>) -> Result<(), ClientError> {
        self.output.settle(self.written)?;
        if let Some(expected) = self.expected {
            compare(expected, self.meter.finish())?;
        }
        self.output.publish()
    }
}
