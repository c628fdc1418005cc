//! What a signal ends, and what the user is told then.
//!
//! The work is dropped where it is; what it has staged goes with it. SIGTERM counts as Ctrl-C: whoever stops us in a
//! script or a unit means the same, and files as large as a volume must not stay behind for it.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use super::args::{Command, SendArgs, SourceFormat};

/// `None` when the work was interrupted: what was staged is removed by then.
pub(super) async fn interruptible<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = received(SignalKind::interrupt()) => None,
        () = received(SignalKind::terminate()) => None,
        done = work => Some(done),
    }
}

/// Never, where signals cannot be had: then they end the process as they always do.
async fn received(kind: SignalKind) {
    match signal(kind) {
        Ok(mut stream) => drop(stream.recv().await),
        Err(_) => std::future::pending().await,
    }
}

/// What an interrupted command has left, and how to go on.
pub(super) fn remedy(command: &Command) -> &'static str {
    match command {
        Command::Send(send) if is_read_again(send) => {
            "The same command goes on with what the gateway has kept; `rsnap cancel` gives that up."
        }
        Command::Send(_) => "Start it again, with the program that feeds it.",
        Command::Restore(restore) if is_special(&restore.destination) => {
            "What was written is not a whole snapshot: start it again."
        }
        Command::Restore(_) => "Nothing of it is left; start it again.",
        _ => "Nothing was changed by it that the same command cannot go on with.",
    }
}

/// Only then there is something to go on with.
fn is_read_again(send: &SendArgs) -> bool {
    send.format == SourceFormat::Raw && send.source != Path::new("-")
}

/// A device or a pipe shows what came so far.
fn is_special(destination: &Path) -> bool {
    destination == Path::new("-") || destination.metadata().is_ok_and(|found| !found.is_file())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::Cli;
    use super::*;

    fn told(line: &str) -> &'static str {
        remedy(&Cli::try_parse_from(line.split_whitespace()).unwrap().command)
    }

    #[test]
    fn what_is_said_fits_what_is_left() {
        for (line, part) in [
            ("rsnap send a.raw --volume v --snapshot s", "goes on"),
            ("rsnap send rbd:p/v@s --volume v --snapshot s", "goes on"),
            ("rsnap send - --size 1 --volume v --snapshot s", "feeds it"),
            ("rsnap send a --format rbd-diff --volume v --snapshot s", "feeds it"),
            ("rsnap restore a.raw --volume v --snapshot s", "Nothing of it is left"),
            ("rsnap restore - --volume v --snapshot s", "not a whole snapshot"),
            ("rsnap restore /dev/null --volume v --snapshot s", "not a whole snapshot"),
        ] {
            assert!(told(line).contains(part), "{line}: {}", told(line));
        }
    }
}
