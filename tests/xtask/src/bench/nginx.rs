//! The peer: nginx with TLS 1.3 and WebDAV PUT, as the distribution ships it.
//!
//! Set up to win: the temporary file lies where the final one will (a PUT ends with a rename and not with a copy),
//! and nothing is logged. The body buffer keeps its default of 16 KiB: 128 KiB and more were measured to be slower.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::rig::Rig;
use crate::packages;
use crate::process::{self, Server};

#[derive(Debug)]
pub(super) struct Nginx {
    /// Where the files arrive.
    files: PathBuf,
    port: u16,
    _server: Server,
}

impl Nginx {
    pub(super) fn start(rig: &Rig) -> Result<Self> {
        let (directory, port) = (rig.directory("nginx")?, rsnap_test_ceph::free_port()?);
        let files = rig.directory("nginx/files")?;
        let settings = directory.join("nginx.conf");
        std::fs::write(&settings, text(rig, &directory, port)?).context("cannot write nginx.conf")?;
        let mut command = packages::tool("nginx")?;
        command.arg("-p").arg(&directory).arg("-c").arg(&settings).arg("-e").arg(directory.join("error.log"));
        let mut server = Server::start(&mut command, &directory.join("nginx.log"))?;
        server.wait(|| process::listens(port)).context("cannot start nginx")?;
        Ok(Self { files, port, _server: server })
    }

    pub(super) fn url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/files/{name}", self.port)
    }

    /// Makes what nginx has acknowledged durable: the file, and its name in the directory.
    pub(super) fn flush(&self, name: &str) -> Result<()> {
        for path in [self.files.join(name), self.files.clone()] {
            let file = File::open(&path).with_context(|| format!("nginx has not written {}", path.display()))?;
            file.sync_all().with_context(|| format!("cannot flush {}", path.display()))?;
        }
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Result<()> {
        std::fs::remove_file(self.files.join(name)).context("cannot remove what nginx has written")
    }
}

/// Started by root, nginx gives its workers to a user who cannot write here, unless it is told otherwise.
fn text(rig: &Rig, directory: &Path, port: u16) -> Result<String> {
    let user = if packages::is_root()? { "user root;" } else { "" };
    let (certificate, key, directory) = (rig.certificate(), rig.key(), directory.display());
    Ok(format!(
        "{user}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {directory}/files/.incoming;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_protocols TLSv1.3;
    ssl_certificate {};
    ssl_certificate_key {};
    root {directory};
    location /files/ {{ dav_methods PUT DELETE; }}
  }}
}}
",
        certificate.display(),
        key.display()
    ))
}
