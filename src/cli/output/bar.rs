//! Progress on a terminal: one bar that is redrawn, with the steps above it.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressStyle};

use super::Progress;
use super::pace::Pace;
use super::text::{event as line, stage_name};
use crate::client::{Event, Reporter};

const TEMPLATE: &str = "{prefix} {percent:>3}% [{bar:30}] {msg}";

/// A bar on standard error.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    pace: Mutex<Pace>,
}

impl Default for Bar {
    fn default() -> Self {
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0);
        bar.set_style(style.progress_chars("=> "));
        Self { bar, pace: Mutex::default() }
    }
}

impl Reporter for Bar {
    fn tell(&self, event: &Event) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let Event::Progress { stage, snapshot, position, size, moved } = event else {
            pace.reset();
            self.bar.println(line(event));
            return;
        };
        let now = Instant::now();
        if pace.begins(*stage, snapshot, *position, *moved, now) {
            self.bar.set_prefix(format!("{} {snapshot}", stage_name(*stage)));
            self.bar.set_length(*size);
        }
        let speed = pace.speed(*position, *size, *moved, now);
        let eta = speed.eta.map_or_else(|| "-".to_owned(), |eta| HumanDuration(eta).to_string());
        let rate = BinaryBytes(speed.rate as u64);
        self.bar.set_message(format!("{} of {}, {rate}/s, {eta} left", BinaryBytes(*position), BinaryBytes(*size)));
        self.bar.set_position(*position);
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
