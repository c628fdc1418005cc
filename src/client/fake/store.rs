//! Committed images, and the stream formats as plainly as they can be written.

use std::collections::BTreeMap;

use rsnap_wire::{Event, rbd_diff};

use crate::api::SnapshotAnswer;
use crate::client::root::tests::root_of;

/// Snapshots by id, as flat images.
#[derive(Debug, Default)]
pub(crate) struct Store(pub(crate) BTreeMap<String, Vec<u8>>);

impl Store {
    /// Commits `diff` on top of `base`.
    pub(crate) fn apply(&mut self, id: &str, base: Option<&str>, diff: &[u8]) -> Result<(), rsnap_wire::Error> {
        let mut image = base.map(|base| self.0[base].clone()).unwrap_or_default();
        let mut decoder = rbd_diff::Decoder::new();
        let mut input = diff;
        while let Some(event) = decoder.next(&mut input)? {
            match event {
                Event::Size(size) => image.resize(size as usize, 0),
                Event::Data { offset, bytes } => {
                    image[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
                }
                Event::Zero { offset, length } => image[offset as usize..(offset + length) as usize].fill(0),
                _ => {}
            }
        }
        decoder.finish()?;
        self.0.insert(id.to_owned(), image);
        Ok(())
    }

    pub(crate) fn answer(&self, id: &str) -> SnapshotAnswer {
        let image = &self.0[id];
        SnapshotAnswer {
            volume: "vol".into(),
            snapshot: id.into(),
            size: image.len() as u64,
            root: root_of(image).to_string(),
            base: None,
            source_volume: None,
            source_snapshot: None,
            source_mark: None,
            created: "2026-11-23T00:00:00Z".into(),
            stored: 0,
        }
    }

    /// The image as a full diff, with some zeroes said and some left out.
    pub(crate) fn diff(&self, id: &str) -> Vec<u8> {
        let image = &self.0[id];
        let mut diff = rbd_diff::Header { from: None, to: Some(id), size: image.len() as u64 }.encode().unwrap();
        for (number, piece) in image.chunks(10_000).enumerate() {
            let (offset, length) = (number as u64 * 10_000, piece.len() as u64);
            if piece.iter().any(|byte| *byte != 0) {
                diff.extend(rbd_diff::data(offset, length));
                diff.extend(piece);
            } else if number % 2 == 0 {
                diff.extend(rbd_diff::zero(offset, length));
            }
        }
        diff.extend(rbd_diff::END);
        diff
    }
}
