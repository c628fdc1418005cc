//! The dependencies, by the rules in `.cargo/deny.toml`.
//!
//! cargo-deny checks them all, and it takes minutes to compile: it is used where it is installed. Everywhere else
//! the licences and the bans are checked here by the same file, and it is said that advisories were not.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::packages;
use crate::process;
use crate::steps::Steps;

const RULES: &str = ".cargo/deny.toml";

pub(super) fn check(root: &Path, steps: &Steps) -> Result<()> {
    if packages::find("cargo-deny").is_some() {
        return steps.timed("cargo deny check", || process::run(build::cargo(root).args(["deny", "check"])));
    }
    steps.line("cargo-deny is not installed: advisories and sources are not checked (cargo install cargo-deny)");
    let checked = steps.timed("licences and bans", || without_cargo_deny(root))?;
    steps.line(format!("{checked} packages"));
    Ok(())
}

/// The rules that are checked here.
struct Rules {
    licences: BTreeSet<String>,
    banned: BTreeSet<String>,
}

impl Rules {
    fn read(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().with_context(|| format!("{RULES} is not TOML"))?;
        let list = |section: &str, key: &str| {
            let list = table.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_array).cloned();
            list.with_context(|| format!("{RULES} has no list {section}.{key}"))
        };
        let licences = list("licenses", "allow")?.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect();
        let banned =
            list("bans", "deny")?.iter().filter_map(|ban| ban.get("crate")?.as_str().map(str::to_owned)).collect();
        Ok(Self { licences, banned })
    }

    /// What is wrong with a package, given as `name version <tab> licence`.
    fn fault(&self, line: &str) -> Option<String> {
        let (package, licence) = line.split_once('\t')?;
        let (name, licence) = (package.split(' ').next()?, licence);
        if self.banned.contains(name) {
            return Some(format!("{name}: banned, {RULES} says why (cargo tree --invert {name})"));
        }
        (!self.permits(licence)).then(|| format!("{name}: licence {licence:?} is not in {RULES}"))
    }

    /// Whether the allowed licences satisfy an SPDX expression.
    fn permits(&self, expression: &str) -> bool {
        let mut words = words(expression);
        words.reverse();
        !words.is_empty() && self.any_of(&mut words) && words.is_empty()
    }

    /// `a OR b`; the words are consumed from the end of the list.
    fn any_of(&self, words: &mut Vec<String>) -> bool {
        let mut permitted = self.all_of(words);
        while words.pop_if(|word| word == "OR" || word == "/").is_some() {
            permitted |= self.all_of(words);
        }
        permitted
    }

    /// `a AND b`, which binds tighter.
    fn all_of(&self, words: &mut Vec<String>) -> bool {
        let mut permitted = self.one(words);
        while words.pop_if(|word| word == "AND").is_some() {
            permitted &= self.one(words);
        }
        permitted
    }

    fn one(&self, words: &mut Vec<String>) -> bool {
        match words.pop().as_deref() {
            Some("(") => {
                let permitted = self.any_of(words);
                words.pop_if(|word| word == ")").is_some() && permitted
            }
            Some(licence) if words.pop_if(|word| word == "WITH").is_some() => {
                let exception = words.pop().unwrap_or_default();
                self.licences.contains(&format!("{licence} WITH {exception}")) || self.licences.contains(licence)
            }
            Some(licence) => self.licences.contains(licence),
            None => false,
        }
    }
}

/// The words of an SPDX expression. Old packages write `/` for OR.
fn words(expression: &str) -> Vec<String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " / ");
    spaced.split_whitespace().map(str::to_owned).collect()
}

/// Checks every package that this platform compiles and gives their number. Empty lines of `cargo tree` part the
/// trees, `(*)` marks what was shown before. `cargo tree` and not `cargo metadata`: the latter also lists what features could add and do not.
fn without_cargo_deny(root: &Path) -> Result<usize> {
    let rules =
        Rules::read(&std::fs::read_to_string(root.join(RULES)).with_context(|| format!("cannot read {RULES}"))?)?;
    let arguments = ["tree", "--workspace", "--locked", "--prefix=none", "--format={p}\t{l}"];
    let tree = process::capture(build::cargo(root).args(arguments))?;
    let packages: BTreeSet<&str> =
        tree.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty()).collect();
    let faults: Vec<String> = packages.iter().filter_map(|package| rules.fault(package)).collect();
    if faults.is_empty() { Ok(packages.len()) } else { bail!("{}", faults.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[licenses]\nallow = ['MIT', 'Apache-2.0', 'Apache-2.0 WITH LLVM-exception']\n\
                        [bans]\ndeny = [{ crate = 'ring', reason = 'one provider' }]";

    #[test]
    fn licence_expressions_are_understood() {
        let rules = Rules::read(TEXT).unwrap();
        for fine in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(GPL-3.0 OR MIT) AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception OR X",
        ] {
            assert!(rules.permits(fine), "{fine} was refused");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND X", "(MIT", "MIT MIT"] {
            assert!(!rules.permits(bad), "{bad} was permitted");
        }
    }

    #[test]
    fn banned_packages_are_named() {
        let rules = Rules::read(TEXT).unwrap();
        assert!(rules.fault("ring v0.17.1\tMIT").unwrap().contains("ring: banned"));
        assert!(rules.fault("other v1.0.0 (proc-macro)\tGPL-3.0").unwrap().contains("GPL-3.0"));
        assert_eq!(rules.fault("bytes v1.2.3\tMIT"), None);
    }
}
