//! `server_rate`: what it costs `GET /server` that there are others to choose from.
//!
//! The peer is the same endpoint of the same program without `[etcd]`, which answers a constant: its own address. The 99
//! other gateways are registered by the real registry and refresh their keys meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench::rig::Rig;
use crate::bench::rounds::{Contestant, alternate};
use crate::bench::row::{Bar, Row, Series};
use crate::bench::sample::Sample;
use crate::gateway::Gateway;
use crate::packages;
use crate::process::{self, Server};

/// Gateways besides the one that answers.
const OTHERS: &str = "99";
const GROUP: &str = "bench";
/// How long all may take to register and to be known.
const REGISTERED: Duration = Duration::from_secs(60);

pub(in crate::bench) fn run(rig: &Rig) -> Result<Row> {
    let directory = rig.directory("etcd")?;
    let (_etcd, endpoint) = etcd(&directory)?;
    let key = directory.join("ticket.key");
    std::fs::write(&key, "a key that all gateways of the benchmark share").context("cannot write the key")?;
    let table = format!("endpoints = [{endpoint:?}]\n");
    let (many, alone) = (
        rig.gateway_with("many", format!("\n[etcd]\n{table}group = {GROUP:?}\n{}", auth(&key)))?,
        rig.gateway_with("alone", auth(&key))?,
    );
    let _others = registrants(rig, &directory, &table, &key)?;
    wait_until_known(&many)?;
    let mut slow = [Vec::new(), Vec::new()];
    let [slow_many, slow_alone] = &mut slow;
    let [ours, theirs] = alternate(
        rig,
        rig.pairs,
        [
            Contestant::new("among 100", |_| ask(rig, &many, slow_many)),
            Contestant::new("alone", |_| ask(rig, &alone, slow_alone)),
        ],
    )?;
    ensure!(known(&many)? == 100, "gateways were lost on the way");
    let [slow_many, slow_alone] = slow;
    Ok(Row {
        unit: "requests/s",
        bar: Bar::AtLeast(0.9),
        ours: Series { what: "rsnap among 100 gateways", sample: ours },
        peer: Series { what: "rsnap that stands alone", sample: theirs },
        beside: Vec::new(),
        costs: vec![
            Series { what: "99th percentile among 100, in ms", sample: Sample::new(slow_many)? },
            Series { what: "99th percentile alone, in ms", sample: Sample::new(slow_alone)? },
        ],
    })
}

fn auth(key: &Path) -> String {
    format!("\n[auth]\nticket_keys = [{{ id = \"k1\", file = {key:?} }}]\n")
}

fn etcd(directory: &Path) -> Result<(Server, String)> {
    let (client, peer) = (rsnap_test_ceph::free_port()?, rsnap_test_ceph::free_port()?);
    let (client_url, peer_url) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let mut command = packages::tool("etcd")?;
    command.arg("--data-dir").arg(directory.join("data"));
    command.args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
    command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
    command.args(["--initial-cluster", &format!("default={peer_url}"), "--logger", "zap"]);
    let mut server = Server::start(&mut command, &directory.join("etcd.log"))?;
    server.wait(|| process::answers(client, "/health")).context("cannot start etcd")?;
    Ok((server, client_url))
}

fn registrants(rig: &Rig, directory: &Path, table: &str, key: &Path) -> Result<Server> {
    let file = directory.join("etcd.toml");
    std::fs::write(&file, table).context("cannot write the table")?;
    let mut command = rig.maker();
    command.args(["registrants", "--count", OTHERS, "--group", &format!("bench/{GROUP}"), "--key", "k1"]);
    command.arg("--key-file").arg(key).arg("--table").arg(file);
    Server::start(&mut command, &directory.join("registrants.log"))
}

fn wait_until_known(gateway: &Gateway) -> Result<()> {
    let begun = Instant::now();
    while known(gateway)? < 100 {
        ensure!(begun.elapsed() < REGISTERED, "only {} gateways are known", known(gateway)?);
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// How many gateways can be named.
fn known(gateway: &Gateway) -> Result<usize> {
    let text = process::fetch(gateway.settings.admin, "/metrics").context("the metrics")?;
    let value = text.lines().find_map(|line| line.strip_prefix("rsnap_gateways "));
    value.unwrap_or("1").parse().context("the number of gateways")
}

fn ask(rig: &Rig, gateway: &Gateway, slow: &mut Vec<f64>) -> Result<f64> {
    let mut command = rig.maker();
    command.args(["requests", "--path", "/server", "--address", &format!("127.0.0.1:{}", gateway.settings.port)]);
    command.arg("--certificate").arg(gateway.certificate()).arg("--token-file").arg(gateway.token_file());
    let said = process::capture(&mut command)?;
    let (rate, percentile) = said.trim().split_once(' ').context("a rate and a time")?;
    slow.push(percentile.parse()?);
    Ok(rate.parse()?)
}
