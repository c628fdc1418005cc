//! A component's file: found, read with a bound, and held against its pin.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::fault::Fault;
use super::signature::SIGNATURE_MAX;

/// Largest component: those made from Python have 20 MB.
pub(super) const FILE_MAX: u64 = 64 << 20;

/// A component as it lies on disk.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    /// In hexadecimal.
    pub(super) sha256: String,
}

impl Source {
    pub(super) fn new(path: &Path, bytes: Vec<u8>) -> Self {
        let sha256 = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref());
        Self { path: path.to_path_buf(), bytes, sha256 }
    }

    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let bytes = read(path, FILE_MAX).map_err(|error| unreadable(path, &error))?;
        let bytes = bytes.ok_or_else(|| {
            let text = format!("{} is larger than {} MiB", path.display(), FILE_MAX >> 20);
            Fault::new(text, "build it with optimisation for size, and strip it")
        })?;
        Ok(Self::new(path, bytes))
    }

    /// Holds it against the digest that the operator expects.
    pub(super) fn check_pin(&self, pin: Option<&str>) -> Result<(), Fault> {
        match pin {
            Some(pin) if !pin.eq_ignore_ascii_case(&self.sha256) => Err(Fault::new(
                format!("the SHA-256 of {} is {}, not {pin}", self.path.display(), self.sha256),
                "find out who changed the file; if it is meant to be this one, change the key sha256",
            )),
            _ => Ok(()),
        }
    }
}

/// The signature that lies beside a component, if there is one.
pub(super) fn signature(component: &Path) -> Result<Option<Vec<u8>>, Fault> {
    let mut path = component.as_os_str().to_owned();
    path.push(".minisig");
    let path = PathBuf::from(path);
    match read(&path, SIGNATURE_MAX) {
        Ok(Some(bytes)) => Ok(Some(bytes)),
        Ok(None) => Err(Fault::new(
            format!("{} is larger than a signature", path.display()),
            "sign the component again with `minisign -S`",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

/// The bytes of a file; `None` when there are more than `most`.
fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(format!("{} cannot be read: {error}", path.display()), "check the path and the file's permissions")
}

/// A plain name is looked up; anything else is a path.
pub(super) fn locate(component: &str, folders: &[PathBuf]) -> Result<PathBuf, Fault> {
    if component.contains('/') || Path::new(component).extension().is_some_and(|end| end == "wasm") {
        return Ok(PathBuf::from(component));
    }
    let file = format!("{component}.wasm");
    let found = folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let searched: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        Fault::new(
            format!("there is no {file} in {}", searched.join(", ")),
            "build the plugins with `cargo xtask build`, set plugins.path or RSNAP_PLUGIN_PATH to their folder, or \
             give the path of a file",
        )
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
