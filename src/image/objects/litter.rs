//! What is left in a directory of puts that were cut.
//!
//! In a directory an object is written as `<name>#<number>` and then renamed, and no list shows such files. A gateway that
//! dies in between leaves one, of up to a megabyte, and nobody would ever remove it. So a sweep removes those that nobody
//! has written to for far longer than a put may take. Whoever slept in a put until then finds his file gone, and his put
//! fails, as if the storage had refused it.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Without a word, after which the one who wrote it is no more.
const SILENCE: Duration = Duration::from_hours(1);
/// Folders in folders, of which a store has three.
const DEPTH: usize = 5;

/// Removes the files that are old at the moment `now` of the storage's clock, and tells how many.
pub(super) fn remove(directory: &Path, now: SystemTime) -> io::Result<u64> {
    below(directory, now, DEPTH)
}

fn below(folder: &Path, now: SystemTime, depth: usize) -> io::Result<u64> {
    let mut removed = 0;
    for entry in folder.read_dir()? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && depth > 0 {
            removed += unless_gone(below(&entry.path(), now, depth - 1))?;
        } else if kind.is_file() && is_of_a_put(&entry.file_name().to_string_lossy()) {
            removed += unless_gone(remove_old(&entry.path(), now))?;
        }
    }
    Ok(removed)
}

fn remove_old(file: &Path, now: SystemTime) -> io::Result<u64> {
    if file.symlink_metadata()?.modified()? + SILENCE > now {
        return Ok(0);
    }
    std::fs::remove_file(file).map(|()| 1)
}

/// Others may put, and sweep, at the same time.
fn unless_gone(result: io::Result<u64>) -> io::Result<u64> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        other => other,
    }
}

/// No object is called so: none of them has a `#` in its name.
fn is_of_a_put(name: &str) -> bool {
    name.split_once('#')
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_is_old_and_of_a_put_goes() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("blocks/ab/abcd");
        fs::create_dir_all(&inner).unwrap();
        let names = ["0001", "0001#1", "0001#23", "0001#", "0001#x"];
        names.iter().for_each(|name| fs::write(inner.join(name), name).unwrap());
        let now = SystemTime::now();
        assert_eq!(remove(folder.path(), now).unwrap(), 0, "they are new");
        assert_eq!(remove(folder.path(), now + 2 * SILENCE).unwrap(), 2);
        let left = ["0001", "0001#", "0001#x"];
        assert!(left.iter().all(|name| inner.join(name).exists()));
        assert_eq!(inner.read_dir().unwrap().count(), left.len());
        assert!(remove(&folder.path().join("nowhere"), now).is_err());
    }
}
