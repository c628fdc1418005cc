//! A refused upload must see why.
//!
//! A client that has not asked with `Expect: 100-continue` is in the middle of sending when the refusal comes. If the
//! connection is closed with its bytes unread, the kernel answers with a reset, and the reset overtakes the response.
//! So a body that is dropped before its end is read a little longer, into nothing: long enough for the client to
//! look up. On HTTP/2 a stream can be refused alone, but clients in use (curl before 8.2) do not look for the response
//! once their stream is reset, so there it is the same. Not for a client that waits for `100 Continue`: reading would
//! send it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;

/// How much and how long a refused body is read.
const LINGER_BYTES: usize = 128 << 20;
const LINGER_TIME: Duration = Duration::from_secs(3);

/// Whether a request's body has been read to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended(Arc<AtomicBool>);

impl Ended {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A request's body that is read on for a while when it is dropped before its end.
#[derive(Debug)]
pub(super) struct Lingering {
    incoming: Option<Incoming>,
    ended: Ended,
    /// The client sends nothing before it is told to, and it has not been told yet.
    waits: bool,
}

impl Lingering {
    pub(super) fn new(incoming: Incoming, waits: bool) -> Self {
        let ended = Ended::default();
        if incoming.is_end_stream() {
            ended.set();
        }
        Self { incoming: Some(incoming), ended, waits }
    }

    pub(super) fn ended(&self) -> Ended {
        self.ended.clone()
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits = false;
        let Some(incoming) = self.incoming.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(incoming).poll_frame(context));
        let over = matches!(frame, None | Some(Err(_)));
        if over || self.is_end_stream() {
            self.ended.set();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let (Some(incoming), Ok(runtime)) = (self.incoming.take(), Handle::try_current()) else { return };
        if !self.ended.get() && !self.waits {
            drop(runtime.spawn(tokio::time::timeout(LINGER_TIME, discard(incoming))));
        }
    }
}

async fn discard(mut incoming: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = incoming.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > LINGER_BYTES {
            return;
        }
    }
}
