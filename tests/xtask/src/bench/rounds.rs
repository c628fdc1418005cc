//! Taking turns.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::rig::Rig;
use super::sample::Sample;
use crate::process;

/// Who takes part, and how one turn of it is measured. The number given is unique in the row.
pub(super) struct Contestant<'a> {
    what: &'static str,
    turn: Box<dyn FnMut(usize) -> Result<f64> + 'a>,
}

impl<'a> Contestant<'a> {
    pub(super) fn new(what: &'static str, turn: impl FnMut(usize) -> Result<f64> + 'a) -> Self {
        Self { what, turn: Box::new(turn) }
    }
}

/// Lets all take `turns` turns, after one that does not count. Every second round goes the other way, so that a
/// machine that grows warm or a disk that fills is nobody's advantage.
pub(super) fn alternate<const N: usize>(
    rig: &Rig,
    turns: usize,
    mut contestants: [Contestant<'_>; N],
) -> Result<[Sample; N]> {
    let mut values: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(turns));
    for round in 0..=turns {
        let mut entries: Vec<_> = contestants.iter_mut().zip(&mut values).enumerate().collect();
        if round % 2 == 1 {
            entries.reverse();
        }
        for (index, (contestant, values)) in entries {
            rig.settle()?;
            let value = (contestant.turn)(round * N + index).with_context(|| format!("{} failed", contestant.what))?;
            if round > 0 {
                values.push(value);
            }
        }
    }
    let samples: Vec<Sample> = values.into_iter().map(Sample::new).collect::<Result<_>>()?;
    samples.try_into().ok().context("a contestant was lost")
}

/// How long a command takes, in seconds.
pub(super) fn seconds(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    process::quiet(command)?;
    Ok(started.elapsed().as_secs_f64())
}
