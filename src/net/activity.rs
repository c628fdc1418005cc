//! Whether a connection still does anything.
//!
//! hyper bounds the reading of headers, and nothing else: a peer that stops reading its response, or keeps an
//! HTTP/2 connection open for ever, costs a place and buffers. Three states count. While a handler works, time is its
//! own affair (a flush may take long); while a response is on its way or nothing is asked, silence has a limit.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// How long a connection that has not asked for anything may stay when the gateway stops.
const LEAVE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Silence that is allowed before the first request, and after it.
    first: Duration,
    later: Duration,
}

#[derive(Debug)]
struct State {
    handling: usize,
    asked: bool,
    leaving: bool,
    last: Instant,
}

impl Activity {
    pub(super) fn new(first: Duration, later: Duration) -> Arc<Self> {
        let state = State { handling: 0, asked: false, leaving: false, last: Instant::now() };
        Arc::new(Self { state: Mutex::new(state), first, later })
    }

    /// Something moved.
    pub(super) fn touch(&self) {
        self.state().last = Instant::now();
    }

    /// The connection was told to end. Only a request that is already on its way has time left.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.leaving = true;
        state.last = Instant::now();
    }

    /// A handler works until the guard is dropped.
    pub(super) fn handle(self: &Arc<Self>) -> Handling {
        let mut state = self.state();
        state.handling += 1;
        state.asked = true;
        drop(state);
        Handling(Arc::clone(self))
    }

    /// Done when the connection has been silent for too long.
    pub(super) async fn silent(&self) {
        loop {
            let deadline = self.deadline();
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }

    /// When to look again: silence cannot have lasted too long before.
    fn deadline(&self) -> Instant {
        let state = self.state();
        let allowed = match (state.asked, state.leaving) {
            (true, _) => self.later,
            (false, false) => self.first,
            (false, true) => self.first.min(LEAVE),
        };
        match state.handling {
            0 => state.last + allowed,
            _ => Instant::now() + allowed,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handler at work.
#[derive(Debug)]
pub(super) struct Handling(Arc<Activity>);

impl Drop for Handling {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.handling = state.handling.saturating_sub(1);
        state.last = Instant::now();
    }
}

/// A response body that tells when it is read.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) body: Body,
    pub(super) activity: Arc<Activity>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.activity.touch();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const FIRST: Duration = Duration::from_secs(10);
    const LATER: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_has_the_first_limit() {
        let start = Instant::now();
        Activity::new(FIRST, LATER).silent().await;
        assert_eq!(start.elapsed(), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_working_handler_has_no_limit_and_what_follows_has() {
        let activity = Activity::new(FIRST, LATER);
        let start = Instant::now();
        let handling = activity.handle();
        let work = async {
            sleep(LATER * 5).await;
            drop(handling);
        };
        tokio::join!(work, activity.silent());
        assert!(start.elapsed() >= LATER * 6 && start.elapsed() < LATER * 8, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_is_not_silent() {
        let activity = Activity::new(FIRST, LATER);
        drop(activity.handle());
        let start = Instant::now();
        let moving = async {
            for _ in 0..10 {
                sleep(LATER / 2).await;
                activity.touch();
            }
        };
        tokio::join!(moving, activity.silent());
        assert_eq!(start.elapsed(), LATER * 6);
    }
}
