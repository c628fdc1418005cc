//! `cargo xtask demo`: a disaster and its repair, on one machine.
//!
//! Two sites are two gateways with data directories of their own. The volume is a real ext4 file system, because
//! "the bytes are equal" convinces less than a file system check and files that are what they were. Everything runs
//! without root: the file system is made, changed and read by e2fsprogs and never mounted.

mod compare;
mod sites;
mod story;
mod volume;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::packages::{self, CURL, FILE_SYSTEM};
use crate::steps::Steps;
use sites::Sites;
use volume::Volume;

/// Where everything of the demo lies.
#[derive(Debug)]
struct Stage {
    directory: PathBuf,
    plugins: PathBuf,
    binary: PathBuf,
}

impl Stage {
    fn new(root: &Path) -> Self {
        Self {
            directory: build::target(root).join("demo"),
            plugins: build::plugins(root),
            binary: build::binary(root, Profile::Dev, "rsnap"),
        }
    }

    /// Starts from nothing: what an earlier demo left is stopped and removed.
    fn clear(&self) -> Result<()> {
        sites::stop_left(&self.directory);
        if self.directory.exists() {
            std::fs::remove_dir_all(&self.directory).context("cannot remove the earlier demo")?;
        }
        std::fs::create_dir_all(&self.directory).context("cannot make the demo's directory")
    }
}

/// `cargo xtask demo`.
pub(crate) fn chore(root: &Path, keep: bool) -> Result<()> {
    let mut steps = Steps::new("Demo", 8);
    let stage = Stage::new(root);
    steps.step("Build the plugins and the gateway");
    packages::ensure(&steps, &[FILE_SYSTEM, CURL])?;
    build::guests(root, &steps)?;
    build::programs(root, &steps, Profile::Dev)?;

    steps.step("At dc1: a volume with an ext4 file system, and three snapshots of it");
    stage.clear()?;
    let volume = make_snapshots(&stage, &steps)?;

    steps.step("Start both sites");
    let mut sites = Sites::start(&stage, &steps)?;

    story::tell(&stage, &mut sites, &volume, &mut steps)?;
    end(&stage, sites, keep, &steps)
}

/// Makes `snap1.raw`, `snap2.raw` and `snap3.raw`, with changes between them.
fn make_snapshots(stage: &Stage, steps: &Steps) -> Result<Volume> {
    let mut volume = steps.timed("256 MiB, ext4, 64 files (mke2fs -d)", || Volume::create(&stage.directory))?;
    steps.timed("snap1: as it was made", || volume.snapshot("snap1"))?;
    steps.timed("snap2: two photos are new, one is gone, a document has changed", || {
        volume.add("photos", "photo-new-1.bin", &volume::noise(2 << 20, 101))?;
        volume.add("photos", "photo-new-2.bin", &volume::noise(1 << 20, 102))?;
        volume.remove("photos", "photo-3.bin")?;
        volume.replace("documents", "note-7.txt", b"Seven has been rewritten.\n")?;
        volume.snapshot("snap2")
    })?;
    steps.timed("snap3: a new database file and a rewritten document", || {
        volume.add("database", "records-2.bin", &volume::noise(6 << 20, 103))?;
        volume.replace("documents", "note-9.txt", b"Nine is the last word before the disaster.\n")?;
        volume.snapshot("snap3")
    })?;
    Ok(volume)
}

fn end(stage: &Stage, sites: Sites, keep: bool, steps: &Steps) -> Result<()> {
    steps.finish("the snapshots survived the loss of their site");
    if keep {
        sites.leave(stage, steps)
    } else {
        steps.line("Run it with --keep to leave both sites running and try commands of your own.");
        Ok(())
    }
}
