//! The states of one transfer, and the only way from one to the next.
//!
//! ```text
//!  Admitted ──▶ Receiving ──▶ Flushing ──▶ Verifying ──▶ Committing ──▶ Committed
//!      │            │             │            │              │
//!      └────────────┴─────────────┴────────────┴──────────────┴───────▶ Failed
//! ```
//!
//! `Committed` is the commit point of the storage: before it nothing of the transfer can be seen, after it nothing can
//! take the snapshot back. A 2xx is answered from `Committed` only.

use std::time::{Duration, Instant};

/// Where a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Allowed and counted; the body has not been asked for.
    Admitted,
    /// Extents are on their way into staging.
    Receiving,
    /// The stream is complete; storage makes it durable.
    Flushing,
    /// Length, digest and content root are compared.
    Verifying,
    /// The storage is asked for the one step that makes it visible.
    Committing,
    Committed,
    Failed,
}

impl State {
    /// The word for logs and the admin listener.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Receiving => "receiving",
            Self::Flushing => "flushing",
            Self::Verifying => "verifying",
            Self::Committing => "committing",
            Self::Committed => "committed",
            Self::Failed => "failed",
        }
    }

    fn may_become(self, next: Self) -> bool {
        use State::{Admitted, Committed, Committing, Failed, Flushing, Receiving, Verifying};
        matches!(
            (self, next),
            (Admitted, Receiving)
                | (Receiving, Flushing)
                | (Flushing, Verifying)
                | (Verifying, Committing)
                | (Committing, Committed)
                | (Admitted | Receiving | Flushing | Verifying | Committing, Failed)
        )
    }
}

/// A step that the drawing does not have: a fault in this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a transfer cannot go from {from:?} to {to:?}")]
pub struct IllegalStep {
    pub from: State,
    pub to: State,
}

/// The state of one transfer and since when.
#[derive(Debug)]
pub(super) struct Progress {
    state: State,
    since: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { state: State::Admitted, since: Instant::now() }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// The checked setter: gives how long the transfer was in the state it leaves.
    pub(super) fn advance(&mut self, to: State) -> Result<Duration, IllegalStep> {
        if !self.state.may_become(to) {
            return Err(IllegalStep { from: self.state, to });
        }
        self.state = to;
        let spent = self.since.elapsed();
        self.since = Instant::now();
        Ok(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 7] = [
        State::Admitted,
        State::Receiving,
        State::Flushing,
        State::Verifying,
        State::Committing,
        State::Committed,
        State::Failed,
    ];

    #[test]
    fn only_the_steps_of_the_drawing_are_possible() {
        let legal = ALL.iter().flat_map(|from| ALL.iter().map(move |to| (*from, *to)));
        let legal = legal.filter(|(from, to)| from.may_become(*to)).count();
        assert_eq!(legal, 10);
        assert!(!State::Receiving.may_become(State::Committed));
        assert!(!State::Committed.may_become(State::Failed));
    }

    #[test]
    fn an_illegal_step_changes_nothing() {
        let mut progress = Progress::new();
        let refused = progress.advance(State::Committed);
        assert_eq!(refused, Err(IllegalStep { from: State::Admitted, to: State::Committed }));
        assert_eq!(progress.state(), State::Admitted);
    }
}
