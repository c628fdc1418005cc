//! The chains of two sites side by side, as `rsnap chain --compare` tells them.

use std::process::Command;

use serde_json::Value;

use crate::support::{Gateway, Options};
use crate::verify::put;

const MIB: usize = 1 << 20;

/// `chain --compare` at `here` with the site `there`.
fn compare(here: &Gateway, there: &Gateway, more: &[&str]) -> Command {
    let mut command = here.command(&["chain", "--volume", "v", "--compare", "dc9"]);
    command.arg("--other-token-file").arg(there.data.join("token")).arg("--other-ca").arg(there.certificate());
    command.args(more);
    command
}

#[test]
fn chains_of_two_sites_are_told_side_by_side() {
    let there = Gateway::start();
    let address = format!("https://{}", there.address);
    let extra = format!(
        "[plugins.resolver]\ncomponent = \"static\"\n[plugins.resolver.settings.sites.dc9]\n\
         keystone = \"{address}/v3\"\nregion = \"dc9\"\ngateway = \"{address}\"\n"
    );
    let here = Gateway::start_with(&Options { extra, ..Options::default() });
    let content = |byte: u8| vec![byte; 4 * MIB];
    for (snapshot, byte) in [("s1", 1), ("s2", 2), ("s3", 3)] {
        put(&here, snapshot, &content(byte));
    }
    put(&there, "s1", &content(1));
    put(&there, "late", &content(9));

    let output = compare(&here, &there, &["--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = answer["snapshots"].as_array().unwrap();
    let told: Vec<_> =
        rows.iter().map(|row| [&row["relation"], &row["here"], &row["there"]].map(Value::as_str)).collect();
    let expected = [
        [Some("common"), Some("s1"), Some("s1")],
        [Some("here"), Some("s2"), None],
        [Some("here"), Some("s3"), None],
        [Some("there"), None, Some("late")],
    ];
    assert_eq!(told, expected, "{answer}");
    assert_eq!(
        (&rows[1]["plan"]["action"], &rows[1]["plan"]["base"]["snapshot"]),
        (&"incremental".into(), &"s1".into())
    );

    let table = compare(&here, &there, &[]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.lines().next().unwrap().starts_with("HERE  THERE  SIZE"), "{table}");
    assert!(table.contains("only here   incremental since s1: "), "{table}");
    assert!(table.contains("only there  nothing"), "{table}");

    let lonely = there.command(&["chain", "--volume", "v", "--compare", "dc9", "--other-token-file", "x"]).output();
    assert_eq!(lonely.unwrap().status.code(), Some(3), "a site that nobody knows");
}
