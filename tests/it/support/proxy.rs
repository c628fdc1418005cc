//! A way through the network that can become slow, dead or cut, and lose what is on it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

/// A delay that means: nothing goes through, and nobody is told.
const DEAD: u64 = u64::MAX;
/// What a kernel may hold of one connection on our side: less is on the way than between two sites.
const SOCKET: usize = 128 << 10;
/// How often what waits looks whether it still has to.
const LOOK: Duration = Duration::from_millis(5);
/// A connection that has carried so much to the target is one of a body: what comes back next is the answer to it.
const BODY: u64 = 64 << 10;

/// Counts what goes to targets, and wakes who waits for it.
#[derive(Default)]
pub struct Meter {
    bytes: Mutex<u64>,
    more: Condvar,
}

impl Meter {
    pub fn bytes(&self) -> u64 {
        *self.bytes.lock().unwrap()
    }

    /// Waits until so much has passed, but not beyond `patience`.
    pub fn wait(&self, bytes: u64, patience: Duration) {
        let passed = self.bytes.lock().unwrap();
        drop(self.more.wait_timeout_while(passed, patience, |passed| *passed < bytes).unwrap());
    }

    fn count(&self, bytes: usize) {
        *self.bytes.lock().unwrap() += bytes as u64;
        self.more.notify_all();
    }
}

/// What the way back does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Pass,
    /// The next answer to a body is lost, and the connection with it.
    LoseNext,
    /// Nothing that came after this moment goes on.
    KeepSince(Instant),
}

struct State {
    delay: AtomicU64,
    ended: AtomicBool,
    /// Whoever calls is turned away.
    closed: AtomicBool,
    /// The next connection ends after so many bytes to the target.
    next_limit: Mutex<Option<u64>>,
    answers: Mutex<Answers>,
    lost: AtomicBool,
    connections: Mutex<Vec<Weak<Connection>>>,
    meter: Arc<Meter>,
}

struct Connection {
    caller: TcpStream,
    target: TcpStream,
    up: AtomicU64,
    limit: Option<u64>,
    is_reset: AtomicBool,
}

impl Connection {
    /// Ends it as a router does that has forgotten it: both sides are told that it never was, and what is on its way is
    /// lost.
    fn reset(&self) {
        self.is_reset.store(true, Ordering::SeqCst);
        for side in [&self.caller, &self.target] {
            // The kernel sends the reset when the last handle is dropped.
            let _ = SockRef::from(side).set_linger(Some(Duration::ZERO));
            let _ = side.shutdown(Shutdown::Read);
        }
    }

    fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::SeqCst)
    }
}

/// Forwards connections.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        Self::choosing(Arc::default(), move || Some(target))
    }

    /// Each connection to where the choice says at that moment; nowhere: it is turned away.
    pub fn choosing(meter: Arc<Meter>, choose: impl Fn() -> Option<SocketAddr> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener).set_recv_buffer_size(SOCKET).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            delay: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            next_limit: Mutex::new(None),
            answers: Mutex::new(Answers::Pass),
            lost: AtomicBool::new(false),
            connections: Mutex::default(),
            meter,
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let target = choose().filter(|_| !shared.closed.load(Ordering::SeqCst));
                match target.and_then(|target| TcpStream::connect(target).ok()) {
                    Some(target) => drop(forward(&shared, stream, target)),
                    None => drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
                }
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

    /// Ends all connections in order.
    pub fn cut(&self) {
        for connection in self.state.connections() {
            let _ = connection.caller.shutdown(Shutdown::Both);
            let _ = connection.target.shutdown(Shutdown::Both);
        }
    }

    /// Ends all connections by force, and tells how many there were.
    pub fn reset(&self) -> usize {
        let all = self.state.connections();
        all.iter().for_each(|connection| connection.reset());
        all.len()
    }

    pub fn connections(&self) -> usize {
        self.state.connections().len()
    }

    /// Turns callers away from now on, or no longer.
    pub fn close(&self, is_closed: bool) {
        self.state.closed.store(is_closed, Ordering::SeqCst);
    }

    /// The next connection is reset after so many bytes to the target.
    pub fn limit_next(&self, bytes: Option<u64>) {
        *self.state.next_limit.lock().unwrap() = bytes;
    }

    /// Whether the connection that was limited has come.
    pub fn has_limited(&self) -> bool {
        self.state.next_limit.lock().unwrap().is_none()
    }

    /// The next answer to a body gets lost.
    pub fn lose_answer(&self) {
        self.state.lost.store(false, Ordering::SeqCst);
        *self.state.answers.lock().unwrap() = Answers::LoseNext;
    }

    /// Whether it did.
    pub fn has_lost(&self) -> bool {
        self.state.lost.load(Ordering::SeqCst)
    }

    /// What has come back before `moment` goes on, and what comes later waits.
    pub fn keep_since(&self, moment: Instant) {
        *self.state.answers.lock().unwrap() = Answers::KeepSince(moment);
    }

    /// Answers go on as ever.
    pub fn pass_answers(&self) {
        *self.state.answers.lock().unwrap() = Answers::Pass;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn connections(&self) -> Vec<Arc<Connection>> {
        let mut all: MutexGuard<'_, Vec<Weak<Connection>>> = self.connections.lock().unwrap();
        all.retain(|connection| connection.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).filter(|connection| !connection.is_reset()).collect()
    }

    /// Waits for as long as the network does. False: the connection has ended meanwhile.
    fn wait(&self, connection: &Connection, back: bool) -> bool {
        let delay = || self.delay.load(Ordering::SeqCst);
        let goes_on = || !self.ended.load(Ordering::SeqCst) && !connection.is_reset();
        while delay() == DEAD && goes_on() {
            thread::sleep(LOOK);
        }
        if back && delay() != DEAD {
            thread::sleep(Duration::from_millis(delay()));
        }
        goes_on()
    }

    /// Decides about an answer that came now. False: it is lost.
    fn answer(&self, connection: &Connection) -> bool {
        let came = Instant::now();
        loop {
            let mut answers = self.answers.lock().unwrap();
            match *answers {
                Answers::LoseNext if connection.up.load(Ordering::SeqCst) >= BODY => {
                    *answers = Answers::Pass;
                    self.lost.store(true, Ordering::SeqCst);
                    connection.reset();
                    return false;
                }
                Answers::KeepSince(moment) if came >= moment => {}
                _ => return true,
            }
            drop(answers);
            if connection.is_reset() || self.ended.load(Ordering::SeqCst) {
                return false;
            }
            thread::sleep(LOOK);
        }
    }
}

fn forward(state: &Arc<State>, caller: TcpStream, target: TcpStream) -> io::Result<()> {
    for stream in [&caller, &target] {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_millis(50)))?;
        SockRef::from(stream).set_send_buffer_size(SOCKET)?;
    }
    let limit = state.next_limit.lock().unwrap().take();
    let connection = Connection { caller, target, up: AtomicU64::new(0), limit, is_reset: AtomicBool::new(false) };
    let connection = Arc::new(connection);
    state.connections.lock().unwrap().push(Arc::downgrade(&connection));
    for back in [false, true] {
        let (state, connection) = (Arc::clone(state), Arc::clone(&connection));
        thread::spawn(move || copy(&state, &connection, back));
    }
    Ok(())
}

fn copy(state: &State, connection: &Connection, back: bool) {
    let (mut from, mut to) = match back {
        true => (&connection.target, &connection.caller),
        false => (&connection.caller, &connection.target),
    };
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 || !state.wait(connection, back) {
            break;
        }
        let mut piece = &buffer[..length];
        if back {
            if !state.answer(connection) {
                break;
            }
        } else {
            let before = connection.up.load(Ordering::SeqCst);
            let room = connection.limit.map_or(u64::MAX, |limit| limit - before);
            piece = &piece[..length.min(usize::try_from(room).unwrap_or(usize::MAX))];
            connection.up.fetch_add(piece.len() as u64, Ordering::SeqCst);
            state.meter.count(piece.len());
        }
        if write(connection, &mut to, piece).is_err() {
            break;
        }
        if connection.limit == Some(connection.up.load(Ordering::SeqCst)) {
            connection.reset();
        }
    }
    if !connection.is_reset() {
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// Writes all, as long as the connection is not reset.
fn write(connection: &Connection, to: &mut &TcpStream, mut piece: &[u8]) -> io::Result<()> {
    while !piece.is_empty() {
        match to.write(piece) {
            Ok(written) => piece = &piece[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !connection.is_reset() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
