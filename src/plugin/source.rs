//! Finds and reads a component's file, and holds it against its pin.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::config::PluginConfig;
use super::fault::Fault;

/// Largest component: those made from Python have 20 MB.
const FILE_MAX: u64 = 64 << 20;

/// A component as it lies on disk.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    /// In hexadecimal.
    pub(super) sha256: String,
}

impl Source {
    /// The component that `config` names, looked up in `folders`.
    pub(super) fn find(config: &PluginConfig, folders: &[PathBuf]) -> Result<Self, Fault> {
        let source = Self::read(&locate(&config.component, folders)?)?;
        match &config.sha256 {
            Some(pin) if !pin.eq_ignore_ascii_case(&source.sha256) => Err(Fault::new(
                format!("the SHA-256 of {} is {}, not {pin}", source.path.display(), source.sha256),
                "find out who changed the file; if it is meant to be this one, change the key sha256",
            )),
            _ => Ok(source),
        }
    }

    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let unreadable = |error: std::io::Error| {
            Fault::new(
                format!("{} cannot be read: {error}", path.display()),
                "check the path and the file's permissions",
            )
        };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
        if bytes.len() as u64 > FILE_MAX {
            let text = format!("{} is larger than {} MiB", path.display(), FILE_MAX >> 20);
            return Err(Fault::new(text, "build it with optimisation for size, and strip it"));
        }
        let sha256 = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref());
        Ok(Self { path: path.to_path_buf(), bytes, sha256 })
    }
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
