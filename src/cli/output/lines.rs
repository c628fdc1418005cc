//! Progress where nobody watches: one line for each step, nothing that is redrawn.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Progress;
use super::pace::Pace;
use super::text::event as line;
use crate::client::{Event, Reporter};

/// Lines on standard error.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pace: Mutex<Pace>,
}

impl Reporter for Lines {
    fn tell(&self, event: &Event) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = match event {
            Event::Progress { stage, snapshot, position, moved, .. } => {
                pace.begins(*stage, snapshot, *position, *moved, Instant::now())
            }
            _ => {
                pace.reset();
                true
            }
        };
        if wanted {
            // A closed standard error must not end a transfer.
            drop(writeln!(std::io::stderr().lock(), "{}", line(event)));
        }
    }
}

impl Progress for Lines {
    fn end(&self) {}
}
