//! The words with which `rsnap serve` greets a person: where it listens and what to do next.

use std::net::SocketAddr;
use std::path::Path;

use super::Config;

pub(super) fn text(config: &Config, server: SocketAddr, admin: SocketAddr, certificate: &Path) -> String {
    // The commands are for another shell, which may be elsewhere.
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (data, certificate) = (absolute(&config.gateway.data), absolute(certificate));
    let token = data.join("token");
    let data = data.display();
    let own_token = config.auth.tokens.is_empty();
    let token_line = match own_token {
        true => format!("  operator token   {}\n", token.display()),
        false => String::new(),
    };
    let certificate = certificate.display();
    let mut text = format!(
        "rsnap gateway of site {site}\n\
         \x20 transfers        https://{server}\n\
         \x20 admin            http://{admin}  (/readyz /metrics /transfers /plugins)\n\
         \x20 data             {data}\n\
         \x20 certificate      {certificate}\n\
         {token_line}",
        site = config.gateway.site,
    );
    if own_token {
        text += &format!(
            "\nTo send a snapshot to it:\n\n\
             \x20 export RSNAP_GATEWAY=https://{server} RSNAP_TOKEN_FILE={token} RSNAP_CA={certificate}\n\
             \x20 rsnap send disk.raw --volume my-volume --snapshot monday\n\
             \x20 rsnap chain --volume my-volume\n\
             \x20 rsnap restore --volume my-volume --snapshot monday restored.raw\n",
            token = token.display(),
        );
    }
    if config.listen.address.ip().is_loopback() {
        text += "\nOnly this machine can reach it. To serve others: rsnap serve --listen IP:PORT, or a configuration \
                 file.\n";
    }
    text
}
