//! Compiled code on disk: used again when it is untouched, noticed and made anew when it is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::plugin::cache::Cache;
use crate::plugin::source::{Source, hex};

fn component() -> Source {
    let bytes = wat::parse_str("(component (core module))").unwrap();
    let sha256 = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref());
    Source { path: PathBuf::new(), bytes, sha256 }
}

fn fill(folder: &Path) -> (Cache, Engine, Source) {
    let (cache, engine, source) =
        (Cache::open(folder).unwrap(), crate::plugin::engine::engine(1 << 16).unwrap(), component());
    assert!(cache.get(&engine, &source).is_none());
    cache.put(&engine, &source, &Component::from_binary(&engine, &source.bytes).unwrap());
    assert!(cache.get(&engine, &source).is_some());
    (cache, engine, source)
}

fn code(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut code = files.filter(|path| path.extension().is_some_and(|end| end == "code"));
    let found = code.next().unwrap();
    assert!(code.next().is_none());
    found
}

#[test]
fn code_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (_, engine, source) = fill(folder.path());
    assert!(Cache::open(folder.path()).unwrap().get(&engine, &source).is_some());
}

#[test]
fn a_tampered_file_is_not_loaded_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, engine, source) = fill(folder.path());
    let path = code(folder.path());
    let whole = fs::read(&path).unwrap();
    let mut changed = whole.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    for bytes in [&changed[..], &whole[..whole.len() / 2], b""] {
        fs::write(&path, bytes).unwrap();
        assert!(cache.get(&engine, &source).is_none());
    }
    cache.put(&engine, &source, &Component::from_binary(&engine, &source.bytes).unwrap());
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn code_of_another_component_is_not_loaded_under_this_name() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, engine, source) = fill(folder.path());
    let path = code(folder.path());
    let other = Source { sha256: "0".repeat(64), ..component() };
    let name = path.file_name().unwrap().to_str().unwrap().replace(&source.sha256, &other.sha256);
    fs::copy(&path, folder.path().join(name)).unwrap();
    assert!(cache.get(&engine, &other).is_none());
}

#[test]
fn the_key_is_private_and_replaced_when_others_could_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, engine, source) = fill(folder.path());
    let key = folder.path().join("key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(cache.get(&engine, &source).is_none(), "code sealed with the old key was loaded");
}

#[test]
fn the_folder_is_the_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("compiled");
    let mode = || fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
    Cache::open(&folder).unwrap();
    assert_eq!(mode(), 0o700);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    Cache::open(&folder).unwrap();
    assert_eq!(mode(), 0o700);
}

#[test]
fn old_files_go() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, engine, source) = fill(folder.path());
    for number in 0..40 {
        let path = folder.path().join(format!("{number}.code"));
        fs::write(&path, "").unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number);
        fs::File::open(&path).unwrap().set_modified(old).unwrap();
    }
    cache.put(&engine, &source, &Component::from_binary(&engine, &source.bytes).unwrap());
    let left = fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "code"));
    assert_eq!(left.count(), 32);
    assert!(cache.get(&engine, &source).is_some());
}
