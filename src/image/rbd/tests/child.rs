//! A gateway in a process of its own, to be stopped and killed: this test program once more, with one test that only does
//! something when it is told to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::support::{Site, config};
use crate::image::StageRequest;
use crate::image::cases::request;

const VARIABLE: &str = "RSNAP_TEST_RBD_WRITER";
/// What the child's lines begin with, among those of the test program.
const MARK: &str = "writer: ";

/// What a child is to work on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub configuration: std::path::PathBuf,
    pub namespace: String,
}

/// A running child. Killed when it is dropped.
pub(super) struct Writer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Writer {
    /// Starts one at a site; it has said its first line when this returns.
    pub(super) fn start(site: &Site) -> Self {
        let orders =
            Orders { configuration: site.cluster.configuration().to_owned(), namespace: site.namespace.clone() };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "image::rbd::tests::fence::the_writer", "--nocapture"])
            .env(VARIABLE, serde_json::to_string(&orders).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut writer = Self { child, input, output };
        assert_eq!(writer.line(), "ready");
        writer
    }

    /// The child's next line. It may take as long as the child lives.
    pub(super) fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the writer has ended");
            if let Some((_, said)) = line.trim_end().split_once(MARK) {
                return said.to_owned();
            }
        }
    }

    /// Tells the child to do something, and gives its answer.
    pub(super) fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.line()
    }

    pub(super) fn tell(&mut self, order: &str) {
        writeln!(self.input, "{order}").unwrap();
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// In the child: what it was told to work on, if this is one.
pub(super) fn orders() -> Option<Orders> {
    let text = std::env::var(VARIABLE).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

impl Orders {
    pub(super) fn config(&self) -> crate::image::rbd::RbdConfig {
        config(&self.configuration, Some(&self.namespace))
    }
}

/// In the child: says a line.
pub(super) fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{MARK}{text}").unwrap();
    output.flush().unwrap();
}

/// In the child: the next order, as words.
pub(super) fn listen() -> Vec<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

/// A request for an image by its number; number 1 is the cases' own.
pub(super) fn request_for(volume: usize, snapshot: usize, base: Option<usize>, size: usize) -> StageRequest {
    let image = format!("volume-{volume}").parse().unwrap();
    StageRequest { image, volume: format!("v{volume}").parse().unwrap(), ..request(snapshot, base, size) }
}
