//! One PUT: the body is made on a thread while it is sent, and the first of three ends counts: the gateway's answer,
//! the source's failure, the connection's.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::material::{Choice, Work};
use super::packing::Form;
use super::writer::{Halt, StreamWriter, value};
use super::{Job, Run};
use crate::api::{self, ChainAnswer, SnapshotAnswer};
use crate::client::answer::Answer;
use crate::client::body::{Part, UploadBody};
use crate::client::gateway::{collection_path, snapshot_path};
use crate::client::progress::telling;
use crate::client::thread::spawn;
use crate::client::{ClientError, Meter, Outcome, Stage, Ticketed};
use crate::content::Root;

/// How long the thread that makes the body may lag behind the answer to it.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What the thread that makes the body has to say at its end.
type Made = oneshot::Receiver<Result<Option<Root>, Halt>>;

impl Run<'_> {
    pub(super) async fn transmit(&mut self, ticketed: &Ticketed, choice: Choice) -> Result<Outcome, ClientError> {
        let form = Form { proof: self.job.material.proof(&choice), packing: self.packing(ticketed) };
        let headers = headers(self.job, &choice, form)?;
        let path = path(self.job)?;
        self.job.material.hold().await?;
        let work = self.job.material.begin(&choice, &self.job.source_snapshot)?;
        let (parts, body) = UploadBody::stream();
        let meter = Arc::new(Meter::default());
        let made = make(work, parts, body.leave().unwrap_or_default(), Arc::clone(&meter), form)?;
        let name = self.job.snapshot()?.to_string();
        let size = self.job.material.size();
        let put = ticketed.gateway.put(&path, headers, body);
        let answer = telling(self.reporter, Stage::Sending, &name, size, &meter, put).await;
        let root = self.settle(&answer, made).await?;
        let snapshots = committed(self.job, answer?).await?;
        verify(&snapshots, root)?;
        Ok(Outcome::Committed { snapshots, moved: self.memory.moved() + meter.moved(), again: 0 })
    }

    /// What the source has to say, which comes before what the connection says: a body that the source could not
    /// finish looks like a broken connection.
    async fn settle(
        &mut self,
        answer: &Result<Answer, ClientError>,
        mut made: Made,
    ) -> Result<Option<Root>, ClientError> {
        let ended = match answer {
            Ok(answer) if answer.status().is_success() => timeout(LAST_WORD, made).await.ok().and_then(Result::ok),
            _ => made.try_recv().ok(),
        };
        match ended {
            Some(Err(Halt::Fault(fault))) => Err(fault),
            Some(Ok(root)) => {
                self.sent = true;
                self.root = root.or(self.root);
                Ok(root)
            }
            Some(Err(Halt::Gone)) | None => Ok(None),
        }
    }
}

/// Starts the thread that makes the body, once the gateway gives leave.
fn make(
    work: Work,
    parts: mpsc::Sender<Part>,
    leave: CancellationToken,
    meter: Arc<Meter>,
    form: Form,
) -> Result<Made, ClientError> {
    let (done, made) = oneshot::channel();
    spawn("source", move || {
        let allowed = Handle::current().block_on(async {
            tokio::select! { biased; () = parts.closed() => false, () = leave.cancelled() => true }
        });
        let mut writer = StreamWriter::new(parts, meter, form);
        let result = if allowed { work(&mut writer) } else { Err(Halt::Gone) };
        let ended = result.and_then(|root| {
            writer.finish(root)?;
            Ok(root)
        });
        // The result must be there before the writer's drop makes the body fail.
        drop(done.send(ended));
        drop(writer);
    })?;
    Ok(made)
}

fn path(job: &Job) -> Result<String, ClientError> {
    if job.material.is_planned() {
        return Ok(snapshot_path(&job.volume, job.snapshot()?));
    }
    let ids: Vec<_> = job.snapshots.iter().map(|id| id.as_str()).collect();
    Ok(format!("{}?snapshots={}", collection_path(&job.volume), ids.join(",")))
}

fn headers(job: &Job, choice: &Choice, form: Form) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(job.material.media_type())),
        (EXPECT, HeaderValue::from_static("100-continue")),
    ]);
    headers.extend(form.headers());
    headers.extend(source_headers(job, choice)?);
    Ok(headers)
}

/// What is told of the source and of the base.
pub(super) fn source_headers(job: &Job, choice: &Choice) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    let (base, root, mark) = match choice {
        Choice::Full => (None, None, None),
        Choice::Since(base) | Choice::Rebase(base) => {
            let mark = job.material.base_mark(base);
            let root = mark.is_none().then(|| base.root.clone());
            (Some(base.snapshot.clone()), root, mark)
        }
        Choice::Onto { snapshot, root } => (snapshot.clone(), root.map(|root| root.to_string()), None),
    };
    let source_snapshot = job.material.is_planned().then(|| job.source_snapshot.clone());
    for (name, text) in [
        (api::BASE, base),
        (api::BASE_ROOT, root),
        (api::BASE_MARK, mark),
        (api::SOURCE_VOLUME, job.source_volume.clone()),
        (api::SOURCE_SNAPSHOT, source_snapshot),
        (api::SOURCE_MARK, job.material.mark()),
    ] {
        if let Some(text) = text {
            headers.insert(HeaderName::from_static(name), value(&text)?);
        }
    }
    Ok(headers)
}

async fn committed(job: &Job, answer: Answer) -> Result<Vec<SnapshotAnswer>, ClientError> {
    if job.material.is_planned() {
        return Ok(vec![answer.json::<SnapshotAnswer>().await?]);
    }
    Ok(answer.json::<ChainAnswer>().await?.snapshots)
}

/// The gateway must have committed what we sent.
pub(super) fn verify(snapshots: &[SnapshotAnswer], root: Option<Root>) -> Result<(), ClientError> {
    let (Some(root), Some(snapshot)) = (root, snapshots.last()) else { return Ok(()) };
    if snapshot.root == root.to_string() {
        return Ok(());
    }
    Err(ClientError::Integrity {
        what: "the gateway committed another content than was sent",
        expected: root.to_string(),
        actual: snapshot.root.clone(),
    })
}
