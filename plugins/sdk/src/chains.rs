//! The chains of a question, from the few values in which the gateway hands them over.

use std::slice::Iter;

use crate::bindings::policy::rsnap::plugin::chains::Packed;
use crate::policy::{SourceSnapshot, TargetSnapshot};

/// The length of a text that is not there.
const NONE: u32 = u32::MAX;

/// The source's chain and the target's.
pub(crate) fn unpack(packed: &Packed) -> (Vec<SourceSnapshot>, Vec<TargetSnapshot>) {
    let mut rest = Reader { texts: &packed.texts, lengths: packed.lengths.iter(), numbers: packed.numbers.iter() };
    let source = (0..packed.source).map(|_| rest.source()).collect();
    let mut target = Vec::with_capacity(rest.lengths.len() / 5);
    target.extend(std::iter::from_fn(|| rest.target()));
    (source, target)
}

/// Reads what is left. The gateway keeps the contract, so what is missing is its fault, and ends the call.
struct Reader<'a> {
    texts: &'a str,
    lengths: Iter<'a, u32>,
    numbers: Iter<'a, u64>,
}

impl Reader<'_> {
    fn maybe(&mut self) -> Option<String> {
        let length = self.lengths.next().filter(|length| **length != NONE)?;
        let (text, rest) = self.texts.split_at(*length as usize);
        self.texts = rest;
        Some(text.to_owned())
    }

    fn text(&mut self) -> String {
        self.maybe().expect("a text")
    }

    fn number(&mut self) -> u64 {
        *self.numbers.next().expect("a number")
    }

    fn source(&mut self) -> SourceSnapshot {
        SourceSnapshot { id: self.text(), size: self.number(), root: self.maybe() }
    }

    fn target(&mut self) -> Option<TargetSnapshot> {
        let id = self.maybe()?;
        let (root, source_snapshot, source_volume, base) = (self.text(), self.maybe(), self.maybe(), self.maybe());
        let (size, created, stored) = (self.number(), self.number(), self.number());
        Some(TargetSnapshot { id, size, root, source_snapshot, source_volume, created, stored, base })
    }
}
