//! What the task that talks to etcd and those who answer requests have in common.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::balance::Balance;
use super::horizon::Moment;
use super::view::View;

/// What is known now. Held for the time of a choice among the gateways, never across a wait.
#[derive(Debug)]
pub(super) struct State {
    pub(super) view: View,
    pub(super) balance: Balance,
    /// When the balance last looked at the view; `None` when either has changed since.
    pub(super) looked: Option<Moment>,
    /// Whether etcd answers.
    pub(super) connected: bool,
    /// When etcd last said anything.
    pub(super) heard: Option<Moment>,
    /// Why this gateway may not join.
    pub(super) refusal: Option<String>,
    /// Whether this gateway may be named.
    pub(super) offered: bool,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    state: Arc<Mutex<State>>,
    beginning: Instant,
}

impl Shared {
    pub(super) fn new(view: View, balance: Balance) -> Self {
        let state = State { view, balance, looked: None, connected: false, heard: None, refusal: None, offered: true };
        Self { state: Arc::new(Mutex::new(state)), beginning: Instant::now() }
    }

    /// Now, by a clock that only goes forwards.
    pub(super) fn now(&self) -> Moment {
        self.beginning.elapsed()
    }

    pub(super) fn edit<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        edit(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
