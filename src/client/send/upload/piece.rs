//! One piece: a PATCH whose body is made while it is sent.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::client::body::{Part, UploadBody};
use crate::client::progress::Streams;
use crate::client::send::material::Pieces;
use crate::client::send::packing::{Form, Packing};
use crate::client::send::writer::{Halt, Proof, StreamWriter, value};
use crate::client::thread::spawn;
use crate::client::{ClientError, Meter, Ticketed};
use crate::content::BLOCK_BYTES;

/// What went out of a piece that broke off.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) start: u64,
    /// Positions in the image, with the bytes that had gone out when they were reached.
    trace: VecDeque<(u64, u64)>,
    moved: u64,
}

impl Sent {
    /// Everything before it was read.
    pub(super) fn reached(&self) -> u64 {
        self.trace.back().map_or(self.start, |(position, _)| position - position % BLOCK_BYTES as u64)
    }

    /// Bytes that went out for what lies behind `there`.
    pub(super) fn beyond(&self, there: u64) -> u64 {
        let until = self.trace.iter().take_while(|(position, _)| *position <= there).last();
        self.moved - until.map_or(0, |(_, moved)| *moved)
    }
}

/// Sends one piece. What had gone out comes with the error.
pub(super) async fn send(
    ticketed: &Ticketed,
    path: &str,
    (pieces, packing): (Arc<dyn Pieces>, Packing),
    range: Range<u64>,
    shown: &Streams,
) -> Result<(), (ClientError, Option<Sent>)> {
    // The root of the whole proves its pieces.
    let proof = if pieces.has_root() { Proof::Nothing } else { Proof::Digest };
    let form = Form { proof, packing };
    let headers = headers(&range, form).map_err(|error| (error, None))?;
    let (parts, body) = UploadBody::stream();
    let meter = shown.begin(range.start);
    let leave = body.leave().unwrap_or_default();
    let mut made =
        make(pieces, range.clone(), parts, leave, Arc::clone(&meter), form).map_err(|error| (error, None))?;
    let answer = ticketed.gateway.patch(path, headers, body).await;
    let answer = match answer {
        Ok(answer) => answer.success().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(_) => {
            meter.reach(range.end);
            Ok(())
        }
        Err(error) => {
            // What the source has to say comes first: a body that it could not finish looks like a broken connection.
            let error = match made.try_recv() {
                Ok(Err(Halt::Fault(fault))) => fault,
                _ => error,
            };
            let sent = Sent { start: range.start, trace: meter.trace(), moved: meter.moved() };
            Err((error, Some(sent)))
        }
    }
}

/// Starts the thread that makes the body, once the gateway gives leave.
fn make(
    pieces: Arc<dyn Pieces>,
    range: Range<u64>,
    parts: mpsc::Sender<Part>,
    leave: CancellationToken,
    meter: Arc<Meter>,
    form: Form,
) -> Result<oneshot::Receiver<Result<(), Halt>>, ClientError> {
    let (done, made) = oneshot::channel();
    spawn("source", move || {
        let allowed = Handle::current().block_on(async {
            tokio::select! { biased; () = parts.closed() => false, () = leave.cancelled() => true }
        });
        let mut writer = StreamWriter::new(parts, meter, form);
        let work = pieces.begin(range);
        let result = if allowed { work(&mut writer) } else { Err(Halt::Gone) };
        let ended = result.and_then(|()| writer.finish(None));
        // The result must be there before the writer's drop makes the body fail.
        drop(done.send(ended));
        drop(writer);
    })?;
    Ok(made)
}

fn headers(range: &Range<u64>, form: Form) -> Result<HeaderMap, ClientError> {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(api::RBD_DIFF)),
        (EXPECT, HeaderValue::from_static("100-continue")),
        (HeaderName::from_static(api::RANGE), value(&format!("{}-{}", range.start, range.end))?),
    ];
    let mut all = form.headers();
    all.extend(headers);
    Ok(all)
}
