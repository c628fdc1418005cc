//! Whether a body is packed on its way.
//!
//! A line that is slower than a core is helped by it, and one that is faster is hindered. Which of the two it is, is seen
//! while the body is sent: where parts wait for the socket there is time to pack the next one, and where the socket
//! waits for parts the next one goes as it is. So nothing is assumed of lines, disks or limits, and a line that changes
//! is followed.

use http::header::{CONTENT_ENCODING, TRAILER};
use http::{HeaderMap, HeaderValue};

use super::Run;
use super::writer::Proof;
use crate::client::{ClientError, Ticketed, kind};
use crate::coding::ZSTD;

/// What the user wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compress {
    /// Where the gateway takes it, and as long as the line is what is waited for.
    #[default]
    Auto,
    /// All that gets smaller by it: bytes on the line cost money.
    Always,
    Never,
}

/// How the pieces of one body go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    /// Those for which there is time.
    InTime,
    /// All that get smaller.
    All,
}

/// How a body is made: what proves it, and how its pieces go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) proof: Proof,
    pub(super) packing: Packing,
}

impl Form {
    /// What the head of the request says of it.
    pub(super) fn headers(self) -> HeaderMap {
        let trailer = self.proof.announcement().map(|trailer| (TRAILER, trailer));
        let is_packed = self.packing != Packing::Plain;
        let coding = is_packed.then(|| (CONTENT_ENCODING, HeaderValue::from_static(ZSTD)));
        trailer.into_iter().chain(coding).collect()
    }
}

impl Run<'_> {
    pub(super) fn packing(&self, ticketed: &Ticketed) -> Packing {
        match self.job.compress {
            // Nobody was asked who takes it: there is no plan for a chain.
            _ if !self.job.material.is_planned() => Packing::Plain,
            Compress::Never => Packing::Plain,
            Compress::Always => Packing::All,
            Compress::Auto if ticketed.gateway.takes_zstd() => Packing::InTime,
            Compress::Auto => Packing::Plain,
        }
    }

    /// Whether the next try is to go without: something on the way takes no packed bodies though the gateway does.
    pub(super) fn unpack_after(&mut self, error: &ClientError) -> bool {
        let refused = matches!(error, ClientError::Refused { problem, .. } if kind(problem) == "unsupported-coding");
        let is_over = refused && self.job.compress == Compress::Auto;
        if is_over {
            self.job.compress = Compress::Never;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{Fake, Log, Script, quick};
    use crate::client::send::{Image, Job, send};
    use crate::client::{Gateway, Outcome};

    fn job(gateway: Gateway, image: &tempfile::NamedTempFile, compress: Compress) -> Job {
        std::fs::write(image.path(), vec![7; 3 << 20]).unwrap();
        Job {
            gateway,
            volume: "vol".parse().unwrap(),
            snapshots: vec!["s".parse().unwrap()],
            source_volume: None,
            source_snapshot: "s".to_owned(),
            material: Box::new(Image::file(image.path().to_owned(), vec![]).unwrap()),
            backoff: quick(4),
            streams: None,
            compress,
        }
    }

    #[tokio::test]
    async fn it_is_packed_where_both_sides_want_it() {
        use Compress::{Always, Auto, Never};
        for (takes_zstd, compress, expected) in
            [(true, Auto, true), (false, Auto, false), (true, Never, false), (false, Always, true)]
        {
            let fake = Fake::start().await;
            fake.state.lock().unwrap().takes_zstd = takes_zstd;
            let image = tempfile::NamedTempFile::new().unwrap();
            let outcome = send(&mut job(fake.gateway(), &image, compress), &Log::default()).await.unwrap();
            assert!(matches!(outcome, Outcome::Committed { .. }));
            let received = fake.received().pop().unwrap();
            let coding = received.headers.get(CONTENT_ENCODING).map(|name| name.to_str().unwrap());
            assert_eq!(coding, expected.then_some(ZSTD), "{takes_zstd} {compress:?}");
        }
    }

    #[tokio::test]
    async fn a_coding_that_is_refused_is_left_out_where_nobody_asked_for_it() {
        for compress in [Compress::Auto, Compress::Always] {
            let fake = Fake::start().await;
            fake.state.lock().unwrap().takes_zstd = true;
            fake.script([Script::RefuseCoding]);
            let (image, log) = (tempfile::NamedTempFile::new().unwrap(), Log::default());
            let sent = send(&mut job(fake.gateway(), &image, compress), &log).await;
            if compress == Compress::Always {
                assert!(matches!(sent, Err(ClientError::Refused { .. })), "{sent:?}");
                continue;
            }
            sent.unwrap();
            assert_eq!((fake.requests("PUT"), log.retries()), (2, 0));
            assert!(!fake.received().pop().unwrap().headers.contains_key(CONTENT_ENCODING));
        }
    }
}
