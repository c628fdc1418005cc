//! The guide for those who write plugins, `plugins/README.md`, done as it says.
//!
//! Blocks of `console` are commands (lines with `$`) and what must be in their output, in order; `…` in a line stands for
//! anything. In blocks of `console fails` the commands must fail. Other blocks whose first line has `file=PATH` are
//! written there. All commands are run by one shell, so that `cd` lasts.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::build::{self, Profile};
use crate::guests;

/// Comes before the exit code of each command in the shell's output.
const MARK: &str = "\u{1}code ";

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Run { command: String, output: Vec<String>, fails: bool },
    Write { path: String, text: String },
}

/// Does all steps in `folder`, and tells how many there were.
pub(super) fn follow(root: &Path, folder: &Path) -> Result<String> {
    let path = root.join("plugins/README.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let steps = steps(&text);
    super::anew(folder)?;
    std::fs::create_dir_all(folder)?;
    let output = shell(root, folder, &script(&steps)?)?;
    let mut outputs = output.split(MARK);
    let mut before = outputs.next().unwrap_or_default();
    let mut done = 0;
    for step in &steps {
        let Step::Run { command, output, fails } = step else { continue };
        let rest = outputs.next().with_context(|| format!("`{command}` was not run:\n{before}"))?;
        let (code, next) = rest.split_once('\n').unwrap_or((rest, ""));
        ensure!((code != "0") == *fails, "`{command}` ended with {code}:\n{before}");
        if let Some(missing) = missing(output, before) {
            bail!("`{command}` does not show {missing:?}, but:\n{before}");
        }
        (before, done) = (next, done + 1);
    }
    ensure!(done > 0, "there are no commands in {}", path.display());
    Ok(format!("{done} commands"))
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let file = info.split(' ').find_map(|word| word.strip_prefix("file="));
        match (file, info) {
            (Some(path), _) => steps.push(Step::Write { path: path.to_owned(), text: block.join("\n") + "\n" }),
            (None, "console") => steps.extend(commands(&block, false)),
            (None, "console fails") => steps.extend(commands(&block, true)),
            _ => {}
        }
    }
    steps
}

fn commands(block: &[&str], fails: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in block {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step::Run { command: command.to_owned(), output: Vec::new(), fails });
        } else if let Some(Step::Run { output, .. }) = steps.last_mut() {
            output.push((*line).to_owned());
        }
    }
    steps
}

fn script(steps: &[Step]) -> Result<String> {
    let mut script = "exec 2>&1\n".to_owned();
    for step in steps {
        match step {
            Step::Run { command, .. } => writeln!(script, "{command}\nprintf '{MARK}%s\\n' $?")?,
            Step::Write { path, text } => {
                writeln!(script, "cat > '{path}' <<'end-of-the-file'\n{text}end-of-the-file")?
            }
        }
    }
    Ok(script)
}

fn shell(root: &Path, folder: &Path, script: &str) -> Result<String> {
    let program = build::binary(root, Profile::Dev, "rsnap");
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let own = program.parent().map(Path::to_path_buf);
    let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&folders)))?;
    let mut shell = Command::new("sh");
    guests::use_toolchain(&mut shell)?;
    shell.env("PATH", path).env("CARGO_TARGET_DIR", build::target(root).join("kit").join(super::job::RUST_TARGET));
    shell.args(["-c", script]).current_dir(folder).stdin(Stdio::null());
    let output = shell.output().context("cannot run sh")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first line that is not in the output after those before it.
fn missing<'a>(expected: &'a [String], output: &str) -> Option<&'a str> {
    let mut lines = output.lines();
    expected.iter().map(String::as_str).find(|wanted| !lines.any(|line| is_like(line, wanted)))
}

/// Whether the line is the pattern, in which `…` stands for anything.
fn is_like(line: &str, pattern: &str) -> bool {
    let mut rest = line;
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    let mut open = false;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
        open = part.is_empty();
    }
    open || rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_steps() {
        let text = "a\n```toml file=x/y\nb = 1\n```\n```console\n$ ls\ny\n$ cat y\n```\n```console fails\n$ no\n```\n```sh\n$ other\n```\n";
        let run = |command: &str, output: &[&str], fails| Step::Run {
            command: command.to_owned(),
            output: output.iter().map(ToString::to_string).collect(),
            fails,
        };
        let write = Step::Write { path: "x/y".to_owned(), text: "b = 1\n".to_owned() };
        assert_eq!(steps(text), [write, run("ls", &["y"], false), run("cat y", &[], false), run("no", &[], true)]);
    }

    #[test]
    fn an_ellipsis_stands_for_anything() {
        assert!(is_like("took 5 ms", "took … ms") && is_like("a b", "a b") && is_like("sha256 77", "sha256 …"));
        assert!(!is_like("took 5 s", "took … ms") && !is_like("a b c", "a b") && !is_like("", "a"));
    }

    #[test]
    fn lines_are_looked_for_in_their_order() {
        let expected = ["b".to_owned(), "d".to_owned()];
        assert_eq!(missing(&expected, "a\nb\nc\nd\n"), None);
        assert_eq!(missing(&expected, "d\nb\n"), Some("d"));
    }
}
