//! Progress on a terminal: one bar that is redrawn, with the steps above it.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Progress;
use super::pace::Pace;
use super::text::{event as line, stage_name};
use crate::client::{Event, Reporter};

const TEMPLATE: &str = "{prefix} {percent:>3}% [{bar:20}] {msg}";

/// A bar on standard error.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    pace: Mutex<Pace>,
}

impl Default for Bar {
    fn default() -> Self {
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        // Nothing is drawn before the first progress: a bar without a length is a full one.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(style.progress_chars("=> "));
        Self { bar, pace: Mutex::default() }
    }
}

impl Reporter for Bar {
    fn tell(&self, event: &Event) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let Event::Progress { stage, snapshot, position, size, moved } = event else {
            pace.reset();
            if self.bar.is_hidden() {
                // A closed standard error must not end a transfer.
                drop(writeln!(std::io::stderr().lock(), "{}", line(event)));
            } else {
                self.bar.println(line(event));
            }
            return;
        };
        let now = Instant::now();
        if pace.begins(*stage, snapshot, *position, *moved, now) {
            self.bar.set_position(0);
            self.bar.set_length(*size);
            self.bar.set_prefix(format!("{} {snapshot}", stage_name(*stage)));
        }
        self.bar.set_position(*position);
        let speed = pace.speed(*position, *size, *moved, now);
        let eta = speed.eta.map_or_else(|| "-".to_owned(), |eta| HumanDuration(eta).to_string());
        let rate = BinaryBytes(speed.rate as u64);
        self.bar.set_message(format!("{} of {}, {rate}/s, {eta} left", BinaryBytes(*position), BinaryBytes(*size)));
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.tick();
        }
    }
}

impl Progress for Bar {
    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
