//! Answers in words and tables.

use indicatif::BinaryBytes;

use crate::api::{
    Action, ChainAnswer, PlanAnswer, ServerEntry, ServerState, ServersAnswer, SiteAnswer, SnapshotAnswer, Source,
};
use crate::client::restore::Restored;
use crate::client::{Chains, ClientError, Event, Outcome, Stage};

pub(super) fn error(error: &ClientError) -> String {
    fault(&error.to_string(), error.remedy())
}

pub(super) fn fault(what: &str, remedy: &str) -> String {
    format!("rsnap: {}. {remedy}", what.trim_end_matches('.'))
}

pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Present { volume, snapshots, reason } => {
            format!("snapshot {} of volume {volume} is there already: {reason}", snapshots.join(", "))
        }
        Outcome::Committed { snapshots, moved, again } => {
            let lines = snapshots.iter().map(|snapshot| {
                let (volume, root) = (&snapshot.volume, &snapshot.root);
                format!("snapshot {} of volume {volume} is committed, content root {root}", snapshot.snapshot)
            });
            let lines: Vec<_> = lines.collect();
            let twice = if *again > 0 { format!(", of which {} again", BinaryBytes(*again)) } else { String::new() };
            format!("{}\nsent {}{twice}", lines.join("\n"), BinaryBytes(*moved))
        }
    }
}

pub(super) fn restored(restored: &Restored, into: &str) -> String {
    let SnapshotAnswer { volume, snapshot, root, .. } = &restored.snapshot;
    let proof = if restored.verified {
        format!("verified, content root {root}")
    } else {
        "not verified: a difference has no content root of its own".to_owned()
    };
    format!("snapshot {snapshot} of volume {volume} is in {into}, {proof}\nreceived {}", BinaryBytes(restored.moved))
}

pub(super) fn plan(plan: &PlanAnswer) -> String {
    let action = match (plan.action, &plan.base) {
        (Action::Present, _) => "present, nothing to send".to_owned(),
        (Action::Full, _) => "full".to_owned(),
        (Action::Incremental, Some(base)) => format!("incremental since {}", base.snapshot),
        (Action::Rebase, base) => {
            format!("rebase on {}", base.as_ref().map_or("a snapshot of the gateway", |base| &*base.snapshot))
        }
        (Action::Incremental, None) => "incremental".to_owned(),
        (Action::Refused, _) => "refused".to_owned(),
    };
    format!("plan: {action} ({}: {})", plan.policy, plan.reason)
}

pub(super) fn site(site: &SiteAnswer) -> String {
    let rows =
        [("site", &site.name), ("keystone", &site.keystone), ("region", &site.region), ("gateway", &site.gateway)];
    rows.map(|(name, value)| format!("{name:<9} {value}")).join("\n")
}

pub(super) fn chain(chain: &ChainAnswer) -> String {
    let mut rows =
        vec![["SNAPSHOT", "SIZE", "STORED", "SINCE", "SOURCE", "CREATED", "CONTENT ROOT"].map(str::to_owned)];
    rows.extend(chain.snapshots.iter().map(row));
    let mut text = table(&rows);
    if chain.snapshots.is_empty() {
        text = format!("volume {} has no snapshots here", chain.volume);
    }
    for name in &chain.damaged {
        text = format!("{text}\ndamaged in the storage: {name}");
    }
    text
}

pub(super) fn chains(chains: &Chains) -> String {
    let Chains { volume, other_volume, snapshots } = chains;
    if snapshots.is_empty() {
        return format!("neither volume {volume} here nor volume {other_volume} there has snapshots");
    }
    let or_dash = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![["HERE", "THERE", "SIZE", "STATE", "WOULD BE SENT"].map(str::to_owned)];
    rows.extend(snapshots.iter().map(|row| {
        let size = BinaryBytes(row.size).to_string();
        [or_dash(&row.here), or_dash(&row.there), size, row.relation.to_string(), row.would()]
    }));
    table(&rows)
}

fn row(snapshot: &SnapshotAnswer) -> [String; 7] {
    let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let bytes = |value| BinaryBytes(value).to_string();
    [
        snapshot.snapshot.clone(),
        bytes(snapshot.size),
        bytes(snapshot.stored),
        or_dash(&snapshot.base),
        or_dash(&snapshot.source_snapshot),
        snapshot.created.clone(),
        snapshot.root.clone(),
    ]
}

pub(super) fn servers(servers: &ServersAnswer) -> String {
    let mut rows = vec![["GATEWAY", "TRANSFERS", "STATE", "HEARD OF"].map(str::to_owned)];
    rows.extend(servers.servers.iter().map(server_row));
    let note = match (servers.source, servers.age_ms) {
        (Source::Etcd, _) => String::new(),
        (Source::Own, Some(age)) => format!("\netcd has not answered for {}", seconds(age)),
        (Source::Own, None) => "\nthis gateway knows no others: it has no etcd, or has not reached it yet".to_owned(),
    };
    table(&rows) + &note
}

fn server_row(server: &ServerEntry) -> [String; 4] {
    let state = match server.state {
        ServerState::Own => "this one",
        ServerState::Ready => "ready",
        ServerState::Silent => "silent, not named",
        ServerState::Unsigned => "not signed, not named",
    };
    let heard = match (server.state, server.age_ms) {
        (ServerState::Own, _) => "-".to_owned(),
        (_, Some(age)) => format!("{} ago", seconds(age)),
        (_, None) => "-".to_owned(),
    };
    [server.server.clone(), server.connections.to_string(), state.to_owned(), heard]
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.1} s", milliseconds as f64 / 1000.0)
}

/// Columns as wide as their longest cell.
pub(in crate::cli) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// An event in one line; progress only by its stage.
pub(super) fn event(event: &Event) -> String {
    match event {
        Event::Plan { server, answer } => format!("{} [gateway {server}]", plan(answer)),
        Event::Rebase { base, full } => {
            format!("only what differs from {base} is sent; in full it would be {}", BinaryBytes(*full))
        }
        Event::Progress { stage, snapshot, size, .. } => {
            format!("{} {snapshot}, {}", stage_name(*stage), BinaryBytes(*size))
        }
        Event::Note { text } => text.clone(),
        Event::Retry { retry, retries, wait, error } => {
            format!("{error}; retry {retry} of {retries} in {:.1} s", wait.as_secs_f64())
        }
    }
}

pub(super) fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Proving => "proving",
        Stage::Sending => "sending",
        Stage::Restoring => "restoring",
        Stage::Comparing => "comparing",
        Stage::Checking => "checking",
        Stage::Repairing => "repairing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_a_table_that_says_when_etcd_is_gone() {
        let entry = |server: &str, connections, state, age_ms| ServerEntry {
            server: server.into(),
            connections,
            state,
            age_ms,
        };
        let list = vec![
            entry("192.0.2.1:8443", 2, ServerState::Own, Some(0)),
            entry("192.0.2.2:8443", 0, ServerState::Ready, Some(1500)),
            entry("192.0.2.3:8443", 0, ServerState::Unsigned, None),
        ];
        let answer = ServersAnswer { source: Source::Own, age_ms: Some(61_000), servers: list };
        assert_eq!(
            servers(&answer),
            "GATEWAY         TRANSFERS  STATE                  HEARD OF\n\
             192.0.2.1:8443  2          this one               -\n\
             192.0.2.2:8443  0          ready                  1.5 s ago\n\
             192.0.2.3:8443  0          not signed, not named  -\n\
             etcd has not answered for 61.0 s"
        );
    }

    #[test]
    fn a_chain_is_a_table() {
        let snapshot = SnapshotAnswer {
            volume: "v".into(),
            snapshot: "long-snapshot".into(),
            size: 1 << 30,
            root: "rsnap1:00".into(),
            base: Some("b".into()),
            source_volume: None,
            source_snapshot: None,
            source_mark: None,
            created: "2026-11-23T00:00:00Z".into(),
            stored: 1 << 20,
        };
        let full = ChainAnswer { volume: "v".into(), snapshots: vec![snapshot], damaged: vec!["x".into()] };
        assert_eq!(
            chain(&full),
            "SNAPSHOT       SIZE      STORED    SINCE  SOURCE  CREATED               CONTENT ROOT\n\
             long-snapshot  1.00 GiB  1.00 MiB  b      -       2026-11-23T00:00:00Z  rsnap1:00\n\
             damaged in the storage: x"
        );
        let empty = ChainAnswer { volume: "v".into(), snapshots: vec![], damaged: vec![] };
        assert_eq!(chain(&empty), "volume v has no snapshots here");
    }
}
