//! A small disk of memory that can be filled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

const SIZE: &str = "1536m";
/// What is left when it is full: a record may still fit, a block does not.
const LEFT: u64 = 64 << 10;
/// Ends the mount with its owner, however that ends.
const SCRIPT: &str = "read -r line; umount -l \"$1\"";

pub struct Disk {
    mounted: tempfile::TempDir,
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Disk {
    pub fn new() -> Self {
        let mounted = tempfile::Builder::new().prefix("rsnap-disk-").tempdir_in(crate::support::scratch()).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "rsnap-test"]).arg(mounted.path());
        assert!(mount.status().unwrap().success(), "a disk of our own needs root");
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "rsnap-disk"]).arg(mounted.path()).stdin(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let pipe = shell.stdin.take();
        Self { mounted, shell, pipe }
    }

    pub fn path(&self) -> &Path {
        self.mounted.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    pub fn fill(&self) {
        let file = fs::File::create(self.filler()).unwrap();
        let free = statvfs(self.path()).map(|disk| disk.f_bavail * disk.f_frsize).unwrap();
        // Others may be faster: then it is full as well.
        let _ = fallocate(&file, FallocateFlags::empty(), 0, free.saturating_sub(LEFT).max(1));
    }

    pub fn drain(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.shell.wait();
    }
}
