//! What systemd is told, by its own protocol (`sd_notify(3)`).

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::{Gateway, Image, Options, Upload, wait_for};

struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, folder }
    }

    fn environment(&self) -> Vec<(&'static str, std::path::PathBuf)> {
        vec![("NOTIFY_SOCKET", self.folder.path().join("notify")), ("WATCHDOG_USEC", "600000".into())]
    }

    /// Reads until a message has this line; gives the whole message.
    fn hear(&self, line: &str) -> String {
        loop {
            let mut buffer = [0; 4096];
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {line}: {error}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|told| told.starts_with(line)) {
                return text;
            }
        }
    }
}

#[test]
fn the_service_manager_hears_of_start_life_reload_and_stop() {
    let manager = Manager::new();
    let options = Options {
        environment: manager.environment(),
        listen: "drain_notice = \"0s\"\ndrain_timeout = \"60s\"\n".to_owned(),
        ..Options::default()
    };
    let mut gateway = Gateway::start_with(&options);
    manager.hear("READY=1");
    for _ in 0..3 {
        manager.hear("WATCHDOG=1");
    }
    gateway.signal("HUP");
    assert!(manager.hear("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.hear("READY=1");

    let image = Image::random(1 << 20, 81);
    let path = "/v1/volumes/v/snapshots/s".to_owned();
    let mut put = gateway.client().begin_put(&Upload { path, body: &image.bytes, ..Upload::default() });
    put.send(&image.bytes[..1 << 19]).unwrap();
    wait_for("the transfer", || gateway.admin("/transfers").1.contains("\"s\""));
    gateway.signal("TERM");
    manager.hear("STOPPING=1");
    manager.hear("EXTEND_TIMEOUT_USEC=30000000");
    manager.hear("WATCHDOG=1");
    put.send(&image.bytes[1 << 19..]).unwrap();
    put.answer().unwrap().expect(201);
    assert!(gateway.wait().success());
}
