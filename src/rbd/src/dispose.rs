//! Closing handles where waiting hurts nobody.
//!
//! Closing an image or a connection talks to the cluster and waits for what is under way: seconds, if the cluster
//! hangs. `drop` may run on a thread that serves others, so it hands the closing to a thread of its own. A thread that
//! closes all of them was refused: the first that hangs would hold up the rest.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

static CLOSING: Mutex<usize> = Mutex::new(0);
static CLOSED: Condvar = Condvar::new();

/// Waits until every handle that was dropped is closed; false if that takes longer than `patience`. Blocks. Wanted
/// before a process ends: its locks and watches on images go with their handles, and else only after half a minute.
#[must_use]
pub fn closed(patience: Duration) -> bool {
    let closing = CLOSING.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = CLOSED.wait_timeout_while(closing, patience, |closing| *closing > 0);
    *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
}

/// Runs `close` on a thread of its own. If there can be none, the handle stays open until the process ends.
pub(crate) fn dispose(close: impl FnOnce() + Send + 'static) {
    let token = Token::new();
    let run = move || {
        close();
        drop(token);
    };
    drop(std::thread::Builder::new().name("rbd-close".to_owned()).spawn(run));
}

/// Counts one closing from its creation to its end, however it ends.
struct Token;

impl Token {
    fn new() -> Self {
        *CLOSING.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let mut closing = CLOSING.lock().unwrap_or_else(PoisonError::into_inner);
        *closing = closing.saturating_sub(1);
        CLOSED.notify_all();
    }
}
