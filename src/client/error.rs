//! What can go wrong between us and a gateway, and what may heal by trying again.
//!
//! "The gateway refused" and "I could not ask" are different answers: the first is final unless the gateway says
//! otherwise, the second is worth another try.

use std::time::Duration;

use http::StatusCode;

use crate::api::{PROBLEMS, PROBLEMS_OF_IANA, Problem};

/// Whether another try can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heal {
    /// The same again gives the same.
    Never,
    /// Soon.
    Later,
    /// Not before this time has passed: the gateway said so.
    After(Duration),
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A value that the user gave cannot be used.
    #[error("{0}")]
    Usage(String),
    #[error("cannot connect to {address}: {fault}")]
    Connect { address: String, fault: String },
    /// The peer could not prove who it is, or speaks no TLS that we speak.
    #[error("cannot trust the gateway at {address}: {fault}")]
    Tls { address: String, fault: String, remedy: &'static str },
    /// The peer does not take the certificate that we show, or wants one.
    #[error("the gateway does not take the client certificate: {0}")]
    Certificate(String),
    /// The gateway answered, and the answer is no.
    #[error("the gateway refused ({}, {}): {}", .problem.status, .problem.title, .problem.detail)]
    Refused { problem: Box<Problem>, retry_after: Option<Duration> },
    /// The answer is not what the interface promises.
    #[error("the gateway's answer cannot be understood: {0}")]
    Protocol(String),
    #[error("the connection was cut: {0}")]
    Cut(String),
    #[error("nothing moved on the connection for {}", humantime::format_duration(*.0))]
    Idle(Duration),
    /// The chain policy of the gateway does not want this snapshot, or wants what we do not have.
    #[error("{0}")]
    Plan(String),
    /// The gateway does not hold what is asked for.
    #[error("{0}")]
    Missing(String),
    /// Bytes are not what they must be.
    #[error("{what}: expected {expected}, got {actual}")]
    Integrity { what: &'static str, expected: String, actual: String },
    /// Two snapshots are not the same, or a stored one is not what was committed; told in an answer before.
    #[error("{0}")]
    Differs(String),
    /// What is stored at a gateway is damaged and stays so.
    #[error("{0}")]
    Damaged(String),
    /// What is read changed under our hands.
    #[error("{0}")]
    Changed(String),
    /// Another try would need what came through a pipe, which is gone; with what made it necessary.
    #[error("{0}; what came through a pipe cannot be sent again")]
    Spent(String),
    /// A local file, device or stream.
    #[error("cannot {action} {path}: {fault}")]
    Local { action: &'static str, path: String, fault: std::io::Error },
    /// The Ceph cluster that is read from.
    #[error("{0}")]
    Ceph(#[from] rsnap_rbd::Error),
    /// Ceph's libraries are not on this machine.
    #[error("{0}")]
    NoCeph(#[from] rsnap_rbd::Unavailable),
    /// What came from standard input or a file is not the stream it should be.
    #[error("malformed stream in {path}: {fault}")]
    Malformed { path: String, fault: String },
}

const HELD: &str = "Check the ids; `rsnap chain --volume ID` lists what the gateway holds.";

const CEPH: &str = "Check the names, the user and its capabilities (--ceph-user, --ceph-keyring), and that the cluster \
                    of --ceph-conf answers.";

impl ClientError {
    /// Whether another try can succeed.
    #[must_use]
    pub fn heal(&self) -> Heal {
        match self {
            Self::Connect { .. } | Self::Cut(_) | Self::Idle(_) => Heal::Later,
            Self::Refused { problem, retry_after } => heal_problem(problem, *retry_after),
            Self::Ceph(fault) if fault.kind() == rsnap_rbd::Kind::TimedOut => Heal::Later,
            _ => Heal::Never,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Usage(_) => "Correct the command; `--help` describes each option.",
            Self::Connect { .. } => "Check --gateway, that the gateway runs, and that no firewall stands between.",
            Self::Tls { remedy, .. } => remedy,
            Self::Certificate(_) => {
                "Show one that has not ended or been revoked, of an authority that the gateway trusts, with \
                 --client-certificate."
            }
            Self::Refused { problem, .. } => remedy_for(problem),
            Self::Protocol(_) => "Check that --gateway names an rsnap gateway and that its version fits this client.",
            Self::Cut(_) | Self::Idle(_) => "Check the network and the gateway's log, then run the command again.",
            Self::Plan(_) => {
                "See `rsnap chain --volume ID`; what is wanted of you is decided by [plugins.policy] of the gateway."
            }
            Self::Missing(_) => HELD,
            Self::Integrity { .. } => {
                "Do not use the copy; run the command again, and check memory and disks if it repeats."
            }
            Self::Differs(_) => {
                "`rsnap repair` mends what is damaged in the store from a site that is intact; what was committed with \
                 other content stays different."
            }
            Self::Damaged(_) => {
                "Run the command again if it was too much at once; where the content tree is damaged, delete the \
                 snapshot there and send it again."
            }
            Self::Changed(_) => "Send from a snapshot that nothing writes to and that is not deleted meanwhile.",
            Self::Spent(_) => "Start the command again, with the program that feeds it.",
            Self::Local { .. } => "Check the path, its permissions and the free space.",
            Self::Ceph(_) => CEPH,
            Self::NoCeph(_) => "Nothing else of Ceph is needed on this machine; or send what `rbd export-diff` writes.",
            Self::Malformed { .. } => "Make the stream again with `rbd export-diff` or `rbd export --export-format 2`.",
        }
    }

    /// A source that cannot be read twice would have to be, because of `cause`.
    pub(crate) fn spent(cause: Option<Self>) -> Self {
        Self::Spent(cause.map_or_else(|| "the first try failed".to_owned(), |cause| cause.to_string()))
    }

    pub(crate) fn local(action: &'static str, path: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |fault| Self::Local { action, path, fault }
    }
}

/// What the gateway calls a problem; empty for a problem that no gateway wrote.
pub(crate) fn kind(problem: &Problem) -> &str {
    let own = problem.kind.strip_prefix(PROBLEMS);
    own.or_else(|| problem.kind.strip_prefix(PROBLEMS_OF_IANA)).unwrap_or_default()
}

fn heal_problem(problem: &Problem, retry_after: Option<Duration>) -> Heal {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
    let transient = match (kind(problem), status) {
        ("expired-ticket" | "body-cut" | "overtaken", _) => true,
        // What is there is asked for again before the next try.
        ("no-upload" | "upload-range" | "upload-incomplete" | "completed-upload" | "mismatching-upload-offset", _) => {
            true
        }
        ("damaged", _) => false,
        (_, StatusCode::NOT_IMPLEMENTED | StatusCode::INSUFFICIENT_STORAGE) => false,
        (_, StatusCode::HTTP_VERSION_NOT_SUPPORTED) => false,
        (_, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => true,
        (_, StatusCode::CONFLICT) => retry_after.is_some(),
        (_, other) => other.is_server_error(),
    };
    match (transient, retry_after) {
        // It asks to be left alone itself; another gateway need not wait.
        (true, _) if kind(problem) == "stopping" => Heal::Later,
        (false, _) => Heal::Never,
        (true, Some(wait)) => Heal::After(wait),
        (true, None) => Heal::Later,
    }
}

fn remedy_for(problem: &Problem) -> &'static str {
    const BASE: &str = "The base differs on the two sides: send in full with --full, or from another --base.";
    match (kind(problem), problem.status) {
        ("policy" | "plugin-refused", _) => {
            "Send what the policy asks for, or change it in the gateway's configuration."
        }
        ("base-missing" | "base-changed" | "base-mismatch", _) | (_, 412) => BASE,
        ("deleted", _) => "Run the command again if the snapshot shall be there once more.",
        ("damaged", _) => {
            "The gateway's storage is damaged: check its disks. `rsnap repair` mends it from a site that is intact; what \
             it cannot mend, delete and send again."
        }
        ("unmendable", _) => "Do what it says; the other snapshots stay whole.",
        ("bad-certificate", _) => "Do what it says; a token that is given too, with --token-file, counts alone.",
        (_, 401) => {
            "Give a valid token with --token-file, --token or RSNAP_TOKEN, or a certificate with --client-certificate."
        }
        (_, 403) => "Use a token or certificate whose role, or a ticket that allows this operation on this volume.",
        ("no-site", _) => {
            "Check the name; the gateway's resolver finds sites, such as those of [plugins.resolver.settings.sites]."
        }
        (_, 404) => HELD,
        (_, 409) => {
            "`rsnap chain --volume ID` shows what is there: use another snapshot id, or delete the old one first."
        }
        (_, 422) => "Run the command again; if it repeats, the stream is damaged before it is sent.",
        (_, 429 | 503) => "The gateway has no room now: try again later.",
        (_, 507) => "Make room in the gateway's storage.",
        (_, 500..=599) => "See the gateway's log.",
        _ => "Correct what the gateway names.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, retry_after: Option<u64>) -> Heal {
        named("test", status, retry_after)
    }

    fn named(kind: &str, status: u16, retry_after: Option<u64>) -> Heal {
        let problem = Problem {
            kind: format!("urn:rsnap:problem:{kind}"),
            title: "t".into(),
            status,
            detail: "d".into(),
            transfer: None,
            provided_offset: None,
            expected_offset: None,
        };
        ClientError::Refused { problem: Box::new(problem), retry_after: retry_after.map(Duration::from_secs) }.heal()
    }

    #[test]
    fn only_what_may_heal_is_tried_again() {
        for status in [400, 401, 403, 404, 409, 411, 412, 413, 422, 501, 507] {
            assert_eq!(refused(status, None), Heal::Never, "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(refused(status, None), Heal::Later, "{status}");
        }
        assert_eq!(refused(409, Some(3)), Heal::After(Duration::from_secs(3)));
        assert_eq!(refused(503, Some(2)), Heal::After(Duration::from_secs(2)));
        assert_eq!(refused(507, Some(2)), Heal::Never);
        assert_eq!(named("expired-ticket", 401, None), Heal::Later);
        assert_eq!(named("stopping", 503, Some(5)), Heal::Later);
        assert_eq!(named("damaged", 500, None), Heal::Never);
    }
}
