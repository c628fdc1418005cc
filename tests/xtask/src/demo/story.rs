//! What the demo shows: two snapshots go to the other site, the first site is lost, the copy is proven and goes back.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::sites::Sites;
use super::volume::{self, Volume};
use super::{Stage, compare};
use crate::gateway::Gateway;
use crate::process;
use crate::steps::{self, Steps};

/// The ids differ between the sites, as with Cinder.
const SOURCE: &str = "dc1-volume";
const TARGET: &str = "dc2-volume";

pub(super) fn tell(stage: &Stage, sites: &mut Sites, volume: &Volume, steps: &mut Steps) -> Result<()> {
    steps.step("Send the first snapshot from dc1 to dc2");
    let send = "send snap1.raw --volume dc2-volume --snapshot dc2-snap1 \
                --source-volume dc1-volume --source-snapshot snap1";
    rsnap(stage, &sites.dc2, send, steps)?;

    steps.step("Send the third: dc2's policy finds the nearest base that both sites hold");
    let send = "send snap3.raw --volume dc2-volume --snapshot dc2-snap3 --source-volume dc1-volume \
                --source-snapshot snap3 --base snap1=snap1.raw --base snap2=snap2.raw";
    rsnap(stage, &sites.dc2, send, steps)?;
    rsnap(stage, &sites.dc2, "chain --volume dc2-volume", steps)?;

    steps.step("Send it again: nothing to do");
    rsnap(stage, &sites.dc2, send, steps)?;

    steps.step("dc1 is lost. Restore at dc2, and prove it");
    steps.timed("dc1 is stopped, and its data is removed", || sites.lose_dc1())?;
    let restore = "restore --volume dc2-volume --snapshot dc2-snap3 restored.raw";
    rsnap(stage, &sites.dc2, restore, steps)?;
    prove(stage, volume, steps)?;

    steps.step("dc1 is rebuilt: ask dc2 where it is, and send the snapshot home");
    sites.rebuild_dc1(stage, steps)?;
    rsnap(stage, &sites.dc2, "sites dc1", steps)?;
    let send = "send restored.raw --volume dc1-volume --snapshot snap3 \
                --source-volume dc2-volume --source-snapshot dc2-snap3";
    rsnap(stage, sites.dc1()?, send, steps)?;
    let (there, here) = (root(stage, &sites.dc2, TARGET, "dc2-snap3")?, root(stage, sites.dc1()?, SOURCE, "snap3")?);
    ensure!(there == here, "the content roots differ: dc2 has {there}, dc1 has {here}");
    steps.check(format!("both sites hold the content root {here}"));
    Ok(())
}

/// Runs the program's own command line against a gateway, as a person would, and shows what it printed.
fn rsnap(stage: &Stage, gateway: &Gateway, line: &str, steps: &Steps) -> Result<()> {
    steps.command(&format!("rsnap {line}"));
    let started = Instant::now();
    let output = client(stage, gateway, line).output().context("cannot run rsnap")?;
    steps.lines(String::from_utf8_lossy(&output.stderr).trim_end());
    steps.lines(String::from_utf8_lossy(&output.stdout).trim_end());
    ensure!(output.status.success(), "rsnap ended with {}", output.status);
    steps.line(format!("({})", steps::duration(started.elapsed())));
    Ok(())
}

fn client(stage: &Stage, gateway: &Gateway, line: &str) -> Command {
    let mut command = gateway.client(&stage.binary);
    command.args(line.split_whitespace()).current_dir(&stage.directory).stdin(std::process::Stdio::null());
    command
}

/// The restored image must be the snapshot: as a file system, file by file, and bit by bit.
fn prove(stage: &Stage, volume: &Volume, steps: &Steps) -> Result<()> {
    let restored = stage.directory.join("restored.raw");
    volume::check(&restored)?;
    steps.check("e2fsck finds a clean file system");
    let extracted = stage.directory.join("restored-files");
    volume::extract(&restored, &extracted)?;
    let same = compare::directories(volume.model(), &extracted)?;
    steps.check(format!("{} files with {} bytes are what they were", same.files, same.bytes));
    let (sent, got) = (compare::sha256(&stage.directory.join("snap3.raw"))?, compare::sha256(&restored)?);
    ensure!(sent == got, "the images differ: {sent} was sent, {got} was restored");
    steps.check(format!("SHA-256 of both images: {got}"));
    Ok(())
}

/// The content root that a site has recorded for a snapshot.
fn root(stage: &Stage, gateway: &Gateway, volume: &str, snapshot: &str) -> Result<String> {
    let text = process::capture(&mut client(stage, gateway, &format!("chain --json --volume {volume}")))?;
    let chain: Value = serde_json::from_str(&text).with_context(|| format!("the chain is not JSON: {text}"))?;
    let snapshots = chain.get("snapshots").and_then(Value::as_array).context("the chain has no snapshots")?;
    let found = snapshots.iter().find(|one| one.get("snapshot").and_then(Value::as_str) == Some(snapshot));
    let root = found.and_then(|one| one.get("root")).and_then(Value::as_str);
    Ok(root.with_context(|| format!("{snapshot} has no content root in {text}"))?.to_owned())
}

/// What to try with the sites that are left running.
pub(super) fn invite(stage: &Stage, gateway: &Gateway, steps: &Steps) {
    let directory = &stage.directory;
    let (token, authority) = (gateway.token_file(), gateway.certificate());
    steps.line("");
    steps.line("Both sites are running. Try, in a shell:");
    steps.line("");
    steps.lines(&format!(
        "cd {directory}\n\
         export RSNAP_GATEWAY={url} RSNAP_TOKEN_FILE={token} RSNAP_CA={authority}\n\
         alias rsnap={binary}\n\
         rsnap chain --volume {TARGET}\n\
         rsnap plan snap2.raw --volume {TARGET} --snapshot mine --source-volume {SOURCE} --source-snapshot snap2 \\\n    \
         --base snap1=snap1.raw\n\
         # With curl alone: a ticket, a PUT, the same bytes back\n\
         ticket=$(curl -s --cacert $RSNAP_CA -H \"Authorization: Bearer $(cat $RSNAP_TOKEN_FILE)\" \\\n    \
         \"$RSNAP_GATEWAY/server?volume={TARGET}&snapshot=mine&size=$(stat -c %s snap2.raw)\" \\\n    \
         | sed 's/.*\"ticket\":\"\\([^\"]*\\)\".*/\\1/')\n\
         curl --cacert $RSNAP_CA -H \"Authorization: Bearer $ticket\" \\\n    \
         -T snap2.raw $RSNAP_GATEWAY/v1/volumes/{TARGET}/snapshots/mine\n\
         curl -s --cacert $RSNAP_CA -H \"Authorization: Bearer $ticket\" \\\n    \
         $RSNAP_GATEWAY/v1/volumes/{TARGET}/snapshots/mine | cmp - snap2.raw && echo equal\n\
         # Probes and metrics\n\
         curl -s http://127.0.0.1:{admin}/metrics",
        directory = directory.display(),
        url = gateway.url(),
        token = token.display(),
        authority = authority.display(),
        binary = stage.binary.display(),
        admin = gateway.settings.admin,
    ));
}
