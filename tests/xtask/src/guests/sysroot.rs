//! A private copy of the standard library for the guests' target, built once per compiler version.
//!
//! Lies under `$XDG_CACHE_HOME/rsnap` (`~/.cache/rsnap`); nothing is written into the tool chain's own folders.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::toolchain::{ask, clean};
use super::{Error, TARGET};

const MANIFEST: &str = "[package]\nname = \"rsnap_sysroot\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
                        [workspace]\n[profile.release]\npanic = \"abort\"\ndebug = false\n";

/// The sysroot for `rustc`, built now if it is not there.
pub(super) fn prepare(rustc: &Path) -> Result<PathBuf, Error> {
    let version = ask(rustc, &["-vV"]).ok_or_else(|| Error::new(format!("{} does not run", rustc.display())))?;
    let cache = cache()?;
    let sysroot = cache.join(format!("sysroot-{}", key(&version)));
    if !complete(&sysroot) {
        let lock = File::create(cache.join("sysroot.lock")).map_err(|error| Error::io("make the lock", &error))?;
        lock.lock().map_err(|error| Error::io("take the lock", &error))?;
        if !complete(&sysroot) {
            make(rustc, &version, &cache, &sysroot)?;
        }
    }
    Ok(sysroot)
}

fn cache() -> Result<PathBuf, Error> {
    let folder = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let folder = folder.ok_or_else(|| Error::new("neither XDG_CACHE_HOME nor HOME is set; set one"))?.join("rsnap");
    fs::create_dir_all(&folder).map_err(|error| Error::io(format!("make {}", folder.display()), &error))?;
    Ok(folder)
}

/// The version with its commit, as a file name.
fn key(version: &str) -> String {
    let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown");
    let text = format!("{}-{}-{}", field("release: "), field("commit-hash: "), field("LLVM version: "));
    text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-', "_")
}

fn complete(sysroot: &Path) -> bool {
    sysroot.join("complete").exists()
}

fn make(rustc: &Path, version: &str, cache: &Path, sysroot: &Path) -> Result<(), Error> {
    let name = version.lines().next().unwrap_or("rustc");
    eprintln!("guests: building the standard library for {TARGET} with {name}, once; takes a minute or two");
    let work = cache.join("sysroot.build");
    let _ = fs::remove_dir_all(&work);
    build(rustc, &work)?;
    collect(&work, sysroot).map_err(|error| Error::io(format!("fill {}", sysroot.display()), &error))?;
    let _ = fs::remove_dir_all(&work);
    Ok(())
}

fn build(rustc: &Path, work: &Path) -> Result<(), Error> {
    let written = fs::create_dir_all(work.join("src"))
        .and_then(|()| fs::write(work.join("Cargo.toml"), MANIFEST))
        .and_then(|()| fs::write(work.join("src/lib.rs"), ""));
    written.map_err(|error| Error::io(format!("write {}", work.display()), &error))?;
    let mut cargo = Command::new("cargo");
    clean(&mut cargo);
    cargo.current_dir(work).args(["build", "--quiet", "--release", "--target", TARGET]);
    cargo.args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features="]);
    cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", work.join("target"));
    // Without bitcode in the library, guests with link-time optimisation do not link.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Cembed-bitcode=yes");
    let status = cargo.stdout(std::io::stderr()).status().map_err(|error| Error::io("run cargo", &error))?;
    if status.success() { Ok(()) } else { Err(Error::new("the standard library does not build; see above")) }
}

fn collect(work: &Path, sysroot: &Path) -> std::io::Result<()> {
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&libraries)?;
    for entry in fs::read_dir(work.join("target").join(TARGET).join("release/deps"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("librsnap_sysroot") {
            fs::copy(entry.path(), libraries.join(name))?;
        }
    }
    fs::write(sysroot.join("complete"), "")
}
