//! What lies in `deploy/` for programs that are not ours: the systemd units, by systemd's own judgement, and the
//! image's recipe, as far as it can be judged without building it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::build;
use crate::packages::{self, SYSTEMD};
use crate::process;
use crate::steps::Steps;

const UNITS: [&str; 2] = ["rsnap.service", "cinder-rsnap.service"];
/// What they start.
const PROGRAMS: [&str; 3] = ["usr/local/bin/rsnap", "usr/local/bin/cinder-rsnap", "bin/kill"];
/// What `systemd-analyze security` may find, in tenths: the network that both need, and the gateway's machine code.
const EXPOSURE: &str = "20";
const RECIPE: &str = "deploy/container/Containerfile";

pub(super) fn check(root: &Path, steps: &Steps) -> Result<()> {
    packages::ensure(steps, &[SYSTEMD])?;
    steps.timed("systemd-analyze verify", || verify(root))?;
    steps.timed("systemd-analyze security", || UNITS.iter().try_for_each(|unit| exposure(root, unit)))?;
    let text = fs::read_to_string(root.join(RECIPE)).with_context(|| format!("cannot read {RECIPE}"))?;
    let version = rust_version(root)?;
    let faults = recipe_faults(&text, &version, |path| root.join(path).exists());
    if faults.is_empty() { Ok(()) } else { bail!("{RECIPE}: {}", faults.join("; ")) }
}

/// Runs in a tree with the programs that the units name; a line about anything is a fault.
fn verify(root: &Path) -> Result<()> {
    let tree = build::target(root).join("lint/systemd");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for program in PROGRAMS {
        let file = tree.join(program);
        fs::create_dir_all(file.parent().context("a program lies in a folder")?)?;
        fs::write(&file, "")?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    fs::create_dir_all(tree.join("usr/lib/systemd"))?;
    // A copy with its links: systemd follows them within the tree.
    let mut copy = Command::new("cp");
    process::quiet(copy.args(["--archive", "/usr/lib/systemd/system"]).arg(tree.join("usr/lib/systemd/system")))?;
    fs::create_dir_all(tree.join("etc/systemd/system"))?;
    for unit in UNITS {
        fs::copy(root.join("deploy/systemd").join(unit), tree.join("etc/systemd/system").join(unit))?;
    }
    let mut command = packages::tool("systemd-analyze")?;
    let output = command.args(["verify", "--man=no", &format!("--root={}", tree.display())]).args(UNITS).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.trim().is_empty(), "{}: {}", UNITS.join(", "), said.trim());
    Ok(())
}

fn exposure(root: &Path, unit: &str) -> Result<()> {
    let mut command = packages::tool("systemd-analyze")?;
    command.args(["security", "--no-pager", "--offline=true", &format!("--threshold={EXPOSURE}")]);
    process::quiet(command.arg(root.join("deploy/systemd").join(unit)))
}

fn rust_version(root: &Path) -> Result<String> {
    let table: toml::Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
    let version = table.get("workspace").and_then(|table| table.get("package")?.get("rust-version")?.as_str());
    Ok(version.context("Cargo.toml has no rust-version")?.to_owned())
}

/// What would make the image fail, grow old unnoticed or run as root.
fn recipe_faults(text: &str, rust_version: &str, is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    let mut placed = BTreeSet::new();
    let (mut user, mut entry) = ("", "");
    let lines = text.lines().filter_map(|line| line.split_once(' ')).filter(|(word, _)| *word != "#");
    for (instruction, rest) in lines {
        let mut words: Vec<&str> = rest.split_whitespace().collect();
        match instruction {
            "FROM" => {
                let image = words.first().copied().unwrap_or_default();
                if !image.rsplit('/').next().is_some_and(|name| name.contains(':')) || image.ends_with(":latest") {
                    faults.push(format!("{image} has no fixed version"));
                }
                if image.contains("/rust:") && !image.contains(&format!("rust:{rust_version}-")) {
                    faults.push(format!("{image} is not the Rust {rust_version} of Cargo.toml"));
                }
            }
            "COPY" if rest.starts_with("--from=") => placed.extend(words.pop()),
            "COPY" => {
                let sources = words.split_last().map(|(_, sources)| sources).unwrap_or_default();
                let missing = sources.iter().filter(|source| !is_there(source));
                faults.extend(missing.map(|source| format!("{source} is not in the repository")));
            }
            "USER" => user = rest,
            "ENTRYPOINT" => entry = rest.trim_matches(|c| "[]\"".contains(c)),
            _ => {}
        }
    }
    if user.is_empty() || user.starts_with('0') || !user.starts_with(|c: char| c.is_ascii_digit()) {
        faults.push("it must end as a user with a number other than 0".to_owned());
    }
    if !placed.contains(entry) {
        faults.push(format!("its entry point {entry:?} is not copied into it"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "FROM docker.io/library/rust:1.95-bookworm AS build\nCOPY src wit ./\n\
                        FROM docker.io/library/debian:bookworm-slim\nCOPY --from=build /b/rsnap /bin/rsnap\n\
                        USER 10001:10001\nENTRYPOINT [\"/bin/rsnap\"]\n";

    fn faults(text: &str) -> usize {
        recipe_faults(text, "1.95", |path| path != "gone").len()
    }

    #[test]
    fn faults_of_a_recipe_are_found() {
        assert_eq!(faults(GOOD), 0);
        for (from, to) in [
            ("rust:1.95-bookworm", "rust:1.94-bookworm"),
            ("debian:bookworm-slim", "debian"),
            ("debian:bookworm-slim", "debian:latest"),
            ("src wit", "src gone"),
            ("USER 10001:10001\n", ""),
            ("USER 10001:10001", "USER root"),
            ("USER 10001:10001", "USER 0"),
            ("[\"/bin/rsnap\"]", "[\"/bin/other\"]"),
        ] {
            assert_eq!(faults(&GOOD.replace(from, to)), 1, "{from} -> {to}");
        }
    }
}
