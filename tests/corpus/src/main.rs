//! Writes random components, a folder for each world: `rsnap-test-corpus WIT FOLDER COUNT`.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use rsnap_test_corpus::{Corpus, WORLDS};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [wit, folder, count] = arguments.as_slice() else {
        bail!("usage: rsnap-test-corpus WIT FOLDER COUNT");
    };
    let (wit, folder) = (Path::new(wit), Path::new(folder));
    let (stamp, made_of) = (folder.join("made-of"), made_of(wit, count)?);
    if fs::read_to_string(&stamp).is_ok_and(|there| there == made_of) {
        return Ok(());
    }
    let count: u64 = count.parse().context("COUNT is not a number")?;
    for world in WORLDS {
        write(&Corpus::new(wit, world)?, &folder.join(world), count)?;
    }
    fs::write(&stamp, made_of).with_context(|| format!("could not write {}", stamp.display()))
}

fn write(corpus: &Corpus, folder: &Path, count: u64) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    for seed in 0..count {
        let file = folder.join(format!("{seed:04}.wasm"));
        fs::write(&file, corpus.component(seed)?).with_context(|| format!("could not write {}", file.display()))?;
    }
    Ok(())
}

/// All that decides what is written: the contract, the number, and this program.
fn made_of(wit: &Path, count: &str) -> Result<String> {
    let program = fs::metadata(std::env::current_exe()?)?.modified()?.duration_since(UNIX_EPOCH)?;
    let files = fs::read_dir(wit).with_context(|| format!("could not read {}", wit.display()))?;
    let mut paths = files.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "wit"));
    paths.sort();
    let texts = paths.iter().map(fs::read_to_string).collect::<std::io::Result<Vec<_>>>()?;
    Ok(format!("{count} by the program of {program:?}\n{}", texts.concat()))
}
