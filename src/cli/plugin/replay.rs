//! `rsnap plugin replay`: the recorded decisions that another policy would change.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::fault::Fault;
use super::load;
use crate::cli::args::PluginReplay;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::plugin::kit::replay::{self, Change, Summary};
use crate::plugin::kit::{Plugin, Trial};

pub(super) async fn replay(args: &PluginReplay, output: &Output) -> Result<Exit, Fault> {
    let (path, options) = load::options(&args.load, HashMap::new())?;
    let trial = Trial::load(&path, options).await?;
    let Plugin::Policy(policy) = &trial.plugin else {
        return Err(Fault::usage(format!(
            "{} is a {}; a recording is asked of a policy",
            path.display(),
            trial.plugin.kind()
        )));
    };
    let mut all = Summary::default();
    for recording in &args.recording {
        let unreadable = |fault: io::Error| {
            Fault::failed(format!("could not read {}: {fault}", recording.display()), "Give the path of a recording.")
        };
        let mut lines = open(recording).map_err(unreadable)?;
        let tell = |change: &Change| output.show(change).map_err(io::Error::other);
        all.add(&replay::replay(policy, &mut *lines, tell).await.map_err(unreadable)?);
    }
    output.show(&all)?;
    Ok(Exit::Success)
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    Ok(Box::new(BufReader::new(File::open(path)?)))
}
