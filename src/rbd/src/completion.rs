//! Asynchronous operations: who owns the buffer, and who wakes the task.
//!
//! The library is given a pointer to an [`Operation`] on the heap, which owns the buffer that the library reads or
//! fills. Nobody else has that pointer until the library's callback takes it back, so a future that is dropped early
//! frees nothing: the callback finds nobody waiting and frees the buffer itself. The callback hands over the answer
//! with a one-shot channel, which does not block. Giving the buffer to the future was refused: it would need a second
//! owner as soon as the future can be dropped.

use std::ffi::{c_int, c_void};
use std::panic::AssertUnwindSafe;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::error::{EIO, Error};
use crate::library::Library;
use crate::pool::PoolHandle;

/// The operations of one handle that are under way: the handle is closed after them.
#[derive(Debug, Default)]
pub(crate) struct Running {
    count: Mutex<usize>,
    none: Condvar,
}

impl Running {
    /// Waits until no operation is under way. Blocks.
    pub(crate) fn wait(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            count = self.none.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn start(self: &Arc<Self>) -> Ticket {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Ticket { running: Arc::clone(self) }
    }
}

/// One operation under way.
struct Ticket {
    running: Arc<Running>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut count = self.running.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.running.none.notify_all();
        }
    }
}

/// Which library an operation belongs to: both have completions of the same shape and functions of different names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Service {
    Rados,
    Rbd,
}

/// What the callback gets back.
struct Operation<B> {
    buffer: B,
    answer: oneshot::Sender<(i64, B)>,
    library: Arc<Library>,
    service: Service,
    pool: Option<Arc<PoolHandle>>,
    ticket: Ticket,
}

/// The answer of an operation, to be waited for.
pub(crate) struct Answer<B> {
    receiver: oneshot::Receiver<(i64, B)>,
}

/// Starts operations of one handle.
#[derive(Debug, Clone)]
pub(crate) struct Starter {
    pub(crate) library: Arc<Library>,
    pub(crate) service: Service,
    pub(crate) running: Arc<Running>,
    /// What librados goes on using until the callback has run, without a reference of its own. An image keeps its pool by
    /// itself.
    pub(crate) pool: Option<Arc<PoolHandle>>,
}

impl Starter {
    /// Starts one operation. `point` derives from the buffer what the library needs (addresses and lengths), `submit`
    /// gives that and the completion to the library and returns its answer. A submission that is refused
    /// leaves nothing behind.
    pub(crate) fn start<B: Send + 'static, P>(
        &self,
        buffer: B,
        point: impl FnOnce(&mut B) -> P,
        submit: impl FnOnce(P, *mut c_void) -> c_int,
    ) -> Result<Answer<B>, i32> {
        let (answer, receiver) = oneshot::channel();
        let (library, service, pool) = (Arc::clone(&self.library), self.service, self.pool.clone());
        let operation = Operation { buffer, answer, library, service, pool, ticket: self.running.start() };
        let operation = Box::into_raw(Box::new(operation));
        let completion = match self.completion::<B>(operation) {
            Ok(completion) => completion,
            Err(code) => {
                // SAFETY: the pointer is from `Box::into_raw` above, and no completion was made that could use it.
                drop(unsafe { Box::from_raw(operation) });
                return Err(code);
            }
        };
        // SAFETY: valid, and nobody else uses it before `submit`; the reference ends before.
        let pointers = point(unsafe { &mut (*operation).buffer });
        let code = submit(pointers, completion);
        if code < 0 {
            self.release(completion);
            // SAFETY: as above; a submission that is refused never calls back.
            drop(unsafe { Box::from_raw(operation) });
            return Err(code);
        }
        Ok(Answer { receiver })
    }

    fn completion<B: Send + 'static>(&self, operation: *mut Operation<B>) -> Result<*mut c_void, i32> {
        let (ceph, mut completion) = (&self.library.ceph, ptr::null_mut());
        let argument = operation.cast();
        // SAFETY: the callback has the type that is asked for, and `argument` is what it expects.
        let code = unsafe {
            match self.service {
                Service::Rados => ceph.rados_aio_create_completion2(argument, Some(complete::<B>), &raw mut completion),
                Service::Rbd => ceph.rbd_aio_create_completion(argument, Some(complete::<B>), &raw mut completion),
            }
        };
        if code < 0 { Err(code) } else { Ok(completion) }
    }

    fn release(&self, completion: *mut c_void) {
        // SAFETY: made by the service's own function, and released once.
        unsafe {
            match self.service {
                Service::Rados => self.library.ceph.rados_aio_release(completion),
                Service::Rbd => self.library.ceph.rbd_aio_release(completion),
            }
        }
    }
}

/// The callback: runs once for each operation, on a thread of the library.
unsafe extern "C" fn complete<B: Send + 'static>(completion: *mut c_void, argument: *mut c_void) {
    let work = AssertUnwindSafe(|| {
        // SAFETY: `argument` is the pointer that `Starter::start` took out of a box, and this is its only callback.
        let operation = unsafe { Box::from_raw(argument.cast::<Operation<B>>()) };
        let Operation { buffer, answer, library, service, pool, ticket } = *operation;
        // SAFETY: `completion` is the operation's own, complete, and not released before.
        let value = unsafe { finish(&library, service, completion) };
        // If nobody waits any more, the buffer comes back here and is freed.
        drop(answer.send((value, buffer)));
        drop(pool);
        // Last: then the connection may be closed.
        drop(ticket);
    });
    // What panics is the buffer's own destructor or a waker; the library must not see it, and its payload could panic
    // again.
    if let Err(payload) = std::panic::catch_unwind(work) {
        std::mem::forget(payload);
    }
}

/// The operation's return value; the completion is released.
///
/// # Safety
/// `completion` is a completion of that service whose callback runs now, and has not been released.
unsafe fn finish(library: &Library, service: Service, completion: *mut c_void) -> i64 {
    let ceph = &library.ceph;
    // SAFETY: the caller vouches for `completion`; releasing it inside of its callback is allowed, the library keeps a
    // reference of its own meanwhile.
    unsafe {
        match service {
            Service::Rados => {
                let value = i64::from(ceph.rados_aio_get_return_value(completion));
                ceph.rados_aio_release(completion);
                value
            }
            Service::Rbd => {
                let value = ceph.rbd_aio_get_return_value(completion);
                ceph.rbd_aio_release(completion);
                value as i64
            }
        }
    }
}

impl<B> Answer<B> {
    /// The operation's value, which is not negative, and its buffer.
    pub(crate) async fn wait(self, action: impl FnOnce() -> String) -> Result<(u64, B), Error> {
        let failed = |code: i64| Error::new(action(), i32::try_from(code).unwrap_or(EIO));
        match self.receiver.await {
            Ok((value, buffer)) => match u64::try_from(value) {
                Ok(value) => Ok((value, buffer)),
                Err(_) => Err(failed(value)),
            },
            Err(_) => Err(failed(i64::from(EIO))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_last_operation() {
        let running = Arc::new(Running::default());
        let (first, second) = (running.start(), running.start());
        let waiter = std::thread::spawn({
            let running = Arc::clone(&running);
            move || running.wait()
        });
        drop(first);
        assert!(!waiter.is_finished());
        drop(second);
        waiter.join().unwrap();
    }
}
