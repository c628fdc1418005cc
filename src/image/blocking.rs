//! Work that may wait for a disk or a cluster, away from the threads that serve everybody.

use std::io;

use super::ImageError;

/// Runs `work` where it may block. It runs to its end even if the caller is cancelled.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(ImageError::Io { action: "finish a blocking call".to_owned(), source: io::Error::other(error) })
        }
    }
}
