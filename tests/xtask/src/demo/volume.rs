//! An ext4 volume as a raw file, made and changed without mounting it, beside a directory that models its content.
//!
//! A loop mount was refused: it needs root, and a demo should not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::packages;
use crate::process;

/// Size of the volume, as mke2fs takes it.
const SIZE: &str = "256M";

/// A volume at the source site.
#[derive(Debug)]
pub(super) struct Volume {
    directory: PathBuf,
    /// What the file system must hold.
    model: PathBuf,
    /// Commands for debugfs since the last snapshot.
    script: Vec<String>,
}

impl Volume {
    /// Makes the file system with its first files.
    pub(super) fn create(directory: &Path) -> Result<Self> {
        let volume = Self { directory: directory.to_owned(), model: directory.join("model"), script: Vec::new() };
        volume.first_files()?;
        let mut format = packages::tool("mke2fs")?;
        format.args(["-q", "-F", "-t", "ext4", "-L", "rsnap-demo", "-d"]).arg(&volume.model);
        process::quiet(format.arg(volume.image()).arg(SIZE))?;
        Ok(volume)
    }

    fn first_files(&self) -> Result<()> {
        for (folder, name, bytes) in first_files() {
            std::fs::create_dir_all(self.model.join(folder))?;
            std::fs::write(self.model.join(folder).join(name), bytes).context("cannot write the volume's files")?;
        }
        Ok(())
    }

    /// The live volume.
    fn image(&self) -> PathBuf {
        self.directory.join("volume.raw")
    }

    /// The directory that holds what the newest snapshot must hold.
    pub(super) fn model(&self) -> &Path {
        &self.model
    }

    pub(super) fn add(&mut self, folder: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let file = self.model.join(folder).join(name);
        std::fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        self.script.push(format!("cd /{folder}"));
        self.script.push(format!("write {} {name}", file.display()));
        Ok(())
    }

    pub(super) fn remove(&mut self, folder: &str, name: &str) -> Result<()> {
        let file = self.model.join(folder).join(name);
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        self.script.push(format!("rm /{folder}/{name}"));
        Ok(())
    }

    pub(super) fn replace(&mut self, folder: &str, name: &str, bytes: &[u8]) -> Result<()> {
        self.remove(folder, name)?;
        self.add(folder, name, bytes)
    }

    /// Applies the changes and keeps the volume's state as `<name>.raw`.
    pub(super) fn snapshot(&mut self, name: &str) -> Result<()> {
        self.apply()?;
        let copy = self.directory.join(format!("{name}.raw"));
        process::quiet(Command::new("cp").arg("--sparse=always").arg(self.image()).arg(&copy))?;
        check(&copy)
    }

    /// debugfs answers success whatever its script met; the file system check and the comparison of the files find
    /// what went wrong.
    fn apply(&mut self) -> Result<()> {
        if self.script.is_empty() {
            return Ok(());
        }
        let script = self.directory.join("changes.debugfs");
        std::fs::write(&script, self.script.join("\n") + "\n").context("cannot write the changes")?;
        process::quiet(packages::tool("debugfs")?.arg("-w").arg("-f").arg(&script).arg(self.image()))?;
        self.script.clear();
        Ok(())
    }
}

/// Forty notes, eight photos, sixteen parts of a database.
fn first_files() -> impl Iterator<Item = (&'static str, String, Vec<u8>)> {
    let notes = (0..40).map(|n| ("documents", format!("note-{n}.txt"), format!("Note {n}.\n").repeat(50).into_bytes()));
    let photos = (0..8).map(|n| ("photos", format!("photo-{n}.bin"), noise(1 << 20, n + 1)));
    let parts = (0..16).map(|n| ("database", format!("records-1.{n}.bin"), noise(1 << 20, n + 50)));
    notes.chain(photos).chain(parts)
}

/// The check that any administrator would trust; it changes nothing.
pub(super) fn check(image: &Path) -> Result<()> {
    process::quiet(packages::tool("e2fsck")?.args(["-f", "-n"]).arg(image)).context("the file system is not clean")
}

/// Copies all files of the file system in `image` to `directory`.
pub(super) fn extract(image: &Path, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let request = format!("rdump / {}", directory.display());
    process::quiet(packages::tool("debugfs")?.arg("-R").arg(request).arg(image))?;
    ensure!(directory.read_dir()?.next().is_some(), "{} holds no files", image.display());
    Ok(())
}

/// `length` incompressible bytes, the same for the same `seed`: splitmix64.
pub(super) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::compare;

    #[test]
    fn a_changed_volume_is_clean_and_holds_what_its_model_holds() {
        if packages::find("mke2fs").is_none() {
            return; // the demo installs it; the test does not
        }
        let directory = std::env::temp_dir().join(format!("xtask-volume-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut volume = Volume::create(&directory).unwrap();
        volume.remove("photos", "photo-3.bin").unwrap();
        volume.add("photos", "new.bin", &noise(3 << 20, 9)).unwrap();
        volume.replace("documents", "note-7.txt", b"other\n").unwrap();
        volume.snapshot("snap").unwrap();
        extract(&directory.join("snap.raw"), &directory.join("out")).unwrap();
        let same = compare::directories(volume.model(), &directory.join("out")).unwrap();
        assert_eq!(same.files, 64);
        std::fs::write(directory.join("out/photos/new.bin"), b"x").unwrap();
        assert!(compare::directories(volume.model(), &directory.join("out")).is_err());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
