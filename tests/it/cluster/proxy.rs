//! A way to etcd that can become slow, dead or cut, as networks do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A delay that means: nothing goes through, and nobody is told.
const DEAD: u64 = u64::MAX;

#[derive(Default)]
struct State {
    delay: AtomicU64,
    ended: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

/// Forwards to one address.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                forward(&shared, stream, target);
            }
        });
        Self { address, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What comes from the target is late from now on.
    pub fn delay(&self, delay: Duration) {
        self.state.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Half-open: connections stay, and nothing comes through any more.
    pub fn hold(&self) {
        self.state.delay.store(DEAD, Ordering::SeqCst);
    }

    pub fn pass(&self) {
        self.state.delay.store(0, Ordering::SeqCst);
    }

    /// Ends all connections.
    pub fn cut(&self) {
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}

fn forward(state: &Arc<State>, client: TcpStream, target: SocketAddr) {
    let Ok(server) = TcpStream::connect(target) else {
        let _ = client.shutdown(Shutdown::Both);
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        state.streams.lock().unwrap().push(stream.try_clone().unwrap());
    }
    let ways = [(client.try_clone().unwrap(), server.try_clone().unwrap(), false), (server, client, true)];
    for (from, to, back) in ways {
        let state = Arc::clone(state);
        thread::spawn(move || copy(&state, from, to, back));
    }
}

fn copy(state: &State, mut from: TcpStream, mut to: TcpStream, back: bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer) {
        wait(state, back);
        if length == 0 || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn wait(state: &State, back: bool) {
    let delay = || state.delay.load(Ordering::SeqCst);
    while delay() == DEAD && !state.ended.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(10));
    }
    if back && delay() != DEAD {
        thread::sleep(Duration::from_millis(delay()));
    }
}
