//! Accepting connections for ever.
//!
//! `accept` fails for three kinds of reasons, and only one of them is about the listener: the peer was gone before
//! we looked (go on at once), the process or the machine has run out of something (wait, or the loop burns a core
//! and the log fills), anything else (the same, loudly). None of them may end the loop: a server that stops
//! accepting while its process lives is the hardest outage to see.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};

/// First and longest wait after a failure that is ours.
const WAIT_FIRST: Duration = Duration::from_millis(10);
const WAIT_LONGEST: Duration = Duration::from_secs(1);

/// Whose address a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// What a failed `accept` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The peer gave up.
    Peer,
    /// File descriptors or memory ran out.
    Exhausted,
    Other,
}

fn classify(error: &io::Error) -> Failure {
    match Errno::from_io_error(error) {
        Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::CONNREFUSED | Errno::INTR | Errno::PROTO) => Failure::Peer,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Failure::Exhausted,
        _ => Failure::Other,
    }
}

/// A listener whose `next` always comes back with a connection.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    wait: Duration,
}

impl Acceptor {
    #[must_use]
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, wait: WAIT_FIRST }
    }

    /// The next connection. Cancel-safe.
    pub async fn next(&mut self) -> (TcpStream, Peer) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => return (self.accepted(stream), Peer(address)),
                Err(error) => self.recover(&error).await,
            }
        }
    }

    /// Small answers must not wait for more to come; a socket that refuses the option works all the same.
    fn accepted(&mut self, stream: TcpStream) -> TcpStream {
        self.wait = WAIT_FIRST;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "set TCP_NODELAY");
        }
        stream
    }

    async fn recover(&mut self, error: &io::Error) {
        match classify(error) {
            Failure::Peer => tracing::debug!(%error, "accept a connection that is gone"),
            Failure::Exhausted => {
                tracing::error!(%error, "accept a connection: raise the limit of open files or free memory");
                self.back_off().await;
            }
            Failure::Other => {
                tracing::error!(%error, "accept a connection");
                self.back_off().await;
            }
        }
    }

    async fn back_off(&mut self) {
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(WAIT_LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn error(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn failures_are_told_apart() {
        assert_eq!(classify(&error(Errno::CONNABORTED)), Failure::Peer);
        assert_eq!(classify(&error(Errno::MFILE)), Failure::Exhausted);
        assert_eq!(classify(&error(Errno::NFILE)), Failure::Exhausted);
        assert_eq!(classify(&error(Errno::INVAL)), Failure::Other);
        assert_eq!(classify(&io::Error::other("no number")), Failure::Other);
    }

    #[tokio::test(start_paused = true)]
    async fn exhaustion_is_slept_on_and_a_lost_peer_is_not() {
        let mut acceptor = Acceptor::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let start = Instant::now();
        acceptor.recover(&error(Errno::CONNABORTED)).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..20 {
            acceptor.recover(&error(Errno::MFILE)).await;
        }
        assert!(start.elapsed() > Duration::from_secs(10), "{:?}", start.elapsed());
        assert!(acceptor.wait <= WAIT_LONGEST);
    }
}
