//! `cargo xtask kit`: plugins as newcomers make them. For each language and kind, `rsnap plugin new`, its build script,
//! `rsnap plugin test`; the examples, which must also answer what they say; and the guide, which is done as it says.
//!
//! Rust and C are built each time, which takes seconds. A component from Python or JavaScript takes half a minute, so it
//! is kept in the target directory under a name that is made of everything it is built from. The tools of these languages
//! are installed there once, in the versions that the templates name.

mod example;
mod guide;
mod job;
mod tools;
mod vendor;

use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::{self, Profile};
use crate::steps::{self, Steps};
use job::Job;
use tools::Tools;

pub(crate) const LANGUAGES: [&str; 4] = ["rust", "c", "python", "javascript"];
const KINDS: [&str; 3] = ["policy", "resolver", "writer"];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One language only
    #[arg(value_parser = LANGUAGES)]
    language: Option<String>,
}

/// How it went.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) time: Duration,
}

impl Made {
    /// Counts and tells how one went, and how long it took.
    fn record<T: Display>(&mut self, steps: &Steps, name: &str, make: impl FnOnce() -> Result<T>) {
        let before = Instant::now();
        match make() {
            Ok(how) => {
                self.passed += 1;
                steps.check(format!("{name:<40}{how:>14} {:>12}", steps::duration(before.elapsed())));
            }
            Err(error) => {
                self.failed += 1;
                steps.fault(name);
                steps.lines(&format!("{error:#}"));
            }
        }
    }
}

/// `cargo xtask kit`.
pub(crate) fn chore(root: &Path, arguments: &Arguments) -> Result<()> {
    let mut steps = Steps::new("Kit", 2);
    steps.step("Build the gateway");
    build::guests(root, &steps)?;
    build::programs(root, &steps, Profile::Dev)?;
    steps.step("Make a plugin of each kind in each language, and the examples");
    let languages: Vec<&str> = LANGUAGES
        .into_iter()
        .filter(|known| arguments.language.as_deref().is_none_or(|wanted| wanted == *known))
        .collect();
    let made = make(root, &steps, &languages)?;
    if made.failed > 0 {
        bail!("{} of {} plugins are not as they should be", made.failed, made.failed + made.passed);
    }
    steps.finish(&format!("{} plugins are built and keep the contract", made.passed));
    Ok(())
}

/// Removes what an earlier run left.
fn anew(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Makes and tests all plugins in these languages.
pub(crate) fn make(root: &Path, steps: &Steps, languages: &[&str]) -> Result<Made> {
    let started = Instant::now();
    let folder = build::target(root).join("kit");
    std::fs::create_dir_all(&folder)?;
    let mut made = Made::default();
    for language in languages {
        let tools = Tools::of(root, language, steps)?;
        let scaffolds = KINDS.iter().map(|kind| Job::scaffold(language, kind));
        for job in scaffolds.chain(example::all(root, language)?) {
            made.record(steps, &job.name(), || job.run(root, &folder, &tools));
        }
        if *language == "rust" {
            made.record(steps, "the guide", || guide::follow(root, &folder.join("guide")));
        }
    }
    made.time = started.elapsed();
    Ok(made)
}
