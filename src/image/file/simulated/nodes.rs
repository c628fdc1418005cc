//! Files and directories that know what of them is durable.

use std::collections::BTreeMap;

/// Unit in which contents are kept, in bytes.
pub(super) const PAGE: u64 = 4096;
/// Unit in which a write is torn, in bytes.
const SECTOR: usize = 512;

/// Random numbers that a seed decides (SplitMix64).
#[derive(Debug, Clone)]
pub(in crate::image) struct Dice(pub u64);

impl Dice {
    pub(in crate::image) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..end`.
    pub(in crate::image) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(in crate::image) fn chance(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// Bytes with holes.
#[derive(Debug, Clone, Default)]
pub(super) struct Sparse {
    pub length: u64,
    pub pages: BTreeMap<u64, Vec<u8>>,
}

impl Sparse {
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = usize::try_from(self.length.saturating_sub(offset)).unwrap().min(buffer.len());
        let mut done = 0;
        while done < count {
            let at = offset + done as u64;
            let inside = (at % PAGE) as usize;
            let end = count.min(done + PAGE as usize - inside);
            match self.pages.get(&(at / PAGE)) {
                Some(page) => buffer[done..end].copy_from_slice(&page[inside..inside + end - done]),
                None => buffer[done..end].fill(0),
            }
            done = end;
        }
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let inside = (at % PAGE) as usize;
            let count = (PAGE as usize - inside).min(bytes.len() - done);
            let page = self.pages.entry(at / PAGE).or_insert_with(|| vec![0; PAGE as usize]);
            page[inside..inside + count].copy_from_slice(&bytes[done..done + count]);
            done += count;
        }
        self.length = self.length.max(offset + bytes.len() as u64);
    }

    fn set_length(&mut self, length: u64) {
        self.pages.retain(|page, _| page * PAGE < length);
        if let Some(last) = self.pages.get_mut(&(length / PAGE)) {
            last[(length % PAGE) as usize..].fill(0);
        }
        self.length = length;
    }

    fn clear(&mut self, offset: u64, length: u64) {
        let end = (offset + length).min(self.length);
        for page in self.pages.range(offset / PAGE..end.div_ceil(PAGE)).map(|(page, _)| *page).collect::<Vec<_>>() {
            let from = offset.max(page * PAGE) - page * PAGE;
            let to = end.min((page + 1) * PAGE) - page * PAGE;
            self.pages.get_mut(&page).unwrap()[from as usize..to as usize].fill(0);
        }
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, bytes } => self.write(bytes, *offset),
            Change::Clear { offset, length } => self.clear(*offset, *length),
            Change::Length(length) => self.set_length(*length),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Clear { offset: u64, length: u64 },
    Length(u64),
}

#[derive(Debug, Default)]
pub(super) struct FileNode {
    pub current: Sparse,
    pub durable: Sparse,
    pub unsynced: Vec<Change>,
    pub changed: i64,
    pub durable_changed: i64,
}

impl FileNode {
    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            self.durable.apply(&change);
        }
        self.durable_changed = self.changed;
    }

    pub(super) fn crash(&mut self, dice: &mut Dice) {
        if self.unsynced.is_empty() {
            return;
        }
        let mode = dice.below(4);
        for change in std::mem::take(&mut self.unsynced) {
            match (mode, change) {
                (0, _) => {}
                (1, change) => self.durable.apply(&change),
                (_, Change::Write { offset, bytes }) => self.tear(offset, &bytes, dice),
                (_, change) if dice.chance(2) => self.durable.apply(&change),
                _ => {}
            }
        }
        if dice.chance(2) {
            self.durable_changed = self.changed;
        }
        self.changed = self.durable_changed;
        self.current = self.durable.clone();
    }

    /// Keeps all, nothing, or some sectors of one write.
    fn tear(&mut self, offset: u64, bytes: &[u8], dice: &mut Dice) {
        let fate = dice.below(3);
        for (sector, piece) in bytes.chunks(SECTOR).enumerate() {
            if fate == 0 || fate == 1 && dice.chance(2) {
                self.durable.write(piece, offset + (sector * SECTOR) as u64);
            }
        }
    }
}

/// Names that are set or removed together.
pub(super) type NameChange = Vec<(String, Option<u64>)>;

#[derive(Debug, Default)]
pub(super) struct DirectoryNode {
    pub current: BTreeMap<String, u64>,
    pub durable: BTreeMap<String, u64>,
    pub unsynced: Vec<NameChange>,
}

fn set_names(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    for (name, inode) in change {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

impl DirectoryNode {
    pub(super) fn change(&mut self, change: NameChange) {
        set_names(&mut self.current, &change);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.durable = self.current.clone();
        self.unsynced.clear();
    }

    pub(super) fn crash(&mut self, dice: &mut Dice) {
        let in_order = dice.chance(3);
        let kept = dice.below(self.unsynced.len() as u64 + 1);
        for (position, change) in (0..).zip(std::mem::take(&mut self.unsynced)) {
            if if in_order { position < kept } else { dice.chance(2) } {
                set_names(&mut self.durable, &change);
            }
        }
        self.current = self.durable.clone();
    }
}
