//! `rsnap send` as a process that others may kill and put to sleep.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// However many faults meet it.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Default)]
pub struct Slot(Mutex<Option<Running>>);

struct Running {
    child: Child,
    was_killed: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a sender ended.
#[derive(Debug)]
pub enum Ended {
    /// Its last word.
    Well(Value),
    /// What it complained about.
    Badly(Value),
    Killed,
}

/// What a sender has said.
#[derive(Debug)]
pub struct Said {
    pub ended: Ended,
    /// Tries that failed and were followed by another.
    pub retries: Vec<String>,
    /// What it has sent at least.
    pub moved: u64,
}

impl Slot {
    /// Runs a sender to its end; `folder` is for what it says.
    pub fn run(&self, mut command: Command, folder: &Path) -> Said {
        let (out, err) = (folder.join("out"), folder.join("err"));
        let file = |path| fs::File::create(path).unwrap();
        let child = command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err)).spawn().unwrap();
        *self.lock() = Some(Running { child, was_killed: false });
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.lock().as_mut().unwrap().child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "a sender does not end: {}", fs::read_to_string(&out).unwrap());
            std::thread::sleep(Duration::from_millis(10));
        };
        let was_killed = self.lock().take().unwrap().was_killed;
        let (out, err) = (fs::read_to_string(out).unwrap(), fs::read_to_string(err).unwrap());
        // A line may be cut off by the death.
        let said: Vec<Value> = out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let last = said.last().filter(|value| value["event"] == "done").cloned();
        let ended = match (status.success(), was_killed) {
            (true, _) => Ended::Well(last.unwrap_or_else(|| panic!("it ends without a word: {out}"))),
            (false, true) => Ended::Killed,
            (false, false) => {
                let error = err.lines().last().and_then(|line| serde_json::from_str(line).ok());
                Ended::Badly(error.unwrap_or_else(|| panic!("it ends with {status} and no reason: {out}\n{err}")))
            }
        };
        let retries = said.iter().filter(|value| value["event"] == "retry");
        let retries = retries.map(|value| value["error"].as_str().unwrap().to_owned()).collect();
        let sending = said.iter().rfind(|value| value["stage"] == "sending");
        let moved = sending.and_then(|value| value["moved"].as_u64()).unwrap_or_default();
        Said { ended, retries, moved }
    }

    /// SIGKILL. False: there is none.
    pub fn kill(&self) -> bool {
        match self.lock().as_mut() {
            Some(running) => {
                running.was_killed = true;
                running.child.kill().is_ok()
            }
            None => false,
        }
    }

    /// SIGSTOP or SIGCONT. False: there is none.
    pub fn signal(&self, name: &str) -> bool {
        match self.lock().as_mut() {
            Some(running) => {
                let process = running.child.id().to_string();
                Command::new("kill").args(["-s", name, &process]).status().unwrap().success()
            }
            None => false,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
