//! The audit log: who minted a ticket, wrote, deleted, cancelled, and with what outcome.
//!
//! A file of its own and not the log, because it is kept longer, read by others, and must not be filtered away. One
//! JSON object a line, appended with one write, so that several processes may share the file and rotation by rename
//! and restart loses nothing. When a line cannot be written the operation goes on and the log says so loudly: a full
//! disk on the log's side must not stop a disaster copy.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::problem::Problem;
use crate::accept::Peer;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Event {
    /// A ticket was minted.
    Ticket,
    /// A snapshot, or a chain of them, was sent here.
    Put,
    /// Damaged bytes of a snapshot were sent again.
    Repair,
    /// An upload was begun, or given up.
    Upload,
    Cancel,
    Delete,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    /// When it ended, RFC 3339.
    pub(super) time: String,
    pub(super) event: Event,
    /// Who, such as `token:cinder` or `ticket:<nonce>`.
    pub(super) principal: String,
    /// Address and port of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<String>,
    /// The request's id in the log.
    pub(super) request: String,
    pub(super) volume: String,
    pub(super) snapshots: Vec<String>,
    /// The nonce of the ticket that was minted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ticket: Option<String>,
    /// `ok`, or the kind of the problem.
    pub(super) outcome: &'static str,
}

impl Entry {
    /// A line about something that is about to happen.
    pub(super) fn new(event: Event, principal: String, origin: &Origin) -> Self {
        Self {
            time: String::new(),
            event,
            principal,
            peer: origin.peer.map(|Peer(address)| address.to_string()),
            request: origin.request.clone(),
            volume: String::new(),
            snapshots: Vec::new(),
            ticket: None,
            outcome: "",
        }
    }

    /// The same line with what came of it, now.
    pub(super) fn ended<T>(self, result: Result<T, &Problem>) -> Self {
        let outcome = result.map_or_else(|problem| problem.kind().name(), |_| "ok");
        Self { time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(), outcome, ..self }
    }
}

/// Where a request came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub(super) peer: Option<Peer>,
    pub(super) request: String,
}

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
#[error("could not open the audit log {} (auth.audit): {source}", path.display())]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

/// An open audit log.
#[derive(Clone, Debug)]
pub struct Audit {
    file: Arc<File>,
}

impl Audit {
    /// Opens the log for appending; made with mode 0640.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let opened = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
        let file = opened.map_err(|source| AuditError { path: path.to_owned(), source })?;
        Ok(Self { file: Arc::new(file) })
    }

    /// Appends one line. Returns when it is written; a failure is logged.
    pub(super) async fn record(&self, entry: Entry) {
        let file = Arc::clone(&self.file);
        let written = tokio::task::spawn_blocking(move || append(&file, &entry)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "write the audit log"),
            Err(error) => tracing::error!(%error, "write the audit log"),
        }
    }
}

fn append(mut file: &File, entry: &Entry) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    file.write_all(&line)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::problem::Kind;
    use super::*;

    fn entry(request: &str) -> Entry {
        let origin = Origin { peer: Some(Peer("192.0.2.1:5".parse().unwrap())), request: request.to_owned() };
        let entry = Entry::new(Event::Put, "ticket:n\n1".to_owned(), &origin);
        let problem = Problem::new(Kind::Digest, "");
        Entry { volume: "v1".to_owned(), snapshots: vec!["s1".to_owned()], ..entry }.ended::<()>(Err(&problem))
    }

    #[tokio::test]
    async fn lines_are_appended_and_kept_from_strangers() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("audit.log");
        Audit::open(&path).unwrap().record(entry("r1")).await;
        Audit::open(&path).unwrap().record(entry("r2")).await;
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["request"], &lines[1]["request"]), (&"r1".into(), &"r2".into()));
        assert_eq!((&lines[1]["event"], &lines[1]["outcome"]), (&"put".into(), &"digest-mismatch".into()));
        assert_eq!((&lines[1]["peer"], &lines[1]["principal"]), (&"192.0.2.1:5".into(), &"ticket:n\n1".into()));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7137, 0, "{mode:o}");
    }

    #[test]
    fn a_fault_names_the_key() {
        let fault = Audit::open(Path::new("/nowhere/audit.log")).unwrap_err().to_string();
        assert!(fault.contains("auth.audit"), "{fault}");
    }
}
