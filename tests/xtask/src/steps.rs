//! What a chore tells the person who watches: numbered steps, each with what it did and how long it took.
//!
//! Everything goes to standard error, so that standard output stays free for `--json`. Colours only on a terminal.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;

/// Column in which times stand.
const TIME_COLUMN: usize = 84;

#[derive(Debug, Clone, Copy)]
enum Style {
    Strong,
    Faint,
    Good,
    Bad,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Strong => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Bad => "31",
        }
    }
}

fn paint(style: Style, text: &str) -> String {
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{}m{text}\x1b[0m", style.code())
    } else {
        text.to_owned()
    }
}

/// A closed standard error must not end a chore that is otherwise fine.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Says why a chore failed, with the whole chain of causes.
pub(crate) fn failure(error: &anyhow::Error) {
    say(&format!("\n{} {error:#}", paint(Style::Bad, "failed:")));
}

/// A duration for people: `0.3 s`, `1 min 20 s`.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// The steps of one chore.
#[derive(Debug)]
pub(crate) struct Steps {
    title: &'static str,
    total: usize,
    number: usize,
    started: Instant,
}

impl Steps {
    pub(crate) fn new(title: &'static str, total: usize) -> Self {
        Self { title, total, number: 0, started: Instant::now() }
    }

    /// Starts the next step.
    pub(crate) fn step(&mut self, title: &str) {
        self.number += 1;
        say(&format!("\n{} {}", paint(Style::Faint, &self.position()), paint(Style::Strong, title)));
    }

    fn position(&self) -> String {
        format!("[{}/{}]", self.number, self.total)
    }

    /// One line under the current step.
    pub(crate) fn line(&self, text: impl Display) {
        say(&format!("      {text}"));
    }

    /// Several lines under the current step, such as the output of a command.
    pub(crate) fn lines(&self, text: &str) {
        for line in text.lines() {
            self.line(line);
        }
    }

    /// A command as a person would type it, in its own colour.
    pub(crate) fn command(&self, text: &str) {
        for line in wrapped(text) {
            self.line(paint(Style::Faint, &line));
        }
    }

    /// A check that holds.
    pub(crate) fn check(&self, text: impl Display) {
        self.line(format!("{} {text}", paint(Style::Good, "ok")));
    }

    /// A check that does not hold, where more are to come.
    pub(crate) fn fault(&self, text: impl Display) {
        self.line(format!("{} {text}", paint(Style::Bad, "no")));
    }

    /// Does something and says how long it took.
    pub(crate) fn timed<T>(&self, label: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let value = action()?;
        let room = TIME_COLUMN.saturating_sub(label.chars().count());
        self.line(format!("{label}{:>room$}", paint(Style::Faint, &duration(started.elapsed()))));
        Ok(value)
    }

    /// The last line of a chore that succeeded.
    pub(crate) fn finish(&self, text: &str) {
        let head = format!("{}:", self.title);
        say(&format!("\n{} {text} ({})", paint(Style::Good, &head), duration(self.started.elapsed())));
    }
}

/// A long command in several lines that a shell takes as one, broken before options.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![format!("$ {}", text.split(" --").next().unwrap_or_default())];
    for option in text.split(" --").skip(1) {
        match lines.last_mut() {
            Some(line) if line.len() + option.len() < TIME_COLUMN + 10 => *line += &format!(" --{option}"),
            Some(line) => {
                line.push_str(" \\");
                lines.push(format!("    --{option}"));
            }
            None => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_broken_before_options() {
        let long = "x".repeat(60);
        assert_eq!(wrapped("rsnap chain --volume v"), ["$ rsnap chain --volume v"]);
        let lines = wrapped(&format!("rsnap send --one {long} --two {long}"));
        assert_eq!(lines, [format!("$ rsnap send --one {long} \\"), format!("    --two {long}")]);
    }

    #[test]
    fn durations_are_readable() {
        assert_eq!(duration(Duration::from_millis(340)), "0.3 s");
        assert_eq!(duration(Duration::from_secs(80)), "1 min 20 s");
    }
}
