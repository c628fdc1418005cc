//! What each caller may do.

use std::time::SystemTime;

use super::super::problem::{Kind, Problem};
use super::super::ticket::{Claims, Operation};
use super::{Principal, Role};
use crate::id::{SnapshotId, VolumeId};

/// What a caller wants to do.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) enum Action<'a> {
    Server,
    Servers,
    Sites,
    Chain(&'a VolumeId),
    Plan(&'a VolumeId, &'a SnapshotId),
    Put(&'a VolumeId, &'a [SnapshotId]),
    Read(&'a VolumeId),
    Delete,
}

/// An action that was allowed.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::http) struct Permission {
    /// Who, for logs.
    pub(in crate::http) principal: String,
    /// On whose account, where that is known.
    pub(in crate::http) sender: Option<String>,
    pub(in crate::http) issued: SystemTime,
    /// The only size that is allowed, when the permission knows it.
    pub(in crate::http) size: Option<u64>,
}

impl Principal {
    /// Allows an action or says why not.
    pub(in crate::http) fn permit(&self, action: Action<'_>) -> Result<Permission, Problem> {
        match self {
            Self::Token { role, .. } | Self::Certificate { role, .. } | Self::Keystone { role, .. } => {
                permit_role(*role, action)?;
            }
            Self::Ticket(claims) => permit_ticket(claims, action)?,
        }
        let (issued, size) = match self {
            Self::Token { .. } | Self::Certificate { .. } | Self::Keystone { .. } => (SystemTime::now(), None),
            Self::Ticket(claims) => (claims.issued(), Some(claims.size)),
        };
        Ok(Permission { principal: self.label(), sender: self.sender(), issued, size })
    }
}

fn permit_role(role: Role, action: Action<'_>) -> Result<(), Problem> {
    match (role, action) {
        (Role::Operator, _) | (Role::Ticket, Action::Server | Action::Sites | Action::Chain(_) | Action::Plan(..)) => {
            Ok(())
        }
        (Role::Ticket, _) => {
            let detail = "this account hands out tickets and plans; use a ticket, or the account of an operator";
            Err(Problem::new(Kind::Forbidden, detail))
        }
    }
}

fn permit_ticket(claims: &Claims, action: Action<'_>) -> Result<(), Problem> {
    let (operation, volume, snapshots) = match action {
        Action::Plan(volume, snapshot) => (Operation::Plan, volume, std::slice::from_ref(snapshot)),
        Action::Put(volume, snapshots) => (Operation::Put, volume, snapshots),
        Action::Chain(volume) | Action::Read(volume) => (Operation::Read, volume, [].as_slice()),
        Action::Server | Action::Servers | Action::Sites | Action::Delete => {
            return Err(Problem::new(Kind::Forbidden, "a ticket cannot do this; use a token"));
        }
    };
    if !claims.allows(operation) {
        return Err(scope(format!("the ticket does not allow {operation:?}")));
    }
    if claims.volume != *volume {
        return Err(scope(format!("the ticket is for volume {}", claims.volume)));
    }
    match snapshots.iter().find(|snapshot| !claims.snapshots.contains(snapshot)) {
        Some(other) => Err(scope(format!("the ticket is not for snapshot {other}"))),
        None => Ok(()),
    }
}

fn scope(detail: String) -> Problem {
    Problem::new(Kind::TicketScope, format!("{detail}: ask GET /server for one that fits"))
}
