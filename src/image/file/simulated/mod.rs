//! A file system in memory whose power can be cut.
//!
//! It knows of every file and every directory what is durable, and which changes were made since. A cut keeps an
//! arbitrary part of those: each write whole, torn at 512 bytes or not at all; each length or not; the names of a
//! directory up to some moment or in any combination. Only a sync of just that file or directory makes a change safe.
//! Renames are whole or not at all, as in a journal.

mod nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::image::file::disk::{Disk, DiskFile, HeldLock, Lock, LockMode, SyncPoint};
use crate::image::file::stamp::Stamp;

pub(in crate::image) use self::nodes::Dice;
use self::nodes::{Change, DirectoryNode, FileNode, PAGE};

/// Cuts the power some steps after a sync was asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::image::file) struct Trap {
    pub point: SyncPoint,
    /// How many times the sync passes before that.
    pub passes: u64,
    pub steps: u64,
}

#[derive(Debug, Default)]
struct World {
    files: BTreeMap<u64, FileNode>,
    directories: BTreeMap<u64, DirectoryNode>,
    locks: BTreeMap<u64, (bool, u64)>,
    next_inode: u64,
    clock: i64,
    boot: u64,
    steps: u64,
    cut_at: Option<u64>,
    is_off: bool,
    without: Option<SyncPoint>,
    trap: Option<Trap>,
    fault: Option<SyncPoint>,
    seen: BTreeSet<SyncPoint>,
    room: Option<u64>,
}

impl World {
    fn powered(&self) -> io::Result<()> {
        if self.is_off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// Counts an operation that changes something.
    fn step(&mut self) -> io::Result<()> {
        self.powered()?;
        self.steps += 1;
        self.clock += 1;
        self.is_off = self.cut_at == Some(self.steps);
        self.powered()
    }

    fn directory(&mut self, path: &Path) -> io::Result<&mut DirectoryNode> {
        let inode = self.walk(path)?;
        self.directories.get_mut(&inode).ok_or_else(|| io::ErrorKind::NotADirectory.into())
    }

    fn walk(&self, path: &Path) -> io::Result<u64> {
        let mut inode = 0;
        for part in path.components() {
            if let Component::Normal(name) = part {
                let directory = self.directories.get(&inode).ok_or(io::ErrorKind::NotADirectory)?;
                inode = *directory.current.get(name.to_str().unwrap()).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(inode)
    }

    fn new_inode(&mut self) -> u64 {
        self.next_inode += 1;
        self.next_inode
    }

    fn file(&mut self, inode: u64) -> io::Result<&mut FileNode> {
        self.powered()?;
        self.files.get_mut(&inode).ok_or_else(|| io::Error::other("the file is of an earlier boot"))
    }

    fn change_file(&mut self, inode: u64, change: Change) -> io::Result<()> {
        self.step()?;
        let used: u64 = self.files.values().map(|file| file.current.pages.len() as u64 * PAGE).sum();
        if self.room.is_some_and(|room| used > room) && matches!(change, Change::Write { .. }) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let clock = self.clock;
        let file = self.file(inode)?;
        file.current.apply(&change);
        file.unsynced.push(change);
        file.changed = clock;
        Ok(())
    }

    fn is_synced(&mut self, point: SyncPoint) -> io::Result<bool> {
        self.step()?;
        self.seen.insert(point);
        if self.fault.take_if(|fault| *fault == point).is_some() {
            return Err(io::Error::other("the medium is worn out"));
        }
        if let Some(trap) = self.trap.as_mut().filter(|trap| trap.point == point) {
            match trap.passes.checked_sub(1) {
                Some(left) => trap.passes = left,
                None => self.cut_at = Some(self.steps + trap.steps),
            }
        }
        Ok(self.without != Some(point))
    }
}

/// See the module's text. Clones are the same disk.
#[derive(Debug, Clone)]
pub(in crate::image::file) struct Simulated(Arc<Mutex<World>>);

fn split(path: &Path) -> (&Path, String) {
    (path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap().to_owned())
}

impl Simulated {
    pub(in crate::image::file) fn new() -> Self {
        let mut world = World::default();
        world.directories.insert(0, DirectoryNode::default());
        Self(Arc::new(Mutex::new(world)))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Leaves one sync out, from now on.
    pub(in crate::image::file) fn leave_out(&self, point: Option<SyncPoint>) {
        self.world().without = point;
    }

    /// Cuts the power at the `steps`th change from now; `None`: not any more.
    pub(in crate::image::file) fn cut_after(&self, steps: Option<u64>) {
        let mut world = self.world();
        world.cut_at = steps.map(|steps| world.steps + steps);
    }

    pub(in crate::image::file) fn set_trap(&self, trap: Option<Trap>) {
        self.world().trap = trap;
    }

    /// Lets the next sync of this kind fail.
    pub(in crate::image::file) fn fail_once(&self, point: SyncPoint) {
        self.world().fault = Some(point);
    }

    pub(in crate::image::file) fn is_off(&self) -> bool {
        self.world().is_off
    }

    /// Which syncs were asked for so far.
    pub(in crate::image::file) fn seen(&self) -> BTreeSet<SyncPoint> {
        self.world().seen.clone()
    }

    /// Lets at most this many bytes be stored.
    pub(in crate::image::file) fn limit(&self, room: Option<u64>) {
        self.world().room = room;
    }

    /// Bytes stored in files that have a name.
    pub(in crate::image::file) fn used(&self) -> u64 {
        let world = self.world();
        let named: BTreeSet<u64> =
            world.directories.values().flat_map(|names| names.current.values().copied()).collect();
        let files = world.files.iter().filter(|(inode, _)| named.contains(inode));
        files.map(|(_, file)| file.current.pages.len() as u64 * PAGE).sum()
    }

    /// The power goes and comes back.
    pub(in crate::image::file) fn crash(&self, dice: &mut Dice) {
        let mut world = self.world();
        let world = &mut *world;
        world.files.values_mut().for_each(|file| file.crash(dice));
        world.directories.values_mut().for_each(|directory| directory.crash(dice));
        let mut kept = BTreeSet::from([0]);
        let mut open = vec![0];
        while let Some(inode) = open.pop() {
            for child in world.directories.get(&inode).into_iter().flat_map(|names| names.current.values()) {
                if kept.insert(*child) {
                    open.push(*child);
                }
            }
        }
        world.files.retain(|inode, _| kept.contains(inode));
        world.directories.retain(|inode, _| kept.contains(inode));
        world.locks.clear();
        world.boot += 1;
        world.is_off = false;
        world.cut_at = None;
        world.trap = None;
    }

    /// Someone copies the file away and back: same bytes, other times.
    pub(in crate::image::file) fn restore(&self, path: &Path) {
        let mut world = self.world();
        world.clock += 1;
        let (inode, clock) = (world.walk(path).unwrap(), world.clock);
        let file = world.files.get_mut(&inode).unwrap();
        file.changed = clock;
        file.sync();
    }

    /// Someone writes behind our back.
    pub(in crate::image::file) fn flip(&self, path: &Path, offset: u64) {
        self.restore(path);
        let mut world = self.world();
        let inode = world.walk(path).unwrap();
        let file = world.files.get_mut(&inode).unwrap();
        let mut byte = [0];
        file.current.read(&mut byte, offset);
        file.current.write(&[byte[0] ^ 1], offset);
        file.durable = file.current.clone();
    }

    fn handle(&self, inode: u64) -> Arc<dyn DiskFile> {
        Arc::new(Handle { disk: self.clone(), inode })
    }

    fn create_file(world: &mut World, path: &Path) -> io::Result<u64> {
        world.step()?;
        let inode = world.new_inode();
        let (parent, name) = split(path);
        world.directory(parent)?.change(vec![(name, Some(inode))]);
        let clock = world.clock;
        world.files.insert(inode, FileNode { changed: clock, durable_changed: clock, ..FileNode::default() });
        Ok(inode)
    }

    fn try_lock(&self, path: &Path, mode: LockMode) -> io::Result<Option<Lock>> {
        let mut world = self.world();
        world.powered()?;
        let inode = match world.walk(path) {
            Ok(inode) => inode,
            Err(_) => Self::create_file(&mut world, path)?,
        };
        let boot = world.boot;
        let (exclusive, shared) = world.locks.entry(inode).or_default();
        let alone = mode != LockMode::Shared;
        if *exclusive || alone && *shared > 0 {
            return Ok(None);
        }
        if alone {
            *exclusive = true;
        } else {
            *shared += 1;
        }
        Ok(Some(Box::new(Held { disk: self.clone(), inode, alone, boot })))
    }
}

impl Disk for Simulated {
    fn make_directory(&self, path: &Path) -> io::Result<bool> {
        let mut world = self.world();
        let (parent, name) = split(path);
        if world.directory(parent)?.current.contains_key(&name) {
            return Ok(false);
        }
        world.step()?;
        let inode = world.new_inode();
        world.directory(parent)?.change(vec![(name, Some(inode))]);
        world.directories.insert(inode, DirectoryNode::default());
        Ok(true)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut world = self.world();
        world.powered()?;
        Ok(world.directory(directory)?.current.keys().cloned().collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let world = self.world();
        world.powered()?;
        Ok(self.handle(world.walk(path)?))
    }

    fn open_to_change(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        if world.walk(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(self.handle(Self::create_file(&mut world, path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        let inode = world.walk(from)?;
        let ((directory, from), (_, to)) = (split(from), split(to));
        world.directory(directory)?.change(vec![(from, None), (to, Some(inode))]);
        Ok(())
    }

    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.world().walk(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.powered()?;
        world.walk(path)?;
        world.step()?;
        let (parent, name) = split(path);
        world.directory(parent)?.change(vec![(name, None)]);
        Ok(())
    }

    fn sync_directory(&self, path: &Path, point: SyncPoint) -> io::Result<()> {
        let mut world = self.world();
        if world.is_synced(point)? {
            world.directory(path)?.sync();
        }
        Ok(())
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Option<Lock>> {
        loop {
            let lock = self.try_lock(path, mode)?;
            if lock.is_some() || mode == LockMode::TryExclusive {
                return Ok(lock);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        self.open(path)?.stamp()
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.world().room.unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
struct Held {
    disk: Simulated,
    inode: u64,
    alone: bool,
    boot: u64,
}

impl HeldLock for Held {
    fn inode(&self) -> io::Result<u64> {
        Ok(self.inode)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.boot != self.boot {
            return;
        }
        if let Some((exclusive, shared)) = world.locks.get_mut(&self.inode) {
            if self.alone {
                *exclusive = false;
            } else {
                *shared -= 1;
            }
        }
    }
}

#[derive(Debug)]
struct Handle {
    disk: Simulated,
    inode: u64,
}

impl DiskFile for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.disk.world().file(self.inode)?.current.read(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.world().change_file(self.inode, Change::Write { offset, bytes: bytes.to_vec() })
    }

    fn clear(&self, offset: u64, length: u64) -> io::Result<()> {
        self.disk.world().change_file(self.inode, Change::Clear { offset, length })
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.world().change_file(self.inode, Change::Length(length))
    }

    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        let mut world = self.disk.world();
        if world.is_synced(point)? {
            world.file(self.inode)?.sync();
        }
        Ok(())
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let mut world = self.disk.world();
        let file = world.file(self.inode)?;
        let (length, changed) = (file.current.length, file.changed);
        Ok(Stamp { inode: self.inode, length, modified: changed, changed })
    }

    fn next_data(&self, from: u64) -> io::Result<Option<u64>> {
        let mut world = self.disk.world();
        let pages = &world.file(self.inode)?.current.pages;
        Ok(pages.range(from / PAGE..).next().map(|(page, _)| from.max(page * PAGE)))
    }
}
