//! Progress for programs: one JSON object a line.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pace::Pace;
use super::{Progress, Stream, write};
use crate::client::{Event, Reporter};

/// Between two objects of progress.
const INTERVAL: Duration = Duration::from_secs(1);

/// Objects on one of the streams.
#[derive(Debug)]
pub(super) struct Objects {
    stream: Stream,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pace: Pace,
    last: Option<Instant>,
}

impl Objects {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, state: Mutex::default() }
    }
}

impl State {
    /// The object for `event`, if it is time for one.
    fn object(&mut self, event: &Event, now: Instant) -> Option<Value> {
        let mut object = serde_json::to_value(event).ok()?;
        let Event::Progress { stage, snapshot, position, size, moved } = event else {
            self.pace.reset();
            return Some(object);
        };
        let begins = self.pace.begins(*stage, snapshot, *position, *moved, now);
        if !begins && self.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            return None;
        }
        self.last = Some(now);
        let speed = self.pace.speed(*position, *size, *moved, now);
        let fields = object.as_object_mut()?;
        fields.insert("bytes_per_second".to_owned(), json!(speed.rate.round()));
        fields.insert("eta_seconds".to_owned(), json!(speed.eta.map(|eta| eta.as_secs_f64().round())));
        Some(object)
    }
}

impl Reporter for Objects {
    fn tell(&self, event: &Event) {
        let object = self.state.lock().unwrap_or_else(PoisonError::into_inner).object(event, Instant::now());
        if let Some(object) = object {
            // A program that stopped listening must not end a transfer; the result will tell that it is gone.
            drop(write(self.stream, &object.to_string()));
        }
    }
}

impl Progress for Objects {
    fn end(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Stage;

    fn progress(position: u64) -> Event {
        Event::Progress { stage: Stage::Sending, snapshot: "s".into(), position, size: 100, moved: position * 2 }
    }

    #[test]
    fn progress_comes_once_a_second_with_its_speed() {
        let (mut state, start) = (State::default(), Instant::now());
        assert!(state.object(&progress(0), start).is_some());
        assert!(state.object(&progress(10), start + INTERVAL / 2).is_none());
        let object = state.object(&progress(20), start + INTERVAL).unwrap();
        assert_eq!(
            object,
            json!({"event": "progress", "stage": "sending", "snapshot": "s", "position": 20, "size": 100, "moved": 40,
                   "bytes_per_second": 40.0, "eta_seconds": 4.0})
        );
    }

    #[test]
    fn steps_are_told_at_once() {
        let retry = Event::Retry { retry: 1, retries: 2, wait: INTERVAL, error: "e".into() };
        let object = State::default().object(&retry, Instant::now()).unwrap();
        assert_eq!(object, json!({"event": "retry", "retry": 1, "retries": 2, "wait_seconds": 1.0, "error": "e"}));
    }
}
