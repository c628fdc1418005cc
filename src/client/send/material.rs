//! What can be sent, seen from the engine that sends it.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use super::writer::{Halt, Proof, StreamWriter};
use crate::api::{PlanAnswer, PlanBase, SourceSnapshot};
use crate::client::tree::RemoteTree;
use crate::client::{ClientError, Meter, Reporter};
use crate::content::Root;

/// What a plan means for the material at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// All of it.
    Full,
    /// What changed since this base of the target.
    Since(PlanBase),
    /// What differs from this base of the target, which the source does not have.
    Rebase(PlanBase),
    /// The stream as it is, on a base that only the user knows.
    Onto { snapshot: Option<String>, root: Option<Root> },
}

/// Makes the body; runs on a thread of its own. Gives the content root of the snapshot where it can be known.
pub(super) type Work = Box<dyn FnOnce(&mut StreamWriter) -> Result<Option<Root>, Halt> + Send>;

/// An image that can be sent in pieces. Opened when the first one is begun, so that [`Pieces::prove`] speaks of all.
pub trait Pieces: Send + Sync + std::fmt::Debug {
    /// Makes the body for a range: a whole stream with its end marker. Ranges begin and end with a block.
    fn begin(self: Arc<Self>, range: Range<u64>) -> PieceWork;
    /// Reads a range that the gateway has already, because the root covers it too. Blocks.
    fn read(&self, range: Range<u64>, meter: &Meter) -> Result<(), ClientError>;
    /// The content root, when every range was begun or read; `None` where it is not known without the base's.
    fn root(&self) -> Option<Root>;
    /// Whether [`Pieces::root`] will be known.
    fn has_root(&self) -> bool;
    /// Fails when the source is not what it was when the first piece was begun. Blocks.
    fn prove(&self) -> Result<(), ClientError>;
}

/// Makes the body of one piece; runs on a thread of its own.
pub(super) type PieceWork = Box<dyn FnOnce(&mut StreamWriter) -> Result<(), Halt> + Send>;

/// Something to be sent.
#[async_trait]
pub trait Material: Send + Sync + std::fmt::Debug {
    /// Bytes of the image.
    fn size(&self) -> u64;
    /// `Content-Type` of the body.
    fn media_type(&self) -> &'static str;
    /// Whether one plan can be asked for it.
    fn is_planned(&self) -> bool;
    /// Whether the content root is known at the end of the body.
    fn has_root(&self, choice: &Choice) -> bool;
    /// What proves a body of this choice. A chain has nothing: its snapshots are committed before the end comes, so a
    /// gateway refuses what would prove them too late.
    fn proof(&self, choice: &Choice) -> Proof {
        match (self.is_planned(), self.has_root(choice)) {
            (false, _) => Proof::Nothing,
            (true, true) => Proof::Root,
            (true, false) => Proof::Digest,
        }
    }
    /// A mark that the source gives to the wanted snapshot's content and to no other, where it has such marks.
    fn mark(&self) -> Option<String> {
        None
    }
    /// The same of the base that the plan names: told instead of its content root, which is then not known here.
    fn base_mark(&self, _plan: &PlanBase) -> Option<String> {
        None
    }
    /// What must be known before the first plan: proves the bases.
    async fn prepare(&mut self, reporter: &dyn Reporter) -> Result<(), ClientError>;
    /// The content root of the wanted snapshot, by reading all of it; `None` where that cannot be told. A source that
    /// can be read only once is spent by it.
    async fn prove(&mut self, name: &str, reporter: &dyn Reporter) -> Result<Option<Root>, ClientError>;
    /// The source's earlier snapshots, oldest first.
    fn bases(&self) -> Vec<SourceSnapshot>;
    /// What to do for a plan that asks for a full or an incremental stream.
    fn choose(&self, plan: &PlanAnswer) -> Result<Choice, ClientError>;
    /// Whether it can be compared with any snapshot of the target: it can be read more than once, anywhere.
    fn can_rebase(&self) -> bool {
        false
    }
    /// Makes ready for [`Choice::Rebase`] on the snapshot with the tree `target`: reads all of the source once.
    async fn rebase(&mut self, _target: RemoteTree, _reporter: &dyn Reporter) -> Result<(), ClientError> {
        Err(ClientError::Plan("what is sent can be read only once, so nothing can be compared with it".to_owned()))
    }
    /// Keeps the source from going away while it is read, where that can be done; until this is dropped.
    async fn hold(&mut self) -> Result<(), ClientError> {
        Ok(())
    }
    /// What makes the body; it touches a source that can be read only once not before it runs.
    fn begin(&mut self, choice: &Choice, source_snapshot: &str) -> Result<Work, ClientError>;
    /// What sends ranges of the image in any order, and any of them again; `None` for a source that has only one order.
    fn pieces(&self, _choice: &Choice, _source_snapshot: &str) -> Result<Option<Arc<dyn Pieces>>, ClientError> {
        Ok(None)
    }
    /// A try failed with this error; told so that the material can repeat it when it cannot be read again.
    fn remember(&mut self, error: ClientError);
}
