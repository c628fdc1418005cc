//! Connections to a registry that are cut in the middle of a component: what came of it is never used, and the next pull is
//! whole.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::server::Registry;
use super::{no_gateway, output, policy, pull, pulled, refused, tables, tool};

/// A way to the registry that lets through so many bytes of what it answers, over all connections, and then ends them.
struct Scissors {
    address: SocketAddr,
    left: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Scissors {
    fn to(registry: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (left, ended) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicBool::new(false)));
        let (limit, end) = (Arc::clone(&left), Arc::clone(&ended));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let server = TcpStream::connect(registry).unwrap();
                let (asking, asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let limit = Arc::clone(&limit);
                thread::spawn(move || copy(asking, asked, |_| true));
                thread::spawn(move || copy(server, client, |bytes| take(&limit, bytes)));
            }
        });
        Self { address, left, ended }
    }

    fn lets_through(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
    }
}

impl Drop for Scissors {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn take(left: &AtomicU64, bytes: u64) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(bytes)).is_ok()
}

/// Small pieces, so that a cut can be anywhere.
fn copy(mut from: TcpStream, mut to: TcpStream, may_pass: impl Fn(u64) -> bool) {
    let mut buffer = vec![0; 512];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 || !may_pass(length as u64) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// What a gateway keeps is whole: each file has the digest that is its name.
fn all_whole(data: &Path) -> usize {
    let Ok(entries) = fs::read_dir(data.join("plugins/blobs/sha256")) else { return 0 };
    let mut files = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        let digest = output(tool("sha256sum").arg(&path));
        assert_eq!(&digest[..64], path.file_name().unwrap().to_string_lossy(), "half a content is kept");
        files += 1;
    }
    files
}

#[test]
fn a_pull_that_is_cut_leaves_nothing_and_the_next_one_is_whole() {
    let registry = Registry::start();
    let (digest, _) = registry.push("house-rule", "v1", &policy("ten-line-policy"), None);
    let scissors = Scissors::to(registry.address);
    let pinned = format!("oci://{}/site/house-rule@{digest}", scissors.address);
    let login = registry.login_at(scissors.address);
    let (file, data) = (registry.path("pulled.wasm"), registry.path("gateway"));
    let options = ["--data", &data.display().to_string(), "--credentials", &login.display().to_string()];

    pulled(&pull(&registry, &pinned, &file, &options[2..]));
    let whole = {
        let all = 1 << 40;
        scissors.lets_through(all);
        pulled(&pull(&registry, &pinned, &file, &options[2..]));
        all - scissors.left.load(Ordering::SeqCst)
    };
    fs::remove_file(&file).unwrap();
    for part in 1..10 {
        scissors.lets_through(whole * part / 10);
        let told = refused(&pull(&registry, &pinned, &file, &options), &file);
        assert!(told.contains("does not answer as it should"), "{part} of 10: {told}");
        assert!(all_whole(&data) < 2, "{part} of 10");
    }
    scissors.lets_through(whole / 2);
    let told = no_gateway(&pinned, &tables(&registry, &login, ""));
    assert!(told.contains("the policy plugin house-rule cannot be loaded"), "{told}");

    scissors.lets_through(u64::MAX);
    pulled(&pull(&registry, &pinned, &file, &options));
    assert_eq!(fs::read(&file).unwrap(), fs::read(policy("ten-line-policy")).unwrap());
    assert_eq!(all_whole(&data), 2, "the manifest and the component");
}
