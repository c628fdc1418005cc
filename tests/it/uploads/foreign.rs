//! Clients that nobody here wrote, over connections and gateways that die.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{SNAPSHOT, check, gateway_on, shared};
use crate::support::{Client, Gateway, Image, scratch};

const MIB: usize = 1 << 20;

/// A way to a gateway that breaks each time that so many bytes have gone to it.
struct Way {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl Way {
    /// Breaks after each of these, and then no more.
    fn to(target: SocketAddr, breaks: &'static [usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, cuts) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (counted, ended) = (Arc::clone(&cuts), Arc::new(AtomicBool::new(false)));
        let is_ended = Arc::clone(&ended);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if is_ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(server) = TcpStream::connect(target) else { continue };
                let ways = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || copy(ways.1, ways.0, usize::MAX, &AtomicUsize::new(0)));
                let counted = Arc::clone(&counted);
                let left = breaks.get(counted.load(Ordering::SeqCst)).copied().unwrap_or(usize::MAX);
                std::thread::spawn(move || copy(client, server, left, &counted));
            }
        });
        Self { address, cuts, ended }
    }

    fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Passes on what comes, until `left` bytes have; then the connection breaks.
fn copy(mut from: TcpStream, mut to: TcpStream, mut left: usize, cuts: &AtomicUsize) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 || to.write_all(&buffer[..length.min(left)]).is_err() {
            break;
        }
        if length >= left {
            cuts.fetch_add(1, Ordering::SeqCst);
            let _ = from.shutdown(Shutdown::Both);
            break;
        }
        left = left.saturating_sub(length);
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// A client at work, killed when a test ends early.
struct Work(Option<Child>);

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Work {
    fn start(mut command: Command) -> Self {
        Self(Some(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    fn is_running(&mut self) -> bool {
        self.0.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    #[track_caller]
    fn succeed(mut self) {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}\n{err}");
    }
}

/// What `cargo xtask clients` has installed.
fn installed(name: &str) -> PathBuf {
    let path = scratch().parent().unwrap().join("foreign").join(name);
    assert!(path.exists(), "{} is missing: run `cargo xtask clients` once", path.display());
    path
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

fn ticket(gateway: &Gateway, size: usize) -> String {
    let answer = gateway.client().get(&format!("/server?volume=v&snapshot=s&size={size}")).expect(200);
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

struct Scene {
    store: tempfile::TempDir,
    gateway: Gateway,
    bytes: Vec<u8>,
    file: PathBuf,
    ticket: String,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let store = shared();
        let gateway = gateway_on(store.path());
        let bytes = Image::random(40 * MIB + 4321, seed).bytes;
        let file = store.path().join("volume.raw");
        std::fs::write(&file, &bytes).unwrap();
        let ticket = ticket(&gateway, bytes.len());
        Self { store, gateway, bytes, file, ticket }
    }

    fn tuspy(&self, address: SocketAddr, chunk: usize) -> Command {
        let mut command = Command::new(installed("python/bin/python"));
        command.arg(script("tuspy_send.py")).arg(format!("https://{address}{SNAPSHOT}")).arg(&self.ticket);
        command.arg(&self.file).arg(self.store.path().join("urls")).arg(chunk.to_string());
        command.env("REQUESTS_CA_BUNDLE", self.gateway.certificate());
        command
    }

    fn tus_js(&self, address: SocketAddr, protocol: &str, chunk: usize) -> Command {
        let mut command = Command::new("node");
        command.arg(script("tus_js_send.mjs")).arg(installed("node_modules").parent().unwrap()).arg(protocol);
        command.arg(format!("https://{address}{SNAPSHOT}")).arg(&self.ticket).arg(&self.file).arg(chunk.to_string());
        command.env("NODE_EXTRA_CA_CERTS", self.gateway.certificate());
        command
    }

    fn durable(&self) -> usize {
        durable(&self.gateway.client())
    }

    fn check(&self) {
        check(&self.gateway.client(), &self.bytes);
        let chain = self.gateway.client().chain("v");
        assert_eq!(chain["snapshots"].as_array().unwrap().len(), 1);
    }
}

fn durable(client: &Client) -> usize {
    let uploads = client.get(&format!("{SNAPSHOT}/uploads")).expect(200).json();
    let ranges = uploads["uploads"].as_array().unwrap().iter().flat_map(|upload| upload["durable"].as_array().unwrap());
    ranges.map(|range| range["end"].as_u64().unwrap() as usize).max().unwrap_or(0)
}

/// Waits until so much is durable; the client is still at work then, because its way breaks behind that.
fn wait_until_durable(scene: &Scene, work: &mut Work, bytes: usize) {
    let start = Instant::now();
    while scene.durable() < bytes {
        assert!(start.elapsed() < Duration::from_secs(120), "{} bytes are durable", scene.durable());
        assert!(work.is_running(), "the client has ended");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn tuspy_goes_on_after_cuts() {
    let scene = Scene::new(51);
    let way = Way::to(scene.gateway.address, &[2000, 13 * MIB + 17, 9 * MIB]);
    let chunk = 1 << 40;
    Work::start(scene.tuspy(way.address, chunk)).succeed();
    assert!(way.cuts() >= 2, "{} cuts", way.cuts());
    scene.check();
}

#[test]
fn tuspy_goes_on_at_a_gateway_that_was_killed() {
    let mut scene = Scene::new(52);
    // Nothing comes through behind the first half until the gateway is another one.
    let way = Way::to(scene.gateway.address, &[20 * MIB, 1000, 1000, 1000]);
    let mut work = Work::start(scene.tuspy(way.address, 5 * MIB));
    wait_until_durable(&scene, &mut work, 10 * MIB);
    scene.gateway.restart();
    work.succeed();
    scene.check();
}

#[test]
fn tuspy_goes_on_after_its_own_death() {
    let scene = Scene::new(53);
    let way = Way::to(scene.gateway.address, &[2000, 18 * MIB, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000]);
    let mut work = Work::start(scene.tuspy(way.address, 3 * MIB));
    wait_until_durable(&scene, &mut work, 6 * MIB);
    drop(work);
    let there = scene.durable();
    Work::start(scene.tuspy(scene.gateway.address, 3 * MIB)).succeed();
    assert!(there >= 6 * MIB);
    scene.check();
}

#[test]
fn tus_js_client_speaks_the_draft_over_cuts_and_a_death() {
    let mut scene = Scene::new(54);
    let way = Way::to(scene.gateway.address, &[2000, 13 * MIB + 17, 9 * MIB, 1000, 1000]);
    let mut work = Work::start(scene.tus_js(way.address, "ietf-draft-05", 0));
    wait_until_durable(&scene, &mut work, 8 * MIB);
    scene.gateway.restart();
    work.succeed();
    assert!(way.cuts() >= 2, "{} cuts", way.cuts());
    scene.check();
}

#[test]
fn tus_js_client_speaks_tus_in_chunks() {
    let scene = Scene::new(55);
    let way = Way::to(scene.gateway.address, &[2000, 13 * MIB + 17, 9 * MIB]);
    Work::start(scene.tus_js(way.address, "tus-v1", 6 * MIB)).succeed();
    assert!(way.cuts() >= 2, "{} cuts", way.cuts());
    scene.check();
}
