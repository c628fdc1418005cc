//! Machine code of components on disk, so that a start compiles only what is new.
//!
//! A file is named after the component and the engine's version and settings, and sealed with a secret key that lies
//! beside it: a file that was changed is noticed, reported and compiled again. Nothing here can stop a start; without
//! a usable folder each start compiles.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rsnap_sys::{OpenError, Seal};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::source::{Source, hex};

/// Files kept; the oldest go first.
const FILES: usize = 32;
const KEY: &str = "key";
/// Nobody else has a reason to look at machine code that this process will run, or at its key.
const FOLDER_MODE: u32 = 0o700;
const ENDING: &str = "code";

/// A folder of sealed machine code.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    seal: Seal,
}

impl Cache {
    /// Opens the folder, or makes it with a new key.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        make_private(folder)?;
        let path = folder.join(KEY);
        let key = match read_key(&path)? {
            Some(key) => key,
            None => make_key(&path)?,
        };
        Ok(Self { folder: folder.to_path_buf(), seal: Seal::new(key) })
    }

    /// The compiled component, if it is here and untouched.
    pub(super) fn get(&self, engine: &Engine, source: &Source) -> Option<Component> {
        let name = name(engine, source);
        let path = self.folder.join(&name);
        let sealed = fs::read(&path).ok()?;
        match self.seal.open(&name, engine, &sealed) {
            Ok(component) => Some(component),
            Err(error @ OpenError::Tampered) => {
                tracing::warn!(file = %path.display(), %error, "plugin cache: compiling again");
                None
            }
            Err(error @ OpenError::Outdated(_)) => {
                tracing::debug!(file = %path.display(), %error, "plugin cache: compiling again");
                None
            }
        }
    }

    /// Keeps a compiled component. A failure costs the next start some time and is only logged.
    pub(super) fn put(&self, engine: &Engine, source: &Source, component: &Component) {
        let name = name(engine, source);
        let kept = self
            .seal
            .close(&name, component)
            .map_err(|error| error.to_string())
            .and_then(|sealed| write_whole(&self.folder.join(&name), &sealed).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            tracing::warn!(folder = %self.folder.display(), error, "plugin cache: could not keep compiled code");
        }
        self.prune();
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let code = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == ENDING));
        let mut files: Vec<_> =
            code.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
        files.sort();
        for (_, path) in files.iter().take(files.len().saturating_sub(FILES)) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the folder for its owner alone, or closes one that an earlier version left open to others.
fn make_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    let found = fs::metadata(folder)?.permissions();
    match found.mode() & 0o777 {
        FOLDER_MODE => Ok(()),
        _ => fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE)),
    }
}

fn name(engine: &Engine, source: &Source) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{}-{:016x}.{ENDING}", source.sha256, hasher.finish())
}

/// The key; `None` when there is none, or one that others may have read or that is cut short.
fn read_key(path: &Path) -> io::Result<Option<[u8; 32]>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "plugin cache: others may have read the key; making a new one");
        return Ok(None);
    }
    let mut key = [0; 32];
    Ok(file.read_exact(&mut key).is_ok().then_some(key))
}

/// Two gateways that start at once make two keys, and the last one stays: the other's files are compiled again.
fn make_key(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
    write_whole(path, &key)?;
    Ok(key)
}

/// Never leaves half a file under `path`: nothing is lost without fsync, since what is torn does not open.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let unique = [std::process::id().to_le_bytes(), (NUMBER.fetch_add(1, Ordering::Relaxed) as u32).to_le_bytes()];
    let fresh = path.with_extension(format!("{}.new", hex(&unique.concat())));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    fs::rename(&fresh, path)
}
