//! Finds a compiler with a standard library for the guests' target.
//!
//! The order: the active compiler, where the target is installed; else a compiler whose library's source is on this
//! machine (compiler and source must be the same version), with a private copy of the library; on Debian that
//! compiler is installed if need be. A build contacts package registries only, so rustup is named as the remedy
//! and never run.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, TARGET, sysroot};

const REMEDY: &str = "run `rustup target add wasm32-unknown-unknown` and try again";

/// How cargo is to be called.
pub(super) enum Toolchain {
    /// The active compiler has the target.
    Active,
    /// A compiler, a private sysroot with the target's library, and a linker.
    Private { rustc: PathBuf, sysroot: PathBuf, linker: PathBuf },
}

impl Toolchain {
    pub(super) fn apply(&self, cargo: &mut Command) {
        clean(cargo);
        if let Self::Private { rustc, sysroot, linker } = self {
            cargo.env("RUSTC", rustc);
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            let flags = format!("--sysroot\u{1f}{}", sysroot.display());
            cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
        }
    }
}

/// Flags for the gateway (a sanitizer, coverage) are not meant for the guests.
pub(super) fn clean(cargo: &mut Command) {
    for name in ["CARGO_BUILD_TARGET", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_INCREMENTAL"] {
        cargo.env_remove(name);
    }
}

pub(super) fn find() -> Result<Toolchain, Error> {
    let active = PathBuf::from(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    if has_target(&active) {
        return Ok(Toolchain::Active);
    }
    let rustc = match with_source(&active) {
        Some(rustc) => rustc,
        None => install(&active)?,
    };
    let linker = linker(&[&active, &rustc])?;
    let sysroot = sysroot::prepare(&rustc)?;
    Ok(Toolchain::Private { rustc, sysroot, linker })
}

pub(super) fn ask(rustc: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(rustc).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn has_target(rustc: &Path) -> bool {
    let Some(folder) = ask(rustc, &["--print", "target-libdir", "--target", TARGET]) else { return false };
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

fn with_source(active: &Path) -> Option<PathBuf> {
    let known = [active, Path::new("/usr/bin/rustc")];
    known.into_iter().find(|rustc| has_source(rustc)).map(Path::to_path_buf)
}

fn has_source(rustc: &Path) -> bool {
    let sysroot = ask(rustc, &["--print", "sysroot"]).map(PathBuf::from);
    sysroot.is_some_and(|path| path.join("lib/rustlib/src/rust/library/Cargo.lock").exists())
}

fn install(active: &Path) -> Result<PathBuf, Error> {
    eprintln!("guests: no compiler here knows {TARGET}; installing rustc-web and rust-web-src with apt-get");
    let installed = apt(&["update"]) && apt(&["install", "-y", "--no-install-recommends", "rustc-web", "rust-web-src"]);
    if !installed {
        return Err(Error::new(format!("apt-get could not install rustc-web and rust-web-src; {REMEDY}")));
    }
    with_source(active).ok_or_else(|| Error::new(format!("the installed compiler has no library source; {REMEDY}")))
}

fn apt(arguments: &[&str]) -> bool {
    let root = ask(Path::new("id"), &["-u"]).is_some_and(|user| user == "0");
    let mut command = Command::new(if root { "env" } else { "sudo" });
    if !root {
        command.args(["-n", "env"]);
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]);
    // Standard output belongs to the caller, who may print JSON there.
    let output = command.args(arguments).stdout(std::io::stderr()).status();
    output.is_ok_and(|status| status.success())
}

/// A linker that understands WebAssembly: the tool chain's own, else the distribution's.
fn linker(compilers: &[&Path]) -> Result<PathBuf, Error> {
    let own = compilers.iter().filter_map(|rustc| own_linker(rustc)).find(|path| path.exists());
    let found = own.or_else(|| {
        let names = ["wasm-ld", "rust-lld", "wasm-ld-22", "wasm-ld-21", "wasm-ld-20", "wasm-ld-19"];
        names.iter().find_map(|name| on_path(name))
    });
    found.ok_or_else(|| Error::new(format!("no linker for WebAssembly here: install the package lld, or {REMEDY}")))
}

fn own_linker(rustc: &Path) -> Option<PathBuf> {
    let sysroot = ask(rustc, &["--print", "sysroot"])?;
    let version = ask(rustc, &["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "))?;
    Some(Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld"))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists())
}
