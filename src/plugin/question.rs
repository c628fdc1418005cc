//! A question to a policy on its way to the guests' threads: all its texts in one, all its numbers in one.
//!
//! A call there needs values of its own, and chains have thousands of snapshots with five texts each. To copy each text
//! by itself took a third of a long decision, in the allocator.

use std::slice::Iter;

use super::bindings::policy::ChainPolicy;
use super::bindings::policy::exports::rsnap::plugin::policy as wit;
use super::bindings::policy::rsnap::plugin::chains::Packed;
use super::call::Instance;
use super::{PolicyRequest, SourceSnapshot, TargetSnapshot};

type Answer = Result<wit::Plan, String>;

/// The length of a text that is not there. Texts of that length do not fit into a guest.
const NONE: u32 = u32::MAX;

/// A request with its chains in three pieces of memory: first the source's snapshots, then the target's, each with its
/// fields in the order that the contract tells for `chains.packed`.
pub(super) struct Question {
    volume: String,
    snapshot: String,
    source_volume: Option<String>,
    wanted: SourceSnapshot,
    chains: Chains,
}

#[derive(Default)]
struct Chains {
    texts: String,
    lengths: Vec<u32>,
    numbers: Vec<u64>,
    /// Snapshots of the source.
    source: usize,
}

impl Question {
    pub(super) fn of(request: &PolicyRequest) -> Self {
        Self {
            volume: request.volume.to_string(),
            snapshot: request.snapshot.to_string(),
            source_volume: request.source_volume.clone(),
            wanted: request.wanted.clone(),
            chains: Chains::of(request),
        }
    }

    /// Asks it, with the chains as the guest wants them.
    pub(super) async fn ask(self, instance: &mut Instance<ChainPolicy>) -> wasmtime::Result<Answer> {
        let Self { volume, snapshot, source_volume, wanted, mut chains } = self;
        let state = instance.store.data_mut();
        if state.holds_chains {
            state.chains = Some(std::mem::take(&mut chains).pack());
        }
        let (source, target) = chains.snapshots();
        let request = wit::Request {
            volume: &volume,
            snapshot: &snapshot,
            source_volume: source_volume.as_deref(),
            wanted: wit::SourceSnapshot { id: &wanted.id, size: wanted.size, root: wanted.root.as_deref() },
            source: &source,
            target: &target,
        };
        let answer = instance.world.rsnap_plugin_policy().call_decide(&mut instance.store, request).await;
        instance.store.data_mut().chains = None;
        answer
    }
}

impl Chains {
    fn of(request: &PolicyRequest) -> Self {
        let mut chains = Self { source: request.source.len(), ..Self::default() };
        let (source, target) = (request.source.len(), request.target.len());
        chains.lengths.reserve(2 * source + 5 * target);
        chains.numbers.reserve(source + 3 * target);
        request.source.iter().for_each(|snapshot| chains.put_source(snapshot));
        request.target.iter().for_each(|snapshot| chains.put_target(snapshot));
        chains
    }

    fn pack(self) -> Packed {
        let Self { texts, lengths, numbers, source } = self;
        Packed { texts, lengths, numbers, source: u32::try_from(source).unwrap_or(u32::MAX) }
    }

    fn text(&mut self, text: &str) {
        self.texts.push_str(text);
        self.lengths.push(u32::try_from(text.len()).unwrap_or(NONE - 1));
    }

    fn maybe(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.lengths.push(NONE),
        }
    }

    fn put_source(&mut self, snapshot: &SourceSnapshot) {
        self.text(&snapshot.id);
        self.numbers.push(snapshot.size);
        self.maybe(snapshot.root.as_deref());
    }

    fn put_target(&mut self, snapshot: &TargetSnapshot) {
        self.text(snapshot.id.as_str());
        self.text(&snapshot.root);
        self.maybe(snapshot.source_snapshot.as_deref());
        self.maybe(snapshot.source_volume.as_deref());
        self.maybe(snapshot.base.as_ref().map(crate::id::SnapshotId::as_str));
        self.numbers.extend([snapshot.size, snapshot.created, snapshot.stored]);
    }

    /// One by one, in the types of the contract.
    fn snapshots(&self) -> (Vec<wit::SourceSnapshot<'_>>, Vec<wit::TargetSnapshot<'_>>) {
        let mut rest = Reader { texts: &self.texts, lengths: self.lengths.iter(), numbers: self.numbers.iter() };
        let source = (0..self.source).map(|_| rest.source()).collect();
        (source, std::iter::from_fn(|| rest.target()).collect())
    }
}

struct Reader<'a> {
    texts: &'a str,
    lengths: Iter<'a, u32>,
    numbers: Iter<'a, u64>,
}

impl<'a> Reader<'a> {
    fn maybe(&mut self) -> Option<&'a str> {
        let length = self.lengths.next().filter(|length| **length != NONE)?;
        let (text, rest) = self.texts.split_at_checked(*length as usize)?;
        self.texts = rest;
        Some(text)
    }

    fn text(&mut self) -> &'a str {
        self.maybe().unwrap_or_default()
    }

    fn number(&mut self) -> u64 {
        self.numbers.next().copied().unwrap_or_default()
    }

    fn source(&mut self) -> wit::SourceSnapshot<'a> {
        wit::SourceSnapshot { id: self.text(), size: self.number(), root: self.maybe() }
    }

    fn target(&mut self) -> Option<wit::TargetSnapshot<'a>> {
        let id = self.maybe()?;
        let (root, source_snapshot, source_volume, base) = (self.text(), self.maybe(), self.maybe(), self.maybe());
        let (size, created, stored) = (self.number(), self.number(), self.number());
        Some(wit::TargetSnapshot { id, size, root, source_snapshot, source_volume, created, stored, base })
    }
}
