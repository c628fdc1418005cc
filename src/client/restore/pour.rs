//! From the connection into a sink, on a thread that may block.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::image::Mode;
use crate::client::answer::Answer;
use crate::client::thread::on_thread;
use crate::client::{ClientError, Meter};

/// Frames that may wait for the disk.
const AHEAD: usize = 32;

/// Takes a snapshot's bytes.
pub(super) trait Sink: Send {
    /// From which byte of the image on something is missing; `None`: nothing is.
    fn missing(&self) -> Option<u64>;
    /// How the bytes of the next body are to be understood.
    fn expect(&mut self, mode: Mode);
    fn take(&mut self, bytes: &[u8]) -> Result<(), ClientError>;
    /// The body has ended as it should.
    fn end(&mut self) -> Result<(), ClientError>;
    /// Whether another try can continue or begin again.
    fn can_go_on(&self) -> bool;
    /// Makes durable, verifies, and makes visible.
    fn finish(self: Box<Self>) -> Result<(), ClientError>;
}

enum Piece {
    Data(Bytes),
    End,
}

/// Pours the body of `answer` into `sink`, which comes back with how it went.
pub(super) async fn pour(
    mut answer: Answer,
    mut sink: Box<dyn Sink>,
    meter: Arc<Meter>,
) -> Result<(Box<dyn Sink>, Result<(), ClientError>), ClientError> {
    let (pieces, mut waiting) = mpsc::channel(AHEAD);
    let taking = on_thread("restore", move || {
        let taken = take_all(sink.as_mut(), &mut waiting);
        (sink, taken)
    });
    let feeding = async move {
        loop {
            let next = answer.next().await?;
            let last = next.is_none();
            meter.count(next.as_ref().map_or(0, |bytes| bytes.len() as u64));
            if pieces.send(next.map_or(Piece::End, Piece::Data)).await.is_err() || last {
                return Ok(());
            }
        }
    };
    let (taken, fed) = tokio::join!(taking, feeding);
    let (sink, taken) = taken?;
    Ok((sink, fed.and(taken)))
}

/// Takes what comes. Without an end the connection was cut, which the other side reports.
fn take_all(sink: &mut dyn Sink, pieces: &mut mpsc::Receiver<Piece>) -> Result<(), ClientError> {
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Data(bytes) => sink.take(&bytes)?,
            Piece::End => return sink.end(),
        }
    }
    Ok(())
}
