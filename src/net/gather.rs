//! Many TLS records in one read.
//!
//! rustls gives one record (16 KiB) at a time, and hyper hands each read on as a frame, from the connection's task to the
//! handler's: a wake-up of another thread for each record. Here a read goes on until its buffer is full or nothing is
//! there, so that a fast upload arrives in large frames. A slow one is not held up: what is there is handed over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose reads are as large as they can be without waiting.
#[derive(Debug)]
pub(super) struct Gather<S> {
    stream: S,
    /// An error that came after bytes in the same read: it is told by the next one.
    failed: Option<io::Error>,
}

impl<S> Gather<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, failed: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let start = buffer.filled().len();
        while buffer.remaining() > 0 {
            let before = buffer.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(context, buffer);
            let nothing_yet = buffer.filled().len() == start;
            match read {
                Poll::Ready(Ok(())) if buffer.filled().len() == before => break,
                Poll::Ready(Ok(())) => {}
                Poll::Pending | Poll::Ready(Err(_)) if nothing_yet => return read,
                Poll::Pending => break,
                Poll::Ready(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Gives its pieces one by one; `None` is a moment without anything.
    struct Pieces(VecDeque<Option<io::Result<&'static [u8]>>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop_front() {
                None => Poll::Ready(Ok(())),
                Some(None) => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Some(Ok(piece))) => {
                    buffer.put_slice(piece);
                    Poll::Ready(Ok(()))
                }
                Some(Some(Err(error))) => Poll::Ready(Err(error)),
            }
        }
    }

    async fn reads(pieces: Vec<Option<io::Result<&'static [u8]>>>) -> Vec<Result<String, String>> {
        let mut gather = Gather::new(Pieces(pieces.into()));
        let mut all = Vec::new();
        loop {
            let mut buffer = [0; 6];
            match gather.read(&mut buffer).await {
                Ok(0) => return all,
                Ok(length) => all.push(Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())),
                Err(error) => all.push(Err(error.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn records_are_gathered_until_the_buffer_is_full_or_nothing_is_there() {
        let pieces =
            vec![Some(Ok(b"ab".as_slice())), Some(Ok(b"cd")), Some(Ok(b"ef")), Some(Ok(b"gh")), None, Some(Ok(b"i"))];
        assert_eq!(reads(pieces).await, [Ok("abcdef".to_owned()), Ok("gh".to_owned()), Ok("i".to_owned())]);
    }

    #[tokio::test]
    async fn an_error_comes_after_the_bytes_before_it() {
        let pieces = vec![None, Some(Ok(b"ab".as_slice())), Some(Err(io::Error::other("reset"))), Some(Ok(b"cd"))];
        assert_eq!(reads(pieces).await, [Ok("ab".to_owned()), Err("reset".to_owned()), Ok("cd".to_owned())]);
        assert_eq!(reads(vec![Some(Err(io::Error::other("reset")))]).await, [Err("reset".to_owned())]);
    }
}
