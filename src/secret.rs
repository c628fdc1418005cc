//! Small files that hold secrets: made once, readable by the owner alone.
//!
//! A start-up that is cut short must not leave half a key, and two processes that start at once must end up with the
//! same one. So a secret is written to a file of its own, made durable, and linked to its name only if that name is
//! free; whoever loses the race reads the winner's. A rename was refused: it would replace the winner's file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Largest file that is read as a secret, in bytes: a wrong path must not fill the memory.
const SECRET_MAX: u64 = 1 << 20;

/// A secret could not be read or made.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {}: {source}", path.display())]
pub struct SecretError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Random bytes as text that is safe in headers, files and URLs.
pub fn random_text(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    // The generator of aws-lc aborts rather than fail; the result is a formality of its interface.
    let filled = aws_lc_rs::rand::fill(&mut random);
    debug_assert!(filled.is_ok());
    URL_SAFE_NO_PAD.encode(random)
}

/// Reads the text in `path`, without white space at its ends.
pub fn read(path: &Path) -> Result<String, SecretError> {
    let fault = |source| SecretError { action: "read", path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(fault)?.take(SECRET_MAX).read_to_string(&mut text).map_err(fault)?;
    Ok(text.trim().to_owned())
}

/// Reads the text in `path`; if the file is not there, it is made first with what `make` gives, mode 0600.
pub fn read_or_create(path: &Path, make: impl FnOnce() -> String) -> Result<String, SecretError> {
    if !path.exists() {
        let text = format!("{}\n", make());
        create(path, text.as_bytes())?;
    }
    read(path)
}

/// Makes `path` with `content`, mode 0600, durable. Leaves a file alone that is there already.
pub fn create(path: &Path, content: &[u8]) -> Result<(), SecretError> {
    link_new(path, content).map_err(|source| SecretError { action: "create", path: path.to_owned(), source })
}

fn link_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staged = folder.join(format!(".{}.new", random_text(9)));
    let linked = write_durable(&staged, content).and_then(|()| fs::hard_link(&staged, path));
    fs::remove_file(&staged)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(folder)?.sync_all()
}

fn write_durable(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let made = read_or_create(&path, || random_text(32)).unwrap();
        assert!(made.len() >= 43);
        assert_eq!(read_or_create(&path, || "other".to_owned()).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the staged file was left behind");
    }

    #[test]
    fn a_loser_of_the_race_leaves_the_winner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path, b"winner").unwrap();
        create(&path, b"loser").unwrap();
        assert_eq!(read(&path).unwrap(), "winner");
    }

    #[test]
    fn a_fault_names_the_file() {
        let fault = read(Path::new("/nowhere/token")).unwrap_err().to_string();
        assert!(fault.contains("/nowhere/token"), "{fault}");
    }
}
