//! The two sites: dc1, where the volume lives, and dc2, which will have the copy.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Stage, story};
use crate::gateway::{Gateway, Settings};
use crate::process;
use crate::steps::Steps;

/// In the demo's directory: the process ids of sites that were left running.
const LEFT: &str = "running";

#[derive(Debug)]
pub(super) struct Sites {
    /// Not there between its loss and its return.
    dc1: Option<Gateway>,
    first: Settings,
    pub(super) dc2: Gateway,
}

impl Sites {
    pub(super) fn start(stage: &Stage, steps: &Steps) -> Result<Self> {
        let mut first = Settings::new("dc1", &stage.directory.join("dc1"), stage.plugins.clone())?;
        let mut second = Settings::new("dc2", &stage.directory.join("dc2"), stage.plugins.clone())?;
        let known = vec![("dc1".to_owned(), first.port), ("dc2".to_owned(), second.port)];
        first.sites.clone_from(&known);
        second.sites = known;
        let dc1 = Some(start(stage, first.clone(), steps)?);
        Ok(Self { dc1, first, dc2: start(stage, second, steps)? })
    }

    pub(super) fn dc1(&self) -> Result<&Gateway> {
        self.dc1.as_ref().context("dc1 is lost")
    }

    /// The gateway of dc1 and all that it holds are gone.
    pub(super) fn lose_dc1(&mut self) -> Result<()> {
        self.dc1 = None;
        std::fs::remove_dir_all(&self.first.directory).context("cannot remove dc1")
    }

    /// An empty dc1 at its old address.
    pub(super) fn rebuild_dc1(&mut self, stage: &Stage, steps: &Steps) -> Result<()> {
        self.dc1 = Some(start(stage, self.first.clone(), steps)?);
        Ok(())
    }

    /// Leaves both running, says how to use them, and remembers them for the next demo, which stops them.
    pub(super) fn leave(self, stage: &Stage, steps: &Steps) -> Result<()> {
        let ids = format!("{} {}", self.dc1()?.id(), self.dc2.id());
        std::fs::write(stage.directory.join(LEFT), &ids).context("cannot note what is left running")?;
        story::invite(stage, &self.dc2, steps);
        steps.line("# Stop both sites");
        steps.line(format!("kill {ids}"));
        self.dc1.into_iter().for_each(Gateway::leave);
        self.dc2.leave();
        Ok(())
    }
}

fn start(stage: &Stage, settings: Settings, steps: &Steps) -> Result<Gateway> {
    let label = format!("{}: https://127.0.0.1:{}", settings.site, settings.port);
    steps.timed(&label, || Gateway::start(&stage.binary, settings))
}

/// Stops the sites that an earlier demo left. A process id may have been given to another program since, so only a
/// process whose command line names the demo's directory is one of ours.
pub(super) fn stop_left(directory: &Path) {
    let ids = std::fs::read_to_string(directory.join(LEFT)).unwrap_or_default();
    for id in ids.split_whitespace().filter_map(|word| word.parse::<u32>().ok()) {
        if is_ours(id, directory) && process::terminate(id) {
            wait_for_end(id, directory);
        }
    }
}

fn is_ours(id: u32, directory: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains(&*directory.to_string_lossy())
}

fn wait_for_end(id: u32, directory: &Path) {
    let started = Instant::now();
    while is_ours(id, directory) && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
}
