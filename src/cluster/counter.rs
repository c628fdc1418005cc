//! The counter protocol: one gateway's key in etcd, as a state machine without any input or output.
//!
//! What can go wrong with a shared counter goes wrong between the steps: an answer is lost after the write took
//! effect, a lease lapses while a write is on its way, somebody else writes the same key. So the steps are values
//! here: what happened comes in by method, what to ask of etcd next comes out of [`Counter::next_request`], one request at a
//! time. The model checker of the tests drives this very type through all orders of events.
//!
//! ```text
//!             connected           granted         found            done (join)
//!  apart ───────────────► no lease ──────► unread ──────► unwritten ──────────► counted ◄─┐ done (change, refresh)
//!    ▲  disconnected, from anywhere   ▲                       ▲  overtaken         │      │ overtaken (refresh: dropped)
//!    └──────────────────              └── lease gone, from anywhere, vanished ─────┘──────┘ overtaken (change: again)
//! ```
//!
//! Nothing is ever added to what etcd holds: every write carries the number that is really running, so no lost or
//! doubled write can make the count drift, and it cannot become negative. Incrementing what was read was refused for
//! that reason; the compare only decides who gives way.

/// A revision of etcd; 0 is that of a key that is not there.
pub type Revision = i64;
/// A lease's id.
pub type Lease = i64;

/// What etcd said about our key: when it last changed, and by which lease it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Known {
    pub revision: Revision,
    /// 0: none.
    pub lease: Lease,
}

impl Known {
    /// There is no key.
    pub const ABSENT: Self = Self { revision: 0, lease: 0 };
}

/// Why a write is made, which is what its failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The first under a lease or connection: must succeed, and carries everything that is written about a gateway.
    Join,
    /// A transfer began or ended: is tried again until it succeeds.
    Change,
    /// The periodic one: gives way to whoever has written meanwhile. Carries what a join does.
    Refresh,
}

/// What to ask of etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    Grant,
    /// What our key is now.
    Read,
    /// Write our key, if its revision is as expected.
    Write {
        count: u64,
        expected: Revision,
        lease: Lease,
        purpose: Purpose,
        /// The number of beginnings and ends that `count` includes.
        changes: u64,
    },
    /// Delete our key, if its revision is as expected.
    Delete {
        expected: Revision,
    },
}

/// What etcd answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    Granted(Lease),
    /// What the key is, at this revision of etcd.
    Found(Known, Revision),
    /// The write or delete took effect, at this revision.
    Done(Revision),
    /// The compare failed; this is what the key is instead, at this revision.
    Overtaken(Known, Revision),
    /// The lease of the write does not exist any more.
    LeaseGone,
    /// The registry belongs to another group.
    Refused,
}

/// How far the periodic refresh is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Refresh {
    Idle,
    Due,
    /// The key has been read; now compare and write.
    Compare,
}

/// One gateway's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Counter {
    running: u64,
    changes: u64,
    offered: bool,
    refused: bool,
    connected: bool,
    lease: Option<Lease>,
    known: Option<Known>,
    /// The number of changes that the key holds; `None` until it is written under this lease and connection.
    written: Option<u64>,
    /// The latest revision that an answer or the watch has told of: what is older says nothing any more.
    newest: Revision,
    /// The latest deletion that the watch has told of.
    gone: Revision,
    refresh: Refresh,
    asked: Option<Request>,
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter {
    /// Nothing runs, nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            running: 0,
            changes: 0,
            offered: true,
            refused: false,
            connected: false,
            lease: None,
            known: None,
            written: None,
            newest: 0,
            gone: 0,
            refresh: Refresh::Idle,
            asked: None,
        }
    }

    /// What to ask next; nothing while an answer is awaited.
    pub fn next_request(&mut self) -> Option<Request> {
        if !self.connected || self.asked.is_some() {
            return None;
        }
        self.asked = if self.offered && !self.refused { self.keep() } else { self.leave() };
        self.asked
    }

    fn keep(&mut self) -> Option<Request> {
        let Some(lease) = self.lease else { return Some(Request::Grant) };
        let Some(known) = self.known else { return Some(Request::Read) };
        let purpose = match (self.written, self.refresh) {
            (None, _) => Purpose::Join,
            (_, Refresh::Due) => return Some(Request::Read),
            (_, Refresh::Compare) => Purpose::Refresh,
            (Some(written), Refresh::Idle) if written != self.changes => Purpose::Change,
            _ => return None,
        };
        let (count, changes) = (self.running, self.changes);
        Some(Request::Write { count, expected: known.revision, lease, purpose, changes })
    }

    /// Only a key under our own lease is ours to delete: another process may have our address by now.
    fn leave(&self) -> Option<Request> {
        let lease = self.lease?;
        match self.known {
            None => Some(Request::Read),
            Some(known) if known.lease == lease => Some(Request::Delete { expected: known.revision }),
            Some(_) => None,
        }
    }

    /// The transfers that run now, and how often one has begun or ended.
    pub fn transfers(&mut self, running: u64, changes: u64) {
        (self.running, self.changes) = (running, changes);
    }

    /// Whether this gateway may be named to senders. One that may not has no key.
    pub fn offer(&mut self, offered: bool) {
        if !offered || !self.offered {
            self.written = None;
        }
        self.offered = offered;
    }

    /// The registry belongs to another group, or does not any more.
    pub fn refuse(&mut self, refused: bool) {
        if refused || self.refused {
            self.written = None;
        }
        self.refused = refused;
    }

    /// Something that a join writes has changed.
    pub fn renew(&mut self) {
        self.written = None;
    }

    /// A connection to etcd stands. What was asked on another one may have taken effect or may still.
    pub fn connected(&mut self) {
        self.disconnected();
        self.connected = true;
    }

    pub fn disconnected(&mut self) {
        self.connected = false;
        self.known = None;
        self.written = None;
        (self.newest, self.gone) = (0, 0);
        self.refresh = Refresh::Idle;
        self.asked = None;
    }

    /// The periodic refresh is due.
    pub fn refresh_due(&mut self) {
        if self.refresh == Refresh::Idle {
            self.refresh = Refresh::Due;
        }
    }

    /// The key was seen to be deleted, at this revision.
    pub fn vanished(&mut self, revision: Revision) {
        if revision > self.newest {
            self.learn(Known::ABSENT, revision);
            self.gone = revision;
            self.written = None;
        }
    }

    /// The key was seen to be written: by ourselves, long ago perhaps, or by somebody else.
    pub fn seen(&mut self, key: Known) {
        self.learn(key, key.revision);
    }

    /// The lease has lapsed or was revoked, and our key with it.
    pub fn lease_gone(&mut self, lease: Lease) {
        if self.lease == Some(lease) {
            self.lease = None;
            self.known = None;
            self.written = None;
        }
    }

    /// What came of the request that [`Counter::next_request`] gave last.
    pub fn reply(&mut self, reply: Reply) {
        let Some(asked) = self.asked.take() else { return };
        match reply {
            Reply::Granted(lease) => {
                self.lease = Some(lease);
                self.written = None;
            }
            Reply::Found(known, revision) => {
                self.learn(known, revision);
                if self.refresh == Refresh::Due {
                    self.refresh = Refresh::Compare;
                }
            }
            Reply::Done(revision) => self.done(asked, revision),
            Reply::Overtaken(known, revision) => {
                self.learn(known, revision);
                if matches!(asked, Request::Write { purpose: Purpose::Refresh, .. }) {
                    self.refresh = Refresh::Idle;
                }
            }
            Reply::LeaseGone => {
                if let Request::Write { lease, .. } = asked {
                    self.lease_gone(lease);
                }
            }
            Reply::Refused => self.refuse(true),
        }
    }

    /// What the key was at this revision of etcd.
    fn learn(&mut self, known: Known, revision: Revision) {
        if revision >= self.newest {
            self.newest = revision;
            self.known = Some(known);
        }
    }

    fn done(&mut self, asked: Request, revision: Revision) {
        match asked {
            Request::Write { lease, changes, purpose, .. } => {
                if purpose != Purpose::Change {
                    self.refresh = Refresh::Idle;
                }
                self.learn(Known { revision, lease }, revision);
                let counts = self.lease == Some(lease) && revision > self.gone && self.offered && !self.refused;
                if counts {
                    self.written = Some(changes);
                }
            }
            Request::Delete { .. } => self.learn(Known::ABSENT, revision),
            Request::Grant | Request::Read => {}
        }
    }

    /// The lease that our key lives by.
    #[must_use]
    pub const fn lease(&self) -> Option<Lease> {
        self.lease
    }

    /// How many beginnings and ends etcd is known to hold; `None` while this gateway is not counted there.
    #[must_use]
    pub const fn counted(&self) -> Option<u64> {
        self.written
    }

    /// Whether etcd is known to hold nothing of ours.
    #[must_use]
    pub fn is_released(&self) -> bool {
        let ours = |known: Known| self.lease == Some(known.lease);
        self.lease.is_none() || self.known.is_some_and(|known| !ours(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(counter: &mut Counter) -> (u64, Purpose) {
        match counter.next_request() {
            Some(Request::Write { count, purpose, .. }) => (count, purpose),
            other => panic!("{other:?}"),
        }
    }

    fn joined() -> Counter {
        let mut counter = Counter::new();
        counter.connected();
        assert_eq!(counter.next_request(), Some(Request::Grant));
        counter.reply(Reply::Granted(7));
        assert_eq!(counter.next_request(), Some(Request::Read));
        counter.reply(Reply::Found(Known::ABSENT, 5));
        assert_eq!(write(&mut counter), (0, Purpose::Join));
        counter.reply(Reply::Done(10));
        assert_eq!(counter.counted(), Some(0));
        counter
    }

    #[test]
    fn a_start_resets_its_key_whoever_wrote_it() {
        let mut counter = Counter::new();
        counter.connected();
        counter.next_request();
        counter.reply(Reply::Granted(7));
        counter.next_request();
        counter.reply(Reply::Found(Known { revision: 5, lease: 3 }, 5));
        assert_eq!(write(&mut counter), (0, Purpose::Join));
        counter.reply(Reply::Overtaken(Known { revision: 6, lease: 3 }, 6));
        assert_eq!(write(&mut counter), (0, Purpose::Join));
    }

    #[test]
    fn a_change_is_written_again_when_it_was_overtaken_and_a_refresh_is_dropped() {
        let mut counter = joined();
        counter.transfers(1, 1);
        assert_eq!(write(&mut counter), (1, Purpose::Change));
        assert_eq!(counter.next_request(), None, "one request at a time");
        counter.reply(Reply::Overtaken(Known { revision: 11, lease: 0 }, 11));
        assert_eq!(write(&mut counter), (1, Purpose::Change));
        counter.reply(Reply::Done(12));
        assert_eq!((counter.counted(), counter.next_request()), (Some(1), None));

        counter.refresh_due();
        assert_eq!(counter.next_request(), Some(Request::Read));
        counter.reply(Reply::Found(Known { revision: 12, lease: 7 }, 12));
        assert_eq!(write(&mut counter), (1, Purpose::Refresh));
        counter.reply(Reply::Overtaken(Known { revision: 13, lease: 0 }, 13));
        assert_eq!(counter.next_request(), None);
    }

    #[test]
    fn a_refresh_writes_what_runs_now_and_counts_as_a_change() {
        let mut counter = joined();
        counter.refresh_due();
        counter.next_request();
        counter.transfers(2, 2);
        counter.reply(Reply::Found(Known { revision: 10, lease: 7 }, 10));
        assert_eq!(write(&mut counter), (2, Purpose::Refresh));
        counter.reply(Reply::Overtaken(Known { revision: 13, lease: 0 }, 13));
        assert_eq!(write(&mut counter), (2, Purpose::Change), "the refresh is dropped, the change is not");
    }

    #[test]
    fn a_lost_lease_is_replaced_and_a_deleted_key_is_written_again() {
        let mut counter = joined();
        counter.vanished(11);
        assert_eq!(write(&mut counter), (0, Purpose::Join));
        counter.reply(Reply::LeaseGone);
        assert_eq!(counter.next_request(), Some(Request::Grant));
        counter.reply(Reply::Granted(8));
        assert_eq!(counter.next_request(), Some(Request::Read));
        counter.reply(Reply::Found(Known::ABSENT, 12));
        write(&mut counter);
        counter.vanished(20);
        counter.reply(Reply::Done(15));
        assert_eq!(counter.counted(), None, "the deletion came after the write");
        assert_eq!(write(&mut counter), (0, Purpose::Join));
    }

    #[test]
    fn who_leaves_deletes_its_own_key_only() {
        let mut counter = joined();
        counter.offer(false);
        assert!(!counter.is_released());
        assert_eq!(counter.next_request(), Some(Request::Delete { expected: 10 }));
        counter.reply(Reply::Overtaken(Known { revision: 11, lease: 99 }, 11));
        assert_eq!(counter.next_request(), None);
        assert!(counter.is_released());
        counter.offer(true);
        assert_eq!(write(&mut counter), (0, Purpose::Join));
    }

    #[test]
    fn a_late_write_does_not_bring_back_who_has_left() {
        let mut counter = Counter::new();
        counter.connected();
        counter.next_request();
        counter.reply(Reply::Granted(7));
        counter.next_request();
        counter.reply(Reply::Found(Known::ABSENT, 5));
        write(&mut counter);
        counter.offer(false);
        counter.connected();
        assert_eq!(counter.next_request(), Some(Request::Read));
        counter.reply(Reply::Found(Known::ABSENT, 5));
        assert!(counter.is_released() && counter.next_request().is_none());
        counter.seen(Known { revision: 12, lease: 7 });
        assert!(!counter.is_released());
        assert_eq!(counter.next_request(), Some(Request::Delete { expected: 12 }));
    }

    #[test]
    fn who_is_refused_leaves_until_the_group_is_gone() {
        let mut counter = joined();
        counter.refresh_due();
        counter.next_request();
        counter.reply(Reply::Found(Known { revision: 10, lease: 7 }, 10));
        write(&mut counter);
        counter.reply(Reply::Refused);
        assert_eq!(counter.next_request(), Some(Request::Delete { expected: 10 }));
        counter.reply(Reply::Done(11));
        assert_eq!((counter.next_request(), counter.counted()), (None, None));
        counter.refuse(false);
        assert_eq!(write(&mut counter), (0, Purpose::Join));
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_ignored() {
        let mut counter = joined();
        counter.transfers(1, 1);
        write(&mut counter);
        counter.connected();
        counter.reply(Reply::Done(11));
        assert_eq!(counter.counted(), None);
        assert_eq!(counter.next_request(), Some(Request::Read), "the lease is kept, the key is read again");
    }
}
