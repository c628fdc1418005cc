//! Exit codes: a program that calls us must know whether to try again, to ask an operator, or to raise an alarm.

use std::process::ExitCode;

use crate::client::{ClientError, kind};

/// How the program ends. The numbers are an interface: they are in `--help` and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Success = 0,
    /// It failed, after all retries that make sense.
    Failed = 1,
    /// The command cannot be meant like this.
    Usage = 2,
    /// The gateway's policy or what it holds stands against it.
    Refused = 3,
    /// The token, certificate or ticket does not allow it, or the gateway could not prove who it is.
    Unauthorised = 4,
    /// Bytes are not what they must be.
    Integrity = 5,
    /// The user's Ctrl-C, as shells count it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    pub(super) fn of(error: &ClientError) -> Self {
        match error {
            ClientError::Usage(_) => Self::Usage,
            ClientError::Plan(_) | ClientError::Missing(_) => Self::Refused,
            ClientError::Tls { .. } | ClientError::Certificate(_) => Self::Unauthorised,
            ClientError::Integrity { .. }
            | ClientError::Differs(_)
            | ClientError::Damaged(_)
            | ClientError::Changed(_)
            | ClientError::Malformed { .. } => Self::Integrity,
            ClientError::Refused { problem, .. } => match (kind(problem), problem.status) {
                ("digest-mismatch" | "malformed-stream" | "damaged", _) => Self::Integrity,
                (_, 401 | 403) => Self::Unauthorised,
                (_, 400..=499) if problem.status != 408 && problem.status != 429 => Self::Refused,
                _ => Self::Failed,
            },
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Problem;

    fn refused(kind: &str, status: u16) -> Exit {
        let (title, detail) = (String::new(), String::new());
        let problem = Problem {
            kind: format!("urn:rsnap:problem:{kind}"),
            title,
            status,
            detail,
            transfer: None,
            provided_offset: None,
            expected_offset: None,
        };
        Exit::of(&ClientError::Refused { problem: Box::new(problem), retry_after: None })
    }

    #[test]
    fn each_refusal_has_its_code() {
        assert_eq!(refused("bad-token", 401), Exit::Unauthorised);
        assert_eq!(refused("ticket-scope", 403), Exit::Unauthorised);
        assert_eq!(refused("policy", 409), Exit::Refused);
        assert_eq!(refused("digest-mismatch", 422), Exit::Integrity);
        assert_eq!(refused("malformed-stream", 400), Exit::Integrity);
        assert_eq!(refused("saturated", 503), Exit::Failed);
        assert_eq!(refused("storage-full", 507), Exit::Failed);
        assert_eq!(Exit::of(&ClientError::Plan(String::new())), Exit::Refused);
        assert_eq!(Exit::of(&ClientError::Cut(String::new())), Exit::Failed);
    }
}
