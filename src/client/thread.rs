//! Blocking work on threads of its own.
//!
//! The runtime's pool of blocking threads was refused: a runtime waits for it at its end, and a read from a pipe in
//! which nothing comes any more would keep the program from ending.

use super::ClientError;

/// Runs `work` on a new thread that knows the runtime, and waits for it.
pub(crate) async fn on_thread<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ClientError> {
    let (done, result) = tokio::sync::oneshot::channel();
    spawn(name, move || drop(done.send(work())))?;
    result.await.map_err(|_| {
        let fault = std::io::Error::other("it ended early");
        ClientError::Local { action: "finish", path: format!("the thread {name:?}"), fault }
    })
}

/// Starts `work` on a new thread that knows the runtime.
pub(super) fn spawn(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<(), ClientError> {
    let runtime = tokio::runtime::Handle::current();
    let inside = move || {
        let _entered = runtime.enter();
        work();
    };
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(inside);
    spawned.map(drop).map_err(ClientError::local("start", format!("the thread {name:?}")))
}
