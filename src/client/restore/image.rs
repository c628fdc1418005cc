//! The image, whichever way its bytes come.

use std::sync::Arc;

use rsnap_wire::{Event, Fault, rbd_diff};

use super::output::Output;
use super::pour::Sink;
use crate::client::{ClientError, Meter, RootMeter};
use crate::content::Root;

/// How a body is to be understood.
#[derive(Debug)]
pub(super) enum Mode {
    /// An rbd-diff.
    Diff(Box<rbd_diff::Decoder>),
    /// The image itself, from byte `at` on.
    Raw { at: u64 },
}

impl Mode {
    pub(super) fn diff() -> Self {
        Self::Diff(Box::new(rbd_diff::Decoder::new()))
    }
}

/// Writes an image and computes its root from the same bytes.
#[derive(Debug)]
pub(super) struct ImageSink {
    mode: Mode,
    image: Image,
    root: Root,
}

#[derive(Debug)]
struct Image {
    output: Output,
    size: u64,
    meter: RootMeter,
    progress: Arc<Meter>,
    /// Everything before is written.
    position: u64,
}

impl ImageSink {
    /// An image of `size` bytes that must have the content root `root`.
    pub(super) fn new(output: Output, size: u64, root: Root, progress: Arc<Meter>) -> Self {
        let image = Image { output, size, meter: RootMeter::new(size), progress, position: 0 };
        Self { mode: Mode::diff(), image, root }
    }
}

impl Image {
    fn event(&mut self, event: Event<'_>) -> Result<(), ClientError> {
        match event {
            Event::Data { offset, bytes } => self.data(offset, bytes),
            Event::Zero { offset, length } => self.zero_until(offset + length),
            Event::Size(size) if size != self.size => Err(ClientError::Integrity {
                what: "the stream is of an image of another size",
                expected: self.size.to_string(),
                actual: size.to_string(),
            }),
            Event::From(base) => Err(ClientError::Protocol(format!("its stream is not full, it starts from {base}"))),
            Event::End => self.zero_until(self.size),
            _ => Ok(()),
        }
    }

    /// Takes `bytes` at `offset`; what was taken before is skipped.
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), ClientError> {
        let end = offset + bytes.len() as u64;
        if end > self.size {
            return Err(ClientError::Protocol(format!("it sends more than the {} bytes of the image", self.size)));
        }
        self.zero_until(offset)?;
        let known = usize::try_from(self.position - offset).unwrap_or(usize::MAX);
        let fresh = bytes.get(known..).unwrap_or_default();
        self.output.data(self.position, fresh)?;
        self.meter.write(self.position, fresh);
        self.reach(end);
        Ok(())
    }

    fn zero_until(&mut self, end: u64) -> Result<(), ClientError> {
        if end > self.position {
            self.output.zero(self.position, end - self.position)?;
            self.reach(end);
        }
        Ok(())
    }

    fn reach(&mut self, position: u64) {
        self.position = self.position.max(position);
        self.progress.reach(self.position);
    }
}

impl Sink for ImageSink {
    fn missing(&self) -> Option<u64> {
        (self.image.position < self.image.size || self.image.size == 0).then_some(self.image.position)
    }

    fn expect(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), ClientError> {
        match &mut self.mode {
            Mode::Raw { at } => {
                self.image.data(*at, bytes)?;
                *at += bytes.len() as u64;
            }
            Mode::Diff(decoder) => {
                while let Some(event) = decoder.next(&mut bytes).map_err(malformed)? {
                    self.image.event(event)?;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ClientError> {
        match &self.mode {
            Mode::Diff(decoder) => decoder.finish().map_err(malformed),
            Mode::Raw { .. } if self.image.position == self.image.size => Ok(()),
            Mode::Raw { .. } => Err(ClientError::Cut(format!("the image ended at byte {}", self.image.position))),
        }
    }

    fn can_go_on(&self) -> bool {
        true
    }

    fn finish(mut self: Box<Self>) -> Result<(), ClientError> {
        self.image.output.settle(self.image.size)?;
        compare(self.root, self.image.meter.finish())?;
        self.image.output.publish()
    }
}

/// A stream that ends too early was cut on its way; any other fault was sent to us.
pub(super) fn malformed(error: rsnap_wire::Error) -> ClientError {
    match error.fault {
        Fault::Truncated { .. } => ClientError::Cut(error.to_string()),
        _ => ClientError::Protocol(format!("its stream is malformed: {error}")),
    }
}

pub(super) fn compare(expected: Root, actual: Root) -> Result<(), ClientError> {
    if expected == actual {
        return Ok(());
    }
    Err(ClientError::Integrity {
        what: "what arrived is not the snapshot",
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}
