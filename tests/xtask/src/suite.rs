//! `cargo xtask test`: every test there is, with one table at the end.
//!
//! `cargo test` and nothing else runs them, so that no other tool has to be installed. A line for each test that
//! passes is noise of hundreds of lines: it goes to a log, failures and the table go to the person.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::asan;
use crate::build;
use crate::foreign;
use crate::kit;
use crate::openstack;
use crate::packages;
use crate::process;
use crate::steps::{self, Steps};

/// Inputs for each fuzz target: enough to find what a careless change breaks, in seconds.
const FUZZ_RUNS: &str = "200000";
/// What libFuzzer says when it does not see which code an input reaches.
const FUZZ_BLIND: &str = "no interesting inputs were found";

/// How one suite went.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Outcome {
    suite: String,
    passed: u64,
    failed: u64,
    ignored: u64,
    time: Duration,
    /// The command itself failed: a test did, or something does not compile.
    broken: bool,
}

/// `cargo xtask test`.
pub(crate) fn chore(root: &Path) -> Result<()> {
    let mut steps = Steps::new("Test", 7);
    steps.step("Build the plugins, install what the tests talk to");
    packages::ensure(&steps, &packages::tests())?;
    packages::ensure(&steps, &packages::PROTOC)?;
    build::guests(root, &steps)?;
    openstack::prepare(root, &steps)?;
    foreign::prepare(root, &steps)?;

    steps.step("Test the gateway, its leaf crates and the tools");
    let mut outcomes =
        vec![tests(root, "gateway", build::cargo(root).args(["test", "--workspace", "--no-fail-fast"]))?];

    steps.step("Test the plugins on this machine's own processor");
    outcomes.push(tests(root, "plugins", &mut plugin_tests(root))?);

    steps.step("Make plugins in each language as a newcomer would, and test them");
    outcomes.push(newcomers(root, &steps)?);

    steps.step("Copy snapshots between two OpenStack sites");
    outcomes.push(copies(root, &steps)?);

    steps.step("Test the crate that binds Ceph under the address sanitiser");
    outcomes.push(tests(root, "sanitised", &mut asan::tests(root))?);
    asan::alarm(root, &steps)?;

    steps.step("Fuzz the decoders");
    steps.timed("cargo build, with coverage", || {
        process::run(fuzz_cargo(root).args(["build", "--quiet", "--release"]))
    })?;
    for target in fuzz_targets(root)? {
        outcomes.push(fuzz(root, &target)?);
    }
    summarise(&steps, &outcomes)
}

fn newcomers(root: &Path, steps: &Steps) -> Result<Outcome> {
    build::programs(root, steps, build::Profile::Dev)?;
    let kit::Made { passed, failed, time } = kit::make(root, steps, &kit::LANGUAGES)?;
    Ok(Outcome { suite: "new plugins".to_owned(), passed, failed, ignored: 0, time, broken: failed > 0 })
}

/// The rest of these tests takes half an hour: `cargo xtask openstack test`.
fn copies(root: &Path, steps: &Steps) -> Result<Outcome> {
    let started = Instant::now();
    let result = openstack::part(root, steps);
    if let Err(error) = &result {
        steps.fault("two sites");
        steps.lines(&format!("{error:#}"));
    }
    let (passed, failed) = (result.as_ref().copied().unwrap_or(0), u64::from(result.is_err()));
    let (suite, time) = ("OpenStack, the part".to_owned(), started.elapsed());
    Ok(Outcome { suite, passed, failed, ignored: 0, time, broken: failed > 0 })
}

fn plugin_tests(root: &Path) -> Command {
    let mut command = build::cargo(root);
    command.env("CARGO_TARGET_DIR", build::target(root).join("guests/host"));
    command.args(["test", "--workspace", "--no-fail-fast", "--manifest-path"]).arg(root.join("plugins/Cargo.toml"));
    command
}

/// Runs one `cargo test`, showing all but the tests that pass.
fn tests(root: &Path, suite: &str, command: &mut Command) -> Result<Outcome> {
    let started = Instant::now();
    let log = build::target(root).join(format!("test-{suite}.log"));
    let mut log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| process::words(command))?;
    let mut outcome = Outcome { suite: suite.to_owned(), ..Outcome::default() };
    for line in BufReader::new(child.stdout.take().context("cargo has no output")?).lines() {
        let line = line?;
        writeln!(log, "{line}")?;
        outcome.count(&line);
        if !is_noise(&line) {
            writeln!(std::io::stderr(), "      {line}")?;
        }
    }
    outcome.broken = !child.wait()?.success();
    outcome.time = started.elapsed();
    Ok(outcome)
}

/// Lines that say that all is well, and those between them.
fn is_noise(line: &str) -> bool {
    let passed = line.starts_with("test ") && (line.ends_with(" ok") || line.contains(" ... ignored"));
    let started = line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test"));
    passed || started || line.trim().is_empty() || line.starts_with("test result: ok.")
}

impl Outcome {
    /// Adds what a `test result:` line says.
    fn count(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for (number, what) in counts.split("; ").filter_map(|part| part.split_once(' ')) {
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

fn fuzz_manifest(root: &Path) -> PathBuf {
    root.join("tests/fuzz/Cargo.toml")
}

/// The names of the fuzz targets: the programs of their workspace.
fn fuzz_targets(root: &Path) -> Result<Vec<String>> {
    let manifest = fuzz_manifest(root);
    let text = std::fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let table: toml::Table = text.parse().with_context(|| format!("{} is not TOML", manifest.display()))?;
    let programs = table.get("bin").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let names = programs.iter().filter_map(|program| program.get("name")?.as_str().map(str::to_owned));
    Ok(names.collect())
}

/// `cargo` in the fuzz targets' folder, where their flags are; flags in the environment would replace them.
fn fuzz_cargo(root: &Path) -> Command {
    let mut command = build::cargo(root);
    command.current_dir(root.join("tests/fuzz")).env("CARGO_TARGET_DIR", build::target(root).join("fuzz"));
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

fn fuzz(root: &Path, target: &str) -> Result<Outcome> {
    let started = Instant::now();
    std::fs::create_dir_all(root.join("tests/fuzz/artifacts")).context("cannot make a folder for findings")?;
    let mut command = fuzz_cargo(root);
    command.args(["run", "--quiet", "--release", "--bin", target, "--", &format!("-runs={FUZZ_RUNS}")]);
    command.args([
        "-max_len=512",
        "-timeout=10",
        "-rss_limit_mb=512",
        &format!("-artifact_prefix=artifacts/{target}-"),
    ]);
    let output = command.output().context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let broken = !output.status.success() || said.contains(FUZZ_BLIND);
    if broken {
        writeln!(std::io::stderr(), "{said}")?;
    }
    let (passed, failed) = if broken { (0, 1) } else { (1, 0) };
    let suite = format!("fuzz {target}, {FUZZ_RUNS} inputs");
    Ok(Outcome { suite, passed, failed, ignored: 0, time: started.elapsed(), broken })
}

fn summarise(steps: &Steps, outcomes: &[Outcome]) -> Result<()> {
    steps.line("");
    steps.line(format!("{:<40}{:>8}{:>8}{:>9}{:>16}", "suite", "passed", "failed", "ignored", "time"));
    for one in outcomes {
        let time = steps::duration(one.time);
        steps.line(format!("{:<40}{:>8}{:>8}{:>9}{time:>16}", one.suite, one.passed, one.failed, one.ignored));
    }
    let broken: Vec<&str> = outcomes.iter().filter(|one| one.broken).map(|one| one.suite.as_str()).collect();
    if !broken.is_empty() {
        bail!("not all tests pass: {}", broken.join("; "));
    }
    let passed: u64 = outcomes.iter().map(|one| one.passed).sum();
    steps.finish(&format!("all {passed} passed"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut outcome = Outcome::default();
        outcome.count("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        outcome.count("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        outcome.count("test image::tests::reads ... ok");
        assert_eq!((outcome.passed, outcome.failed, outcome.ignored), (15, 2, 1));
    }

    #[test]
    fn failures_are_not_noise() {
        assert!(is_noise("test a::b ... ok") && is_noise("running 3 tests") && is_noise(""));
        assert!(!is_noise("test a::b ... FAILED") && !is_noise("thread 'a' panicked") && !is_noise("failures:"));
        assert!(!is_noise("test result: FAILED. 3 passed; 2 failed"));
    }
}
