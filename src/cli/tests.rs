//! Whole commands against a gateway.

use clap::Parser;

use super::*;
use crate::client::fake::{Fake, Script};

async fn run_line(fake: &Fake, line: &str) -> ExitCode {
    let ca = fake.certificate.path().display();
    let line = format!("rsnap {line} --gateway https://{} --ca {ca} --token t", fake.address);
    match run(Cli::try_parse_from(line.split_whitespace()).unwrap()).await {
        Handled::Done(code) => code,
        other => panic!("{other:?}"),
    }
}

/// `ExitCode` has no equality.
fn assert_code(found: ExitCode, expected: u8, line: &str) {
    assert_eq!(format!("{found:?}"), format!("{:?}", ExitCode::from(expected)), "{line}");
}

#[tokio::test]
async fn a_snapshot_goes_there_and_back() {
    let (fake, directory) = (Fake::start().await, tempfile::tempdir().unwrap());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (one, two, back) = (path("one"), path("two"), path("back"));
    std::fs::write(&one, vec![1; 3_000_000]).unwrap();
    let mut second = vec![1; 3_000_000];
    second[1_000_000] = 2;
    std::fs::write(&two, &second).unwrap();
    for (line, code) in [
        (format!("send {one} --volume vol --snapshot s1"), 0),
        (format!("plan {two} --volume vol --snapshot s2 --base x={one} --json"), 0),
        (format!("send {two} --volume vol --snapshot s2 --base x={one} --json"), 0),
        (format!("send {two} --volume vol --snapshot s2"), 0),
        (format!("restore {back} --volume vol --snapshot s2"), 0),
        (format!("restore {back} --volume vol --snapshot s2"), 2),
        (format!("restore {back} --volume vol --snapshot s3 --force"), 3),
        ("chain --volume vol".to_owned(), 0),
        ("sites dc1".to_owned(), 0),
        ("servers --json".to_owned(), 0),
        ("delete --volume vol --snapshot s1".to_owned(), 0),
        ("send - --volume vol --snapshot s4 --format raw".to_owned(), 2),
        (format!("send {one} --volume vol --snapshot a,b"), 2),
        (format!("send {directory} --volume vol --snapshot a", directory = directory.path().display()), 2),
        (format!("send {one} --volume vol --snapshot a --format rbd-diff"), 5),
    ] {
        assert_code(run_line(&fake, &line).await, code, &line);
    }
    assert_eq!(std::fs::read(back).unwrap(), second);
    assert_eq!(fake.requests("DELETE /v1/volumes/vol/snapshots/s1"), 1);
    assert!(fake.received()[1].body.len() < 5_000, "the second was not sent as an increment");
}

#[tokio::test]
async fn refusals_have_their_exit_codes() {
    let (fake, file) = (Fake::start().await, tempfile::NamedTempFile::new().unwrap());
    std::fs::write(file.path(), [1]).unwrap();
    for (status, code) in [(403, 4), (409, 3), (507, 1)] {
        fake.script([Script::Refuse(status, 0)]);
        let line = format!("send {} --volume vol --snapshot s1", file.path().display());
        assert_code(run_line(&fake, &line).await, code, &line);
    }
}

#[tokio::test]
async fn what_is_not_ours_is_handed_back() {
    let parsed = |line: &str| run(Cli::try_parse_from(line.split_whitespace()).unwrap());
    assert!(matches!(parsed("rsnap serve --site dc1").await, Handled::Serve(Serve { site: Some(_), .. })));
    assert!(matches!(parsed("rsnap config check c.toml").await, Handled::ConfigCheck(_)));
    let sweep = parsed("rsnap store sweep c.toml --store main").await;
    assert!(matches!(sweep, Handled::StoreSweep(StoreSweep { store: Some(_), .. })));
}
