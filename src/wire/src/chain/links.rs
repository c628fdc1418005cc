//! How the diffs of a chain hang together: each starts from the one before, the last one is the head.
//!
//! `rbd import` looks for the named base among all snapshots of the target and never asks whether it is the newest one.

use crate::error::Fault;
use crate::event::Event;

/// Names of the diff at hand and of the one before.
#[derive(Debug)]
pub(super) struct Links {
    left: u64,
    previous: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

impl Links {
    /// A chain of `count` diffs.
    pub(super) fn new(count: u64) -> Self {
        Self { left: count, previous: None, from: None, to: None }
    }

    /// Takes notice of an event, and says why it cannot be.
    pub(super) fn take(&mut self, event: &Event<'_>) -> Result<(), Fault> {
        match event {
            Event::From(name) => self.set_from(name),
            Event::To(name) => self.set_to(name),
            Event::Protected(_) | Event::Size(_) => Ok(()),
            Event::Data { .. } | Event::Zero { .. } => self.check(),
            Event::End => self.check().map(|()| self.advance()),
        }
    }

    /// Diffs that have not ended yet.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    fn set_from(&mut self, name: &str) -> Result<(), Fault> {
        self.from = Some(name.to_owned());
        self.check_base()
    }

    fn set_to(&mut self, name: &str) -> Result<(), Fault> {
        if self.left == 1 {
            return Err(Fault::NamedHead { found: name.to_owned() });
        }
        self.to = Some(name.to_owned());
        Ok(())
    }

    fn check(&self) -> Result<(), Fault> {
        self.check_base()?;
        if self.to.is_none() && self.left > 1 { Err(Fault::Unnamed) } else { Ok(()) }
    }

    fn check_base(&self) -> Result<(), Fault> {
        if self.from == self.previous {
            return Ok(());
        }
        Err(Fault::Base { found: self.from.clone(), expected: self.previous.clone() })
    }

    fn advance(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.previous = self.to.take();
        self.from = None;
    }
}
