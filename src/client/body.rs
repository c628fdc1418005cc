//! The body of a request: nothing, a small document, or a stream that is made while it is sent.
//!
//! A stream waits for the gateway's `100 Continue`, so that a refusal costs no body and leaves a source that cannot
//! be read twice untouched. A producer that goes away without the end makes the body an error: the connection is then
//! cut before the last chunk, and the gateway cannot take what it has for the whole.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Parts that may wait between producer and socket: enough to keep the socket busy while one block is made.
const DEPTH: usize = 8;

/// A piece of a streamed body.
#[derive(Debug)]
pub(super) enum Part {
    Data(Bytes),
    /// The end, with the trailers. Without it a body is not whole.
    End(HeaderMap),
}

/// The producer went away before the end.
#[derive(Debug, thiserror::Error)]
#[error("the source ended before its end marker")]
pub(super) struct Abandoned;

/// What a request is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// For the peer to take bytes.
    Peer,
    /// For our own producer, or for leave to begin.
    Producer,
    /// For the answer: all is sent.
    Answer,
}

/// Whose turn it is; read by the watchdog of a request.
#[derive(Debug, Default)]
pub(super) struct Activity(AtomicU8);

impl Activity {
    pub(super) fn waiting(&self) -> Waiting {
        match self.0.load(Ordering::Relaxed) {
            0 => Waiting::Peer,
            1 => Waiting::Producer,
            _ => Waiting::Answer,
        }
    }

    fn set(&self, waiting: Waiting) {
        let value = match waiting {
            Waiting::Peer => 0,
            Waiting::Producer => 1,
            Waiting::Answer => 2,
        };
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The body of one request.
#[derive(Debug)]
pub(super) struct UploadBody {
    content: Content,
    activity: Arc<Activity>,
}

#[derive(Debug)]
enum Content {
    Small(Option<Bytes>),
    Stream { gate: Option<Gate>, parts: mpsc::Receiver<Part>, leave: CancellationToken },
}

type Gate = Pin<Box<WaitForCancellationFutureOwned>>;

impl UploadBody {
    /// A document, or nothing at all.
    pub(super) fn small(document: Bytes) -> Self {
        let document = (!document.is_empty()).then_some(document);
        Self { content: Content::Small(document), activity: Arc::default() }
    }

    /// A stream, and where its parts go in. Dropping the body fails the sender.
    pub(super) fn stream() -> (mpsc::Sender<Part>, Self) {
        let (sender, parts) = mpsc::channel(DEPTH);
        let leave = CancellationToken::new();
        let gate = Some(Box::pin(leave.clone().cancelled_owned()));
        (sender, Self { content: Content::Stream { gate, parts, leave }, activity: Arc::default() })
    }

    /// What must be called for a stream to begin; `None` for a small body, which waits for nobody.
    pub(super) fn leave(&self) -> Option<CancellationToken> {
        match &self.content {
            Content::Small(_) => None,
            Content::Stream { leave, .. } => Some(leave.clone()),
        }
    }

    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = Abandoned;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abandoned>>> {
        let this = &mut *self;
        let polled = this.content.poll(context);
        this.activity.set(match &polled {
            Poll::Pending => Waiting::Producer,
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => Waiting::Peer,
            Poll::Ready(_) => Waiting::Answer,
        });
        polled
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Small(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Small(document) => SizeHint::with_exact(document.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Stream { .. } => SizeHint::default(),
        }
    }
}

impl Content {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abandoned>>> {
        match self {
            Self::Small(document) => Poll::Ready(document.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream { gate, parts, .. } => {
                if let Some(waiting) = gate {
                    std::task::ready!(waiting.as_mut().poll(context));
                    *gate = None;
                }
                Poll::Ready(match std::task::ready!(parts.poll_recv(context)) {
                    Some(Part::Data(bytes)) => Some(Ok(Frame::data(bytes))),
                    Some(Part::End(trailers)) => Some(Ok(Frame::trailers(trailers))),
                    None => Some(Err(Abandoned)),
                })
            }
        }
    }
}
