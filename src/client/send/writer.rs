//! Where a body is made: bytes in, parts for the socket and a proof out.
//!
//! Where the content root is known it proves the body as well, and nothing else is computed: on both sides a digest would
//! cost more than all that the gateway does with the bytes. Where it is not, BLAKE3 is used because SHA-256 costs three
//! times as much even with the processor's help.
//!
//! Small pieces are gathered, large ones pass without a copy. Packing comes last, so that a digest is of plain bytes and
//! each piece that leaves is a frame of its own. Silence is broken by [`StreamWriter::breathe`]: comparing
//! a volume in which nothing changed sends nothing for longer than a gateway waits for a sender.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;

use super::packing::{Form, Packing};
use crate::api::{BODY_DIGEST, CONTENT_ROOT};
use crate::client::body::Part;
use crate::client::{ClientError, Meter};
use crate::coding::Packer;
use crate::content::Root;

/// Pieces below this are gathered, in bytes.
const SMALL: usize = 64 << 10;
/// Gathered bytes that are sent on.
const BATCH: usize = 256 << 10;
/// Longest silence on purpose.
const SILENCE: Duration = Duration::from_secs(10);

/// Why a body is not made to its end.
#[derive(Debug)]
pub enum Halt {
    /// Nobody takes it any more: the connection is gone, or the answer has come.
    Gone,
    Fault(ClientError),
}

impl From<ClientError> for Halt {
    fn from(fault: ClientError) -> Self {
        Self::Fault(fault)
    }
}

/// What the trailers of a body say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    Nothing,
    /// The content root of the whole snapshot.
    Root,
    /// A digest of the body.
    Digest,
}

impl Proof {
    /// The `Trailer` header that announces it.
    pub(super) fn announcement(self) -> Option<HeaderValue> {
        match self {
            Self::Nothing => None,
            Self::Root => Some(HeaderValue::from_static(CONTENT_ROOT)),
            Self::Digest => Some(HeaderValue::from_static(BODY_DIGEST)),
        }
    }
}

/// The open end of a body.
pub struct StreamWriter {
    parts: mpsc::Sender<Part>,
    gathered: BytesMut,
    form: Form,
    packer: Packer,
    digest: Option<blake3::Hasher>,
    meter: Arc<Meter>,
    last: Instant,
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StreamWriter").field("meter", &self.meter).finish_non_exhaustive()
    }
}

impl StreamWriter {
    pub(super) fn new(parts: mpsc::Sender<Part>, meter: Arc<Meter>, form: Form) -> Self {
        let digest = (form.proof == Proof::Digest).then(blake3::Hasher::new);
        let (gathered, packer) = (BytesMut::new(), Packer::default());
        Self { parts, gathered, form, packer, digest, meter, last: Instant::now() }
    }

    /// Takes bytes for the socket. Blocks while the gateway is slower.
    pub(super) fn write(&mut self, bytes: Bytes) -> Result<(), Halt> {
        if let Some(digest) = &mut self.digest {
            digest.update(&bytes);
        }
        if bytes.len() < SMALL {
            self.gathered.extend_from_slice(&bytes);
            return if self.gathered.len() >= BATCH { self.flush() } else { Ok(()) };
        }
        self.flush()?;
        self.pass(bytes)
    }

    /// Sends `filler` when nothing was sent for long.
    pub(super) fn breathe(&mut self, filler: &[u8]) -> Result<(), Halt> {
        if self.last.elapsed() < SILENCE {
            return Ok(());
        }
        self.write(Bytes::copy_from_slice(filler))?;
        self.flush()
    }

    /// Everything before `position` of the image is in the body.
    pub(super) fn reach(&self, position: u64) {
        self.meter.reach(position);
    }

    /// Ends the body with what proves it. `root` is left out where something else was announced.
    pub(super) fn finish(&mut self, root: Option<Root>) -> Result<(), Halt> {
        self.flush()?;
        let trailers = match (self.form.proof, root, &self.digest) {
            (Proof::Root, Some(root), _) => trailer(CONTENT_ROOT, &root.to_string())?,
            (Proof::Digest, _, Some(digest)) => trailer(BODY_DIGEST, &digest.finalize().to_string())?,
            _ => HeaderMap::new(),
        };
        self.parts.blocking_send(Part::End(trailers)).map_err(|_| Halt::Gone)
    }

    fn flush(&mut self) -> Result<(), Halt> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered).freeze();
        self.pass(gathered)
    }

    fn pass(&mut self, bytes: Bytes) -> Result<(), Halt> {
        let is_waited_for = self.parts.capacity() == self.parts.max_capacity();
        let is_tried = match self.form.packing {
            Packing::Plain => return self.hand_over(bytes),
            Packing::InTime => !is_waited_for,
            Packing::All => true,
        };
        let packed = self.packer.pack(bytes, is_tried).map_err(ClientError::local("pack", "the body"))?;
        packed.into_iter().try_for_each(|part| self.hand_over(part))
    }

    fn hand_over(&mut self, bytes: Bytes) -> Result<(), Halt> {
        let length = bytes.len() as u64;
        self.parts.blocking_send(Part::Data(bytes)).map_err(|_| Halt::Gone)?;
        self.meter.count(length);
        self.last = Instant::now();
        Ok(())
    }
}

fn trailer(name: &'static str, text: &str) -> Result<HeaderMap, ClientError> {
    Ok(HeaderMap::from_iter([(HeaderName::from_static(name), value(text)?)]))
}

/// `text` as a header's value.
pub(super) fn value(text: &str) -> Result<HeaderValue, ClientError> {
    HeaderValue::from_str(text).map_err(|_| ClientError::Usage(format!("{text:?} cannot stand in an HTTP header")))
}

#[cfg(test)]
mod tests {
    use rsnap_wire::rbd_diff;

    use super::*;

    fn data(parts: &mut mpsc::Receiver<Part>) -> Option<Vec<u8>> {
        match parts.try_recv() {
            Ok(Part::Data(bytes)) => Some(bytes.to_vec()),
            _ => None,
        }
    }

    fn form(packing: Packing) -> Form {
        Form { proof: Proof::Digest, packing }
    }

    #[test]
    fn silence_is_broken_by_a_record_that_changes_nothing() {
        let (sender, mut parts) = mpsc::channel(4);
        let mut writer = StreamWriter::new(sender, Arc::default(), form(Packing::Plain));
        let filler = rbd_diff::zero(4096, 0);
        writer.breathe(&filler).unwrap();
        assert_eq!(data(&mut parts), None);
        writer.last -= SILENCE;
        writer.breathe(&filler).unwrap();
        assert_eq!(data(&mut parts), Some(filler.to_vec()));
        writer.breathe(&filler).unwrap();
        assert_eq!(data(&mut parts), None);
        let mut stream = rbd_diff::Header { from: None, to: None, size: 8192 }.encode().unwrap();
        stream.extend(filler);
        stream.extend(rbd_diff::zero(4096, 4096));
        stream.extend(rbd_diff::END);
        let (mut decoder, mut input) = (rbd_diff::Decoder::new(), &stream[..]);
        while decoder.next(&mut input).unwrap().is_some() {}
        decoder.finish().unwrap();
    }

    #[test]
    fn small_pieces_are_gathered_and_order_is_kept() {
        let (sender, mut parts) = mpsc::channel(8);
        let mut writer = StreamWriter::new(sender, Arc::default(), form(Packing::Plain));
        writer.write(Bytes::from_static(b"ab")).unwrap();
        writer.write(Bytes::from_static(b"cd")).unwrap();
        writer.write(Bytes::from(vec![1; SMALL])).unwrap();
        writer.write(Bytes::from_static(b"e")).unwrap();
        writer.finish(None).unwrap();
        assert_eq!(data(&mut parts).unwrap(), b"abcd");
        assert_eq!(data(&mut parts).unwrap().len(), SMALL);
        assert_eq!(data(&mut parts).unwrap(), b"e");
        assert!(matches!(parts.try_recv(), Ok(Part::End(trailers)) if trailers.contains_key(BODY_DIGEST)));
    }

    /// What went out until now, and whether there is an end.
    fn sent(parts: &mut mpsc::Receiver<Part>) -> (Vec<u8>, Option<HeaderMap>) {
        let mut all = Vec::new();
        loop {
            match parts.try_recv() {
                Ok(Part::Data(bytes)) => all.extend_from_slice(&bytes),
                Ok(Part::End(trailers)) => return (all, Some(trailers)),
                Err(_) => return (all, None),
            }
        }
    }

    #[test]
    fn a_packed_body_is_smaller_and_its_digest_is_of_the_plain_one() {
        let plain = vec![7; 3 << 20];
        let (sender, mut parts) = mpsc::channel(64);
        let meter = Arc::new(Meter::default());
        let mut writer = StreamWriter::new(sender, Arc::clone(&meter), form(Packing::All));
        writer.write(Bytes::from_static(b"front")).unwrap();
        writer.write(Bytes::from(plain.clone())).unwrap();
        writer.finish(None).unwrap();
        let (packed, trailers) = sent(&mut parts);
        assert!(packed.len() < 2000, "{}", packed.len());
        assert_eq!(meter.moved(), packed.len() as u64);
        let whole = [&b"front"[..], &plain].concat();
        assert!(zstd::decode_all(&packed[..]).unwrap() == whole);
        assert_eq!(trailers.unwrap()[BODY_DIGEST], *blake3::hash(&whole).to_string());
    }

    #[test]
    fn nothing_is_packed_while_the_socket_waits() {
        let (sender, mut parts) = mpsc::channel(64);
        let mut writer = StreamWriter::new(sender, Arc::default(), form(Packing::InTime));
        writer.write(Bytes::from(vec![7; SMALL])).unwrap();
        writer.write(Bytes::from(vec![8; SMALL])).unwrap();
        // The first one is wrapped, and while it waits there is time for the second.
        let (packed, _) = sent(&mut parts);
        assert!((SMALL..SMALL + 200).contains(&packed.len()), "{}", packed.len());
        assert!(zstd::decode_all(&packed[..]).unwrap() == [[7; SMALL], [8; SMALL]].concat());
    }
}
