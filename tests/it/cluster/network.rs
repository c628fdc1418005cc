//! A network of our own for the members of an etcd, in which cables can be pulled.
//!
//! Each member lives in a network namespace with one cable to a bridge; the gateways are at the bridge. Needs root, as
//! namespaces do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub struct Network {
    id: String,
    subnet: u8,
    members: usize,
}

fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip: apt-get install iproute2");
    if !output.status.success() {
        eprintln!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

impl Network {
    /// A bridge with a cable to each member.
    pub fn new(members: usize) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let process = std::process::id();
        let network =
            Self { id: format!("{process:x}{number}"), subnet: (process % 200) as u8 + number as u8, members };
        let (bridge, subnet) = (network.bridge(), network.subnet);
        assert!(ip(&format!("link add {bridge} type bridge")), "network namespaces need root");
        assert!(ip(&format!("addr add 198.18.{subnet}.1/24 dev {bridge}")));
        assert!(ip(&format!("link set {bridge} up")));
        for member in 0..members {
            let (space, cable, address) =
                (network.space(member), network.cable(member), network.address(member, 0).ip());
            assert!(ip(&format!("netns add {space}")));
            assert!(ip(&format!("link add {cable} type veth peer name eth0 netns {space}")));
            assert!(ip(&format!("link set {cable} master {bridge} up")));
            assert!(ip(&format!("-n {space} addr add {address}/24 dev eth0")));
            assert!(ip(&format!("-n {space} link set lo up")) && ip(&format!("-n {space} link set eth0 up")));
        }
        network
    }

    fn bridge(&self) -> String {
        format!("rsb{}", self.id)
    }

    fn space(&self, member: usize) -> String {
        format!("rsn{}m{member}", self.id)
    }

    fn cable(&self, member: usize) -> String {
        format!("rsc{}m{member}", self.id)
    }

    pub fn address(&self, member: usize, port: u16) -> SocketAddr {
        let address = Ipv4Addr::new(198, 18, self.subnet, member as u8 + 2);
        SocketAddr::new(IpAddr::V4(address), port)
    }

    /// Starts etcd where this member lives.
    pub fn program(&self, member: usize) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(member), "etcd"]);
        command
    }

    /// Pulls the cable of a member: nothing comes in or out, and nobody is told.
    pub fn cut(&self, member: usize) {
        assert!(ip(&format!("link set {} down", self.cable(member))));
    }

    pub fn mend(&self, member: usize) {
        assert!(ip(&format!("link set {} up", self.cable(member))));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for member in 0..self.members {
            ip(&format!("link del {}", self.cable(member)));
            ip(&format!("netns del {}", self.space(member)));
        }
        ip(&format!("link del {}", self.bridge()));
    }
}
