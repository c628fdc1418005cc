//! Gateways that do nothing but register: the real registry, with an address and without a listener.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use rsnap::cluster::{Cluster, Config, Identity, Load, Seal};
use rsnap::metrics::Metrics;

#[derive(Debug, Args)]
pub(crate) struct Registrants {
    #[arg(long)]
    count: u8,
    /// The `[etcd]` table, without its head
    #[arg(long)]
    table: PathBuf,
    #[arg(long)]
    group: String,
    /// Id and file of the ticket key
    #[arg(long)]
    key: String,
    #[arg(long)]
    key_file: PathBuf,
}

impl Registrants {
    /// Registers until it is killed.
    pub(crate) fn serve(&self) -> Result<()> {
        let config: Config = toml::from_str(&std::fs::read_to_string(&self.table)?).context("the table")?;
        let secret = std::fs::read_to_string(&self.key_file).context("the key")?.trim().to_owned();
        let seal = Arc::new(Seal::new(&[(self.key.clone(), secret)]));
        let register = |number: u8| {
            let identity = Identity {
                address: SocketAddr::from(([192, 0, 2, number], 8443)),
                group: self.group.clone(),
                tls_name: "gateway.example".to_owned(),
                tls_sha256: "00".repeat(32),
            };
            let load = Load::new(Duration::from_secs(2));
            Cluster::start(config.clone(), identity, Arc::clone(&seal), load, &Metrics::new())
        };
        let registered: Vec<Cluster> = (1..=self.count).map(register).collect::<Result<_, _>>()?;
        while !registered.is_empty() {
            std::thread::park();
        }
        Ok(())
    }
}
