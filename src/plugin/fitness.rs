//! Whether a plugin is fit to be called: one that crashes again and again is retired.
//!
//! Each crash costs a caller its transfer and the gateway some time, and a gateway whose plugin is broken should leave the
//! work to its neighbours. So after a row of crashes, nothing else between them, the plugin is retired: its calls fail at
//! once, and the gateway is not ready. After a pause one call is let through; when it ends well the plugin is back, and
//! when it crashes the next pause is twice as long. A reload ends the retirement at once.
//!
//! The crashes must be about several subjects (volumes, or names of sites): one volume that a plugin cannot stand, sent by
//! whoever wants it, must not make a gateway unready for all.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::PluginError;

/// Crashes in a row.
const CRASHES: u32 = 10;
/// Subjects that they are about.
const SUBJECTS: usize = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Fitness(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In a row.
    crashes: u32,
    /// What they were about; as many as are needed.
    subjects: BTreeSet<String>,
    retired: Option<Retired>,
}

#[derive(Debug)]
struct Retired {
    pause: Duration,
    /// When the next call is let through.
    until: Instant,
    /// The last crash.
    detail: String,
}

impl Fitness {
    /// Whether a call may begin now; if not, why.
    pub(super) fn admit(&self, now: Instant) -> Result<(), String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.retired {
            Some(retired) if now < retired.until => Err(retired.words(now)),
            Some(retired) => {
                // One at a time, also when nobody waits for the end of this one.
                retired.until = now + retired.pause;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Notes how a call about `subject` ended.
    pub(super) fn note<T>(&self, subject: &str, result: &Result<T, PluginError>, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Err(PluginError::Failed { detail, .. }) => state.crashed(subject, detail, now),
            // It answered.
            Ok(_) | Err(PluginError::Refused { .. }) => *state = State::default(),
            // Tells nothing of the plugin.
            Err(PluginError::Unavailable { .. } | PluginError::Image(_)) => {}
        }
    }

    /// Why it is retired; `None`: it is not.
    pub(super) fn fault(&self, now: Instant) -> Option<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.retired.as_ref().map(|retired| retired.words(now))
    }

    /// Forgets everything.
    pub(super) fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }
}

impl State {
    fn crashed(&mut self, subject: &str, detail: &str, now: Instant) {
        if let Some(retired) = &mut self.retired {
            retired.pause = (2 * retired.pause).min(LONGEST_PAUSE);
            retired.until = now + retired.pause;
            detail.clone_into(&mut retired.detail);
            return;
        }
        self.crashes = self.crashes.saturating_add(1);
        if self.subjects.len() < SUBJECTS {
            self.subjects.insert(subject.to_owned());
        }
        if self.crashes >= CRASHES && self.subjects.len() >= SUBJECTS {
            let (pause, until) = (FIRST_PAUSE, now + FIRST_PAUSE);
            self.retired = Some(Retired { pause, until, detail: detail.to_owned() });
        }
    }
}

impl Retired {
    fn words(&self, now: Instant) -> String {
        let left = self.until.saturating_duration_since(now).as_secs();
        let when = if left > 0 { format!("in {left} s") } else { "with the next call".to_owned() };
        format!(
            "it is retired, because it failed {CRASHES} times in a row (the last time: {}); it is tried again {when}, or \
             after a reload",
            self.detail
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Result<(), PluginError> {
        Err(PluginError::Failed { plugin: "p".to_owned(), detail: "it gave up".to_owned() })
    }

    fn refused() -> Result<(), PluginError> {
        Err(PluginError::Refused { plugin: "p".to_owned(), detail: "no".to_owned() })
    }

    fn crash(fitness: &Fitness, times: u32, now: Instant) {
        for number in 0..times {
            fitness.note(&format!("v{}", number % 3), &failed(), now);
        }
    }

    #[test]
    fn a_row_of_crashes_retires_and_a_good_call_brings_back() {
        let (fitness, now) = (Fitness::default(), Instant::now());
        crash(&fitness, 9, now);
        assert_eq!((fitness.admit(now), fitness.fault(now)), (Ok(()), None));
        crash(&fitness, 1, now);
        let fault = fitness.fault(now).unwrap();
        assert!(
            fault.contains("10 times in a row (the last time: it gave up)") && fault.contains("in 30 s"),
            "{fault}"
        );
        assert!(fitness.admit(now).is_err());
        let later = now + FIRST_PAUSE;
        assert_eq!(fitness.admit(later), Ok(()));
        assert!(fitness.admit(later).is_err(), "one call at a time tries it");
        fitness.note("v1", &failed(), later);
        assert!(fitness.admit(later + FIRST_PAUSE).is_err(), "the second pause is longer");
        assert_eq!(fitness.admit(later + 2 * FIRST_PAUSE), Ok(()));
        fitness.note("v1", &refused(), later);
        assert_eq!((fitness.admit(later), fitness.fault(later)), (Ok(()), None));
    }

    #[test]
    fn answers_between_crashes_count() {
        let (fitness, now) = (Fitness::default(), Instant::now());
        for _ in 0..10 {
            crash(&fitness, 9, now);
            fitness.note("v1", &Ok(()), now);
        }
        assert_eq!(fitness.fault(now), None);
    }

    #[test]
    fn one_volume_cannot_retire_a_plugin() {
        let (fitness, now) = (Fitness::default(), Instant::now());
        for _ in 0..100 {
            fitness.note("v1", &failed(), now);
            fitness.note("v2", &failed(), now);
        }
        assert_eq!(fitness.fault(now), None);
        fitness.note("v3", &failed(), now);
        assert!(fitness.fault(now).is_some());
        fitness.reset();
        assert_eq!((fitness.admit(now), fitness.fault(now)), (Ok(()), None));
    }

    #[test]
    fn pauses_have_an_end() {
        let (fitness, now) = (Fitness::default(), Instant::now());
        crash(&fitness, 40, now);
        assert!(fitness.fault(now).unwrap().contains("in 600 s"));
    }

    #[test]
    fn what_tells_nothing_of_the_plugin_changes_nothing() {
        let (fitness, now) = (Fitness::default(), Instant::now());
        crash(&fitness, 10, now);
        let busy: Result<(), _> = Err(PluginError::Unavailable { plugin: "p".to_owned(), detail: "busy".to_owned() });
        fitness.admit(now + FIRST_PAUSE).unwrap();
        fitness.note("v1", &busy, now + FIRST_PAUSE);
        assert!(fitness.admit(now + FIRST_PAUSE).is_err());
        assert_eq!(fitness.admit(now + 2 * FIRST_PAUSE), Ok(()));
    }
}
