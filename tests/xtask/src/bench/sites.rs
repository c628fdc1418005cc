//! Two Ceph clusters, the source's and the target's, and what work costs them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rsnap_test_ceph::{Cluster, Options};

use super::rig::Rig;
use crate::gateway::Gateway;

pub(super) const POOL: &str = "volumes";
/// The unit of times in `/proc`, part of the kernel's interface to programs.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long the OSDs may clear up between turns before the next one begins in any case.
const SETTLE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Sites {
    pub(super) source: Cluster,
    pub(super) target: Cluster,
}

/// What one turn cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// Seconds on the wall.
    pub(super) wall: f64,
    /// Core-seconds of everything that moves the data: tools, gateway.
    pub(super) programs: f64,
    /// Core-seconds of the daemons of both clusters.
    pub(super) clusters: f64,
}

impl Sites {
    /// On disks, with object maps as every Ceph release since 2016 makes them.
    pub(super) fn start() -> Result<Self> {
        let start = || Cluster::start(&Options::bluestore());
        Ok(Self { source: start()?, target: start()? })
    }

    /// Applies an rbd-diff stream in a file to an image of the source, which is made if it is not there.
    pub(super) fn load(&self, image: &str, stream: &Path) -> Result<()> {
        let stream = stream.to_str().context("a path is not UTF-8")?;
        if self.source.rbd(&["info", image]).is_err() {
            self.source.rbd(&["create", image, "--size", "1M"])?;
        }
        self.source.rbd(&["import-diff", stream, image]).map(drop)
    }

    /// Waits until the OSDs have cleared up what was deleted: that belongs to no turn.
    pub(super) fn settle(&self, rig: &Rig) -> Result<()> {
        rig.settle()?;
        let started = Instant::now();
        while started.elapsed() < SETTLE {
            let before = self.core_seconds()?;
            std::thread::sleep(Duration::from_millis(500));
            if self.core_seconds()? - before < 0.05 {
                break;
            }
        }
        Ok(())
    }

    /// Runs commands to their ends and says what that cost. The gateway, if one takes part, runs before and after.
    pub(super) fn measure(&self, gateway: Option<&Gateway>, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
        let programs = || -> Result<f64> {
            let gateway = gateway.map_or(Ok(0.0), |gateway| process(gateway.id()))?;
            Ok(gateway + ended_children()?)
        };
        let (programs_before, clusters_before, started) = (programs()?, self.core_seconds()?, Instant::now());
        work()?;
        let wall = started.elapsed().as_secs_f64();
        Ok(Cost { wall, programs: programs()? - programs_before, clusters: self.core_seconds()? - clusters_before })
    }

    fn core_seconds(&self) -> Result<f64> {
        let mut sum = 0.0;
        for cluster in [&self.source, &self.target] {
            sum += process(cluster.monitor_id())?;
            sum += process(cluster.osd_id().context("an OSD is gone")?)?;
        }
        Ok(sum)
    }
}

/// Core-seconds that a process has used.
fn process(id: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).with_context(|| format!("process {id} is gone"))?;
    Ok(times(&text)?.0)
}

/// Core-seconds of all child processes, and theirs, that have ended and were waited for.
fn ended_children() -> Result<f64> {
    Ok(times(&std::fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?)?.1)
}

/// A process's own time and its ended children's, from the text of `/proc/<id>/stat`. The name in parentheses may
/// have blanks in it.
fn times(text: &str) -> Result<(f64, f64)> {
    let (_, rest) = text.rsplit_once(") ").context("/proc has another format")?;
    let fields: Vec<f64> = rest.split(' ').skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    match fields[..] {
        [user, system, children_user, children_system] => {
            Ok(((user + system) / TICKS_PER_SECOND, (children_user + children_system) / TICKS_PER_SECOND))
        }
        _ => anyhow::bail!("/proc has another format"),
    }
}

/// A command of the target's side that must not find the source's cluster by accident, and the other way round.
pub(super) fn at(cluster: &Cluster, command: &mut Command) {
    command.env("CEPH_CONF", cluster.configuration()).env_remove("CEPH_ARGS");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_any_name() {
        let text = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 100 50 30 20 0 0";
        assert_eq!(times(text).unwrap(), (1.5, 0.5));
        assert!(times("12 (a) S 1").is_err());
    }
}
