//! A certificate for servers on this machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages;
use crate::process;

/// Not an authority: strict clients refuse one that is also a server's own certificate.
const SETTINGS: &str = "[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = rsnap
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:198.18.0.2
";

/// Makes one that vouches for itself, with its key.
pub(crate) fn make(certificate: &Path, key: &Path) -> Result<()> {
    let settings = certificate.with_extension("cnf");
    std::fs::write(&settings, SETTINGS).context("cannot write the certificate's settings")?;
    let mut command: Command = packages::tool("openssl")?;
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-days", "30", "-config"]).arg(settings);
    process::quiet(command.arg("-keyout").arg(key).arg("-out").arg(certificate))
}
