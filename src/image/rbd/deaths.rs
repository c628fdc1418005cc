//! What happens in the middle of a commit, or of beginning an upload or taking one over, for tests.

use std::fmt;
use std::sync::Mutex;

use super::publish::Step;
use super::session::Session;
use super::store::Shared;
use super::upload;
use crate::image::ImageError;

/// Where a gateway can die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    Commit(Step),
    Upload(upload::Step),
}

impl From<Step> for Gap {
    fn from(step: Step) -> Self {
        Self::Commit(step)
    }
}

impl From<upload::Step> for Gap {
    fn from(step: upload::Step) -> Self {
        Self::Upload(step)
    }
}

/// What happens in the next of them in a store.
#[derive(Default)]
pub(super) struct Deaths(Mutex<Option<(Gap, Happening)>>);

type Happening = Box<dyn FnOnce(&Shared, &Session) -> Result<(), ImageError> + Send>;

impl fmt::Debug for Deaths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Deaths")
    }
}

impl Deaths {
    /// The writer ends as a dead gateway ends: in the middle, with its lock and its watch left behind.
    pub(super) fn at(&self, step: impl Into<Gap>) {
        self.put(step, |shared, session| {
            let executioner = shared.connect().unwrap();
            executioner.blocklist(session.address(), 3600).unwrap();
            Err(ImageError::Fenced)
        });
    }

    /// Somebody does something, and the work goes on.
    pub(super) fn meanwhile(&self, step: impl Into<Gap>, happening: impl FnOnce() + Send + 'static) {
        self.put(step, move |_, _| {
            happening();
            Ok(())
        });
    }

    fn put(
        &self,
        step: impl Into<Gap>,
        happening: impl FnOnce(&Shared, &Session) -> Result<(), ImageError> + Send + 'static,
    ) {
        *self.0.lock().unwrap() = Some((step.into(), Box::new(happening)));
    }

    pub(super) fn strike(&self, shared: &Shared, session: &Session, step: impl Into<Gap>) -> Result<(), ImageError> {
        let step = step.into();
        let happening = self.0.lock().unwrap().take_if(|(at, _)| *at == step);
        happening.map_or(Ok(()), |(_, happening)| happening(shared, session))
    }
}
