//! When something in etcd was written at the earliest, by this process's own clock.
//!
//! A key in etcd says that a gateway was alive when it was written, and not when that was: leases have outlived their
//! time by hours, a new leader gives every lease its full time again, and a watch that stood still delivers old news.
//! Clocks of other machines jump. What can be known without any of them: an answer that carries revision *n* was asked
//! for at a moment of our own clock, so whatever has a greater revision was written after that moment.

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
}
