//! `cargo xtask kit`: plugins as newcomers make them. For each language and kind, `rsnap plugin new`, its build script,
//! `rsnap plugin test`; and the examples, which must also answer what they say.
//!
//! Rust and C are built each time, which takes seconds. A component from Python or JavaScript takes half a minute, so it
//! is kept in the target directory under a name that is made of everything it is built from. The tools of these languages
//! are installed there once, in the versions that the templates name.

mod example;
mod job;
mod tools;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

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

/// Makes and tests all plugins in these languages.
pub(crate) fn make(root: &Path, steps: &Steps, languages: &[&str]) -> Result<Made> {
    let started = Instant::now();
    let folder = build::target(root).join("kit");
    if folder.exists() {
        // What compilers made stays.
        for entry in std::fs::read_dir(&folder)?.flatten().filter(|entry| entry.file_name() != job::RUST_TARGET) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    std::fs::create_dir_all(&folder)?;
    let mut made = Made::default();
    for language in languages {
        let tools = Tools::of(root, language, steps)?;
        let scaffolds = KINDS.iter().map(|kind| Job::scaffold(language, kind));
        for job in scaffolds.chain(example::all(root, language)?) {
            let before = Instant::now();
            match job.run(root, &folder, &tools) {
                Ok(how) => {
                    made.passed += 1;
                    steps.check(format!("{:<40}{how:>10} {:>12}", job.name(), steps::duration(before.elapsed())));
                }
                Err(error) => {
                    made.failed += 1;
                    steps.fault(job.name());
                    steps.lines(&format!("{error:#}"));
                }
            }
        }
    }
    made.time = started.elapsed();
    Ok(made)
}
