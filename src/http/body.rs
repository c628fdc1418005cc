//! The body of a PUT as a transfer sees it.
//!
//! The transfer pulls; what it does not pull stays in the socket, which is the back-pressure. A sender that falls
//! silent is given up after the idle timeout, and one that still sends at the deadline of a stop is told so, because
//! he can go on at another gateway. A packed body is unpacked here, no faster than it is asked for. A body that ends early is an error even if the protocol below had let it pass, and
//! so is a trailer that was announced and did not come: the sender believes that it is verified.

use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::coding::Unpacking;
use super::headers::{self, Announced};
use crate::api;
use crate::drain::Drain;
use crate::transfer::{self, BodyError, Trailers};

#[derive(Debug)]
pub(super) struct Upstream {
    body: Body,
    idle: Duration,
    declared: Option<u64>,
    received: u64,
    announced: Announced,
    trailers: HeaderMap,
    drain: Drain,
    unpacking: Option<Unpacking>,
}

impl Upstream {
    /// `idle` is how long the sender may be silent. Nothing is read, and no `100 Continue` sent, before the first
    /// call of `next`.
    pub(super) fn new(body: Body, headers: &HeaderMap, declared: Option<u64>, idle: Duration, drain: Drain) -> Self {
        let announced = headers::announced(headers);
        Self { body, idle, declared, received: 0, announced, trailers: HeaderMap::new(), drain, unpacking: None }
    }

    /// What is received is given on as it comes out of here.
    pub(super) fn unpacked(self, unpacking: Option<Unpacking>) -> Self {
        Self { unpacking, ..self }
    }

    /// Reads all that comes, into nothing.
    pub(super) async fn discard(mut self) -> Result<(), BodyError> {
        while self.receive().await?.is_some() {}
        Ok(())
    }

    fn ended(&self) -> Result<Option<Bytes>, BodyError> {
        match self.declared {
            Some(declared) if declared != self.received => {
                Err(BodyError::Cut(format!("{declared} bytes were declared, {} came", self.received)))
            }
            _ => Ok(None),
        }
    }

    /// The next bytes as they come.
    async fn receive(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let frame = tokio::select! {
                // First: at the deadline, a sender who is fast must not be heard out.
                biased;
                () = self.drain.cutting() => return Err(BodyError::Stopping),
                frame = tokio::time::timeout(self.idle, self.body.frame()) => frame,
            };
            let frame = match frame.map_err(|_| BodyError::Idle(self.idle))? {
                None => return self.ended(),
                Some(Err(error)) => return Err(BodyError::Cut(error.to_string())),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    self.received += u64::try_from(data.len()).unwrap_or(u64::MAX);
                    return Ok(Some(data));
                }
                Err(frame) => self.trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
    }

    /// A little packed may be much plain: a stop is looked for between its pieces too.
    async fn refuse_stopped(&mut self) -> Result<(), BodyError> {
        tokio::select! {
            biased;
            () = self.drain.cutting() => Err(BodyError::Stopping),
            () = std::future::ready(()) => Ok(()),
        }
    }
}

#[async_trait]
impl transfer::Body for Upstream {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            if let Some(unpacking) = &mut self.unpacking
                && let Some(plain) = unpacking.next()?
            {
                self.refuse_stopped().await?;
                return Ok(Some(plain));
            }
            let received = self.receive().await?;
            match (&mut self.unpacking, received) {
                (None, received) => return Ok(received),
                (Some(unpacking), Some(packed)) => unpacking.push(packed)?,
                (Some(unpacking), None) => return unpacking.finish().map(|()| None),
            }
        }
    }

    async fn trailers(&mut self) -> Result<Trailers, BodyError> {
        let malformed = |problem: super::Problem| BodyError::Trailer(problem.text().to_owned());
        let digests = headers::digests(&self.trailers).map_err(malformed)?;
        let root = headers::root(&self.trailers).map_err(malformed)?;
        let own = headers::body_digest(&self.trailers).map_err(malformed)?;
        let announced = self.announced.digests;
        match (announced.sha256, digests.is_empty(), announced.blake3, own.is_none()) {
            (true, true, ..) => return Err(missing("a digest that is verified here (sha-256 or sha-512)")),
            (.., true, true) => return Err(missing(api::BODY_DIGEST)),
            (false, false, ..) | (.., false, false) => {
                return Err(BodyError::Trailer("announce the digest in the Trailer header".to_owned()));
            }
            _ => {}
        }
        if self.announced.root && root.is_none() {
            return Err(missing("the content root"));
        }
        let digests = match &mut self.unpacking {
            None => digests,
            Some(unpacking) => {
                unpacking.verify(&digests)?;
                Vec::new()
            }
        };
        Ok(Trailers { digests: digests.into_iter().chain(own).collect(), root })
    }
}

fn missing(what: &str) -> BodyError {
    BodyError::Trailer(format!("{what} was announced and did not come"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::http::tests::headers;
    use crate::transfer::{Body as _, Digest};

    const IDLE: Duration = Duration::from_secs(60);

    fn body(frames: Vec<Frame<Bytes>>) -> Body {
        Body::new(StreamBody::new(stream::iter(frames.into_iter().map(Ok::<_, Infallible>))))
    }

    fn upstream(announced: &str, trailers: &[(&'static str, &str)]) -> Upstream {
        let frames = vec![Frame::data(Bytes::from_static(b"abc")), Frame::trailers(headers(trailers))];
        Upstream::new(body(frames), &headers(&[("trailer", announced)]), None, IDLE, Drain::new())
    }

    async fn trailers(mut upstream: Upstream) -> Result<Trailers, BodyError> {
        assert_eq!(upstream.next().await.unwrap().unwrap(), "abc");
        assert!(upstream.next().await.unwrap().is_none());
        upstream.trailers().await
    }

    #[tokio::test]
    async fn trailers_come_after_the_body() {
        let digest = format!("sha-256=:{}=:", "A".repeat(43));
        let root = format!("rsnap1:{}", "0".repeat(64));
        let lines = [("content-digest", digest.as_str()), ("rsnap-content-root", &root)];
        let read = trailers(upstream("content-digest, rsnap-content-root", &lines)).await.unwrap();
        assert_eq!(read.digests, [Digest::Sha256([0; 32])]);
        assert_eq!(read.root.unwrap().to_string(), root);
    }

    #[tokio::test]
    async fn a_trailer_that_is_missing_malformed_or_unannounced_is_an_error() {
        let digest = format!("sha-256=:{}=:", "A".repeat(43));
        for (announced, lines) in [
            ("content-digest", vec![]),
            ("content-digest", vec![("content-digest", "md5=:AAAA:")]),
            ("content-digest", vec![("content-digest", "sha-256=abc")]),
            ("rsnap-content-root", vec![]),
            ("rsnap-content-root", vec![("rsnap-content-root", "rsnap1:xyz")]),
            ("", vec![("content-digest", digest.as_str())]),
            ("rsnap-body-digest", vec![]),
            ("rsnap-body-digest", vec![("rsnap-body-digest", "abc")]),
            ("rsnap-body-digest", vec![("content-digest", digest.as_str())]),
            ("", vec![("rsnap-body-digest", &"0".repeat(64))]),
        ] {
            let read = trailers(upstream(announced, &lines)).await;
            assert!(matches!(read, Err(BodyError::Trailer(_))), "{announced} {lines:?}");
        }
    }

    #[tokio::test]
    async fn a_body_of_another_length_is_cut() {
        for (declared, whole) in [(3, true), (2, false), (4, false)] {
            let frames = vec![Frame::data(Bytes::from_static(b"ab")), Frame::data(Bytes::from_static(b"c"))];
            let upstream = Upstream::new(body(frames), &HeaderMap::new(), Some(declared), IDLE, Drain::new());
            assert_eq!(upstream.discard().await.is_ok(), whole, "{declared}");
        }
    }

    #[tokio::test]
    async fn a_broken_connection_is_never_an_end() {
        let broken = stream::iter([Ok(Bytes::from_static(b"ab")), Err(std::io::Error::other("reset"))]);
        let mut upstream = Upstream::new(Body::from_stream(broken), &HeaderMap::new(), None, IDLE, Drain::new());
        assert_eq!(upstream.next().await.unwrap().unwrap(), "ab");
        assert!(matches!(upstream.next().await, Err(BodyError::Cut(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_deadline_of_a_stop_a_fast_sender_is_broken_off() {
        let drain = Drain::new();
        let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(b"x")));
        let body = Body::from_stream(endless);
        let mut upstream = Upstream::new(body, &HeaderMap::new(), None, IDLE, drain.clone());
        let work = drain.spawn(async move {
            loop {
                if let Err(error) = upstream.next().await {
                    return error;
                }
                tokio::task::yield_now().await;
            }
        });
        drain.run(Duration::ZERO, Duration::ZERO).await;
        assert!(matches!(work.await.unwrap(), BodyError::Stopping));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_given_up_and_slowness_is_not() {
        let drops = stream::iter(0..5).then(|_| async {
            tokio::time::sleep(IDLE / 2).await;
            Ok::<_, Infallible>(Bytes::from_static(b"x"))
        });
        let silent = stream::pending::<Result<Bytes, Infallible>>();
        let mut upstream =
            Upstream::new(Body::from_stream(drops.chain(silent)), &HeaderMap::new(), None, IDLE, Drain::new());
        for _ in 0..5 {
            assert!(upstream.next().await.unwrap().is_some());
        }
        assert!(matches!(upstream.next().await, Err(BodyError::Idle(IDLE))));
    }
}
