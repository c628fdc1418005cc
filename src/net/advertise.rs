//! The address of this machine that others most likely reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses reserved for documentation (RFC 5737, RFC 3849): never anyone's, and routed like any other. A datagram
/// socket that is connected sends nothing; it only asks the kernel which way it would go.
const ELSEWHERE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ELSEWHERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// The address that this machine would send from; `None` without a route.
pub(super) fn way_out(v4: bool) -> Option<IpAddr> {
    let v4_first = [(IpAddr::from([0; 4]), IpAddr::from(ELSEWHERE_V4)), (IpAddr::from([0; 16]), ELSEWHERE_V6.into())];
    let mut ways = v4_first.into_iter().filter(|(local, _)| !v4 || local.is_ipv4());
    ways.find_map(|(local, elsewhere)| source_towards(local, elsewhere))
}

fn source_towards(local: IpAddr, elsewhere: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(local, 0)).ok()?;
    socket.connect(SocketAddr::new(elsewhere, 9)).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_unspecified() && !source.is_loopback()).then_some(source)
}
