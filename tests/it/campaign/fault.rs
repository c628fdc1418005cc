//! Which faults there are, and which one comes next.

use std::time::Duration;

use super::LANES;
use crate::support::next;

pub const GATEWAYS: usize = 3;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// SIGKILL of a gateway, which is started again after a while.
    Kill { down: Duration },
    /// SIGSTOP of a gateway and SIGCONT. Its connections hang at first and then end, in order or by force.
    Stop { asleep: Duration, silent: Duration, in_order: bool },
    /// All connections of a gateway are reset.
    Reset,
    /// The next connection to a gateway is reset after so many bytes.
    CutAfter { bytes: u64 },
    /// What a gateway answers is late.
    Delay { by: Duration, time: Duration },
    /// Nothing goes through to a gateway any more, and then its connections are reset.
    Silence { time: Duration },
    /// The answer to a piece is lost: it was taken.
    LostAnswer,
    /// The answer to the commit of a lane is lost: it is committed.
    LostCommit { lane: usize },
    /// The storage is full for a while.
    Full,
    /// SIGKILL of a sender, which is run again.
    SenderDeath { lane: usize },
    /// SIGSTOP of a sender, and SIGCONT.
    SenderSleep { lane: usize, asleep: Duration },
}

/// One fault: how many bytes after the one before it strikes, and whom.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub after: u64,
    pub gateway: usize,
    pub kind: Kind,
}

impl Fault {
    /// Fault `number` of a seed.
    pub fn of(seed: u64, number: u64) -> Self {
        let mut state = seed ^ number.wrapping_mul(0xd134_2543_de82_ef95);
        let mut dice = |below: u64| next(&mut state) % below;
        let (after, gateway, lane) = (dice(4 << 20), dice(GATEWAYS as u64) as usize, dice(LANES as u64) as usize);
        let mut time = |least: u64, most: u64| Duration::from_millis(least + dice(most - least));
        // One sleep in two is longer than a lease in etcd.
        let (short, long) = (time(300, 1500), time(2500, 4000));
        let (first, second) = (time(50, 400), time(200, 2000));
        let kind = match dice(100) {
            0..14 => Kind::Kill { down: second },
            14..18 => Kind::Stop { asleep: short, silent: first, in_order: dice(2) == 0 },
            18..22 => Kind::Stop { asleep: long, silent: first, in_order: dice(2) == 0 },
            22..38 => Kind::Reset,
            38..52 => Kind::CutAfter { bytes: dice(3 << 20) },
            52..61 => Kind::Delay { by: first, time: second },
            61..69 => Kind::Silence { time: second },
            69..80 => Kind::LostAnswer,
            80..86 => Kind::LostCommit { lane },
            86..90 => Kind::Full,
            90..97 => Kind::SenderDeath { lane },
            _ => Kind::SenderSleep { lane, asleep: second },
        };
        Self { after, gateway, kind }
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill { .. } => "gateway killed",
            Self::Stop { .. } => "gateway stopped",
            Self::Reset => "connections reset",
            Self::CutAfter { .. } => "connection cut at a byte",
            Self::Delay { .. } => "answers late",
            Self::Silence { .. } => "silence",
            Self::LostAnswer => "answer lost",
            Self::LostCommit { .. } => "answer to a commit lost",
            Self::Full => "storage full",
            Self::SenderDeath { .. } => "sender killed",
            Self::SenderSleep { .. } => "sender stopped",
        }
    }
}
