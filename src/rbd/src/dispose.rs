//! The end of handles: closing them where waiting hurts nobody, and before the process ends.
//!
//! Closing an image or a connection talks to the cluster and waits for what is under way: seconds, if the cluster
//! hangs. `drop` may run on a thread that serves others, so it hands the closing to a thread of its own. A thread that
//! closes all of them was refused: the first that hangs would hold up the rest.
//!
//! A process that ends while Ceph's threads run crashes now and then, because what they use is destroyed under them. So
//! the end of the process waits for what is being closed, and if connections are left, it ends without destroying.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

/// How long the end of the process waits for handles that are being closed.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Handles of the whole process.
#[derive(Debug, Default)]
struct Handles {
    /// Images and connections that nobody uses any more.
    closing: usize,
    /// Connections, until they are closed.
    connections: usize,
}

static HANDLES: Mutex<Handles> = Mutex::new(Handles { closing: 0, connections: 0 });
static CLOSED: Condvar = Condvar::new();

fn handles() -> MutexGuard<'static, Handles> {
    HANDLES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until every handle that was dropped is closed; false if that takes longer than `patience`. Blocks. Wanted
/// before a process ends: its locks and watches on images go with their handles, and else only after half a minute.
#[must_use]
pub fn closed(patience: Duration) -> bool {
    let waited = CLOSED.wait_timeout_while(handles(), patience, |handles| handles.closing > 0);
    waited.unwrap_or_else(PoisonError::into_inner).0.closing == 0
}

/// Runs `close` on a thread of its own. If there can be none, the handle stays open until the process ends.
pub(crate) fn dispose(close: impl FnOnce() + Send + 'static) {
    let closing = Closing::new();
    let run = move || {
        close();
        drop(closing);
    };
    drop(std::thread::Builder::new().name("rbd-close".to_owned()).spawn(run));
}

/// Counts one closing from its creation to its end, however it ends.
struct Closing;

impl Closing {
    fn new() -> Self {
        handles().closing += 1;
        Self
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let mut handles = handles();
        handles.closing = handles.closing.saturating_sub(1);
        CLOSED.notify_all();
    }
}

/// Counts one connection until it is closed.
#[derive(Debug)]
pub(crate) struct Connected(());

impl Connected {
    pub(crate) fn new() -> Self {
        handles().connections += 1;
        Self(())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut handles = handles();
        handles.connections = handles.connections.saturating_sub(1);
    }
}

unsafe extern "C" {
    fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    fn _exit(status: c_int) -> !;
}

/// Puts [`at_exit`] before the destruction of all that the libraries have made until now. They make more when the first
/// connection and the first image are made, so each of these has a `Once` of its own.
pub(crate) fn guard_exit(once: &Once) {
    once.call_once(|| {
        // SAFETY: the function has the right type and uses nothing of its argument.
        unsafe { on_exit(at_exit, ptr::null_mut()) };
    });
}

extern "C" fn at_exit(status: c_int, _argument: *mut c_void) {
    if !closed(LAST_WAIT) || handles().connections > 0 {
        // SAFETY: ends the process at once; Rust has flushed its streams before.
        unsafe { _exit(status) };
    }
}
