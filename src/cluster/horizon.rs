//! When another gateway was alive at the latest, by this process's own clock.
//!
//! A key in etcd says that a gateway was alive when it wrote it, and not when that was: leases have outlived their time
//! by hours, a new leader gives every lease its full time again, a watch that stood still delivers old news, and a
//! member that stood still hands on the writes of the dead. Clocks of other machines jump. What can be known without
//! any of them:
//!
//! - An answer that carries revision *n* was asked for at a moment of our own clock. Whatever has a greater revision was
//!   written after that moment ([`Horizon`]).
//! - A gateway writes its key only if the key still has the revision that it knows. So a write was sent after the write
//!   before it had taken effect, however late it arrives itself ([`Sighting`]).
//!
//! Together they give a moment at which the gateway was alive for certain. It is some refreshes old, which is why
//! refreshes are several times as frequent as they would have to be for the lease.

use std::collections::VecDeque;
use std::time::Duration;

use super::counter::Revision;

/// A moment of this process's own steady clock, since an arbitrary beginning.
pub type Moment = Duration;

/// How many answers are remembered.
const MARKS: usize = 128;
/// How far apart they are at least, but for the latest: a busy gateway has hundreds in a second.
const APART: Duration = Duration::from_millis(500);

/// Knows lower bounds for the moments of revisions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Horizon {
    /// Ascending in both.
    marks: VecDeque<(Revision, Moment)>,
}

impl Horizon {
    /// A linearisable answer that was asked for at `asked` carried `revision`.
    pub fn mark(&mut self, revision: Revision, asked: Moment) {
        match self.marks.back_mut() {
            Some((last, moment)) if *last == revision => *moment = asked.max(*moment),
            Some((last, _)) if *last > revision => {}
            _ => self.marks.push_back((revision, asked)),
        }
        self.thin();
    }

    /// Forgets what is not needed. Fewer marks make the past older than it is, never younger.
    fn thin(&mut self) {
        let [.., (_, first), middle, (_, last)] = self.marks.make_contiguous() else { return };
        if last.saturating_sub(*first) < APART {
            let middle = *middle;
            self.marks.retain(|mark| *mark != middle);
        }
        if self.marks.len() > MARKS {
            self.marks.pop_front();
        }
    }

    /// A moment before which `revision` was not there; `None` when nothing is known.
    #[must_use]
    pub fn since(&self, revision: Revision) -> Option<Moment> {
        self.marks.iter().rev().find(|(before, _)| *before < revision).map(|(_, moment)| *moment)
    }

    /// Another etcd, or one that was restored: its revisions say nothing about those known.
    pub fn forget(&mut self) {
        self.marks.clear();
    }

    /// The latest revision that was marked.
    #[must_use]
    pub fn latest(&self) -> Revision {
        self.marks.back().map_or(0, |(revision, _)| *revision)
    }
}

/// The latest write of another gateway that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sighting {
    pub revision: Revision,
    /// The gateway was alive then; `None` when that is not known.
    pub alive: Option<Moment>,
}

impl Sighting {
    /// A key that was not there before, as far as we know. Who wrote it may be dead since.
    #[must_use]
    pub const fn first(revision: Revision) -> Self {
        Self { revision, alive: None }
    }

    /// The next write that was seen; others may lie between.
    #[must_use]
    pub fn next(self, revision: Revision, horizon: &Horizon) -> Self {
        if revision <= self.revision {
            return self;
        }
        Self { revision, alive: horizon.since(self.revision).max(self.alive) }
    }

    /// Whether the gateway was alive within `lifetime` before `now`.
    #[must_use]
    pub fn is_fresh(&self, now: Moment, lifetime: Duration) -> bool {
        self.alive.is_some_and(|alive| now.saturating_sub(alive) < lifetime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_came_after_an_answer_was_written_after_its_question() {
        let mut horizon = Horizon::default();
        assert_eq!(horizon.since(5), None);
        horizon.mark(10, at(1));
        horizon.mark(20, at(2));
        assert_eq!(horizon.since(10), None, "it may be as old as the cluster");
        assert_eq!(horizon.since(11), Some(at(1)));
        assert_eq!(horizon.since(20), Some(at(1)));
        assert_eq!(horizon.since(99), Some(at(2)));
    }

    #[test]
    fn nothing_happening_moves_the_bound_too() {
        let mut horizon = Horizon::default();
        horizon.mark(10, at(1));
        horizon.mark(10, at(7));
        assert_eq!(horizon.since(11), Some(at(7)));
        horizon.mark(9, at(8));
        assert_eq!(horizon.since(11), Some(at(7)), "an answer from the past says nothing");
    }

    #[test]
    fn memory_is_bounded_and_the_latest_is_kept() {
        let mut horizon = Horizon::default();
        let moment = |revision: Revision| Duration::from_millis(10 * revision.unsigned_abs());
        for revision in 1..=20_000 {
            horizon.mark(revision, moment(revision));
        }
        assert!(horizon.marks.len() <= MARKS);
        assert_eq!(horizon.since(20_001), Some(moment(20_000)));
        let before = horizon.since(18_000).unwrap();
        assert!(before < moment(18_000) && before + 2 * APART > moment(18_000), "{before:?}");
        assert_eq!(horizon.since(5_000), None);
    }

    #[test]
    fn a_write_proves_that_its_sender_lived_after_the_write_before() {
        let mut horizon = Horizon::default();
        horizon.mark(10, at(1));
        let first = Sighting::first(11);
        assert!(!first.is_fresh(at(1), at(60)));
        horizon.mark(15, at(5));
        let second = first.next(16, &horizon);
        assert_eq!(second.alive, Some(at(1)), "sent after revision 11, which was not there at 1 s");
        assert_eq!(second.next(20, &horizon).alive, Some(at(5)));
        assert!(second.is_fresh(at(60), at(60)) && !second.is_fresh(at(61), at(60)));
        assert_eq!(second.next(12, &horizon), second, "old news");
        assert_eq!(Sighting::first(5).next(12, &horizon).alive, None, "the one before is as old as the cluster");
    }
}
