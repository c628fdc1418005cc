//! The server that an example needs: started with a certificate and a token of its own, and named in the example's files.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::certificate;
use crate::process::{self, Server};

/// What the files of an example call the server.
const ADDRESS: &str = "archive.example:8443";
/// Those files.
const NAMED: [&str; 2] = ["settings.toml", "grants.toml"];
/// Where the server keeps what it gets, below the example's folder.
const FOLDER: &str = "vendor";

/// Starts the program, which lies in the folder `own`.
pub(super) fn start(program: &str, own: &Path) -> Result<Server> {
    certificate::make(&own.join("vendor.pem"), &own.join("vendor.key"))?;
    std::fs::write(own.join("vendor.token"), "a-token-of-the-operator\n")?;
    let port = rsnap_test_ceph::free_port()?;
    for name in NAMED {
        let file = own.join(name);
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        ensure!(text.contains(ADDRESS), "{name} does not name {ADDRESS}");
        std::fs::write(&file, text.replace(ADDRESS, &format!("127.0.0.1:{port}")))?;
    }
    let mut command = Command::new("python3");
    command.arg(own.join(program)).current_dir(own).args(["--port", &port.to_string(), "--folder", FOLDER]);
    command.args(["--certificate", "vendor.pem", "--key", "vendor.key", "--token", "vendor.token"]);
    let mut server = Server::start(&mut command, &own.join("vendor.log"))?;
    server.wait(|| process::listens(port)).context("cannot start the server of the example")?;
    Ok(server)
}

/// Whether the server has kept under `name` what is in the file `expected`.
pub(super) fn has_stored(own: &Path, name: &str, expected: &str) -> Result<()> {
    let file = own.join(FOLDER).join(name);
    let found = std::fs::read(&file).with_context(|| format!("the server did not keep {name}"))?;
    let sent = std::fs::read(own.join(expected)).with_context(|| format!("cannot read {expected}"))?;
    ensure!(found == sent, "the server has other bytes under {name} than were sent");
    Ok(())
}
