//! What the keys and values in etcd are called, and what of them is believed.
//!
//! Whoever can write to etcd can write anything there, so keys and values are read by their grammar: an address as the
//! standard library prints it, a decimal as a count is printed. What is not exactly that is ignored and told once.

use std::net::{IpAddr, SocketAddr};

/// Before the address of a gateway: its number of running transfers.
pub(super) const SERVERS: &str = "/rsnap/servers/";
/// Before the address of a gateway: its signed record.
pub(super) const GATEWAYS: &str = "/rsnap/gateways/";
/// To whom this registry belongs.
pub(super) const GROUP: &str = "/rsnap/group";
/// The first key after all of these: one read and one watch from [`GATEWAYS`] to here see them at one revision.
pub(super) const END: &str = "/rsnap/servers0";

/// Longer than any key and any value that a gateway writes. What strangers write may be as long as etcd takes it: of a
/// longer text one byte more than this is kept, which makes it none of ours.
pub(super) const KEY_MAX: usize = 100;
pub(super) const VALUE_MAX: usize = 4096;
/// More transfers than any gateway runs.
const COUNT_MAX: u64 = 1_000_000;

/// What a key is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Server(SocketAddr),
    Gateway(SocketAddr),
    Group,
}

/// Why a key or a value is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the key does not end in an address, ip:port")]
    Address,
    #[error("nobody can reach that address")]
    Unreachable,
    #[error("the value is not a plain decimal number")]
    Number,
    #[error("the value is more than {COUNT_MAX} transfers")]
    Huge,
    #[error("it has no record that is signed with a ticket key of this group; auth.ticket_keys must be the same")]
    Unsigned,
    #[error("it was not written by the gateway that it is about")]
    Stranger,
    #[error("its record is signed, but for another group of gateways")]
    OtherGroup,
}

pub(super) fn server(address: SocketAddr) -> String {
    format!("{SERVERS}{address}")
}

pub(super) fn gateway(address: SocketAddr) -> String {
    format!("{GATEWAYS}{address}")
}

/// As much of a text as is kept.
pub(super) fn cut(text: &[u8], longest: usize) -> Vec<u8> {
    text.get(..=longest).unwrap_or(text).to_vec()
}

/// What a key is about; `None` for keys that are not ours to understand.
pub(super) fn parse(key: &[u8]) -> Result<Option<Name>, Refusal> {
    let Ok(key) = str::from_utf8(key) else { return Err(Refusal::Address) };
    if key == GROUP {
        return Ok(Some(Name::Group));
    }
    if let Some(text) = key.strip_prefix(SERVERS) {
        return address(text).map(|address| Some(Name::Server(address)));
    }
    match key.strip_prefix(GATEWAYS) {
        Some(text) => address(text).map(|address| Some(Name::Gateway(address))),
        None => Ok(None),
    }
}

/// An address in its one spelling, so that a gateway cannot be there twice.
fn address(text: &str) -> Result<SocketAddr, Refusal> {
    let address: SocketAddr = text.parse().map_err(|_| Refusal::Address)?;
    if address.to_string() != text {
        return Err(Refusal::Address);
    }
    let unusable = match address.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    let scoped = matches!(address, SocketAddr::V6(address) if address.scope_id() != 0);
    if unusable || scoped || address.port() == 0 { Err(Refusal::Unreachable) } else { Ok(address) }
}

/// A number of transfers: digits, without sign, space or needless zero.
pub(super) fn count(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) || (value.len() > 1 && value.starts_with(b"0")) {
        return Err(Refusal::Number);
    }
    let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(Refusal::Huge)?;
    if number > COUNT_MAX { Err(Refusal::Huge) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gateways_write_is_understood() {
        for text in ["192.0.2.1:8443", "[2001:db8::1]:443", "127.0.0.1:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(parse(server(address).as_bytes()), Ok(Some(Name::Server(address))));
            assert_eq!(parse(gateway(address).as_bytes()), Ok(Some(Name::Gateway(address))));
        }
        assert_eq!(parse(b"/rsnap/group"), Ok(Some(Name::Group)));
        assert_eq!(parse(b"/rsnap/else/1"), Ok(None));
        assert_eq!((count(b"0"), count(b"42"), count(b"1000000")), (Ok(0), Ok(42), Ok(1_000_000)));
    }

    #[test]
    fn all_keys_are_between_the_bounds_of_the_one_read() {
        let address = "[ffff::1]:65535".parse().unwrap();
        for key in [server(address), gateway(address), GROUP.to_owned(), format!("{SERVERS}\u{10ffff}")] {
            assert!(key.as_str() >= GATEWAYS && key.as_str() < END, "{key}");
        }
    }

    #[test]
    fn a_long_text_is_cut_and_is_none_of_ours() {
        let long = format!("{SERVERS}[2001:db8::1]:{}", "0".repeat(KEY_MAX));
        assert_eq!(cut(long.as_bytes(), KEY_MAX).len(), KEY_MAX + 1);
        assert_eq!(parse(&cut(long.as_bytes(), KEY_MAX)), Err(Refusal::Address));
        assert_eq!(count(&cut(&vec![b'1'; 1 << 20], VALUE_MAX)), Err(Refusal::Huge));
        let longest = server("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap());
        assert_eq!(cut(longest.as_bytes(), KEY_MAX), longest.as_bytes());
    }

    #[test]
    fn near_misses_are_refused() {
        for (text, refusal) in [
            ("", Refusal::Address),
            ("gateway:8443", Refusal::Address),
            ("192.0.2.1", Refusal::Address),
            ("192.0.2.1:08443", Refusal::Address),
            ("192.0.2.1:8443/", Refusal::Address),
            ("192.0.2.1:8443 ", Refusal::Address),
            ("192.0.2.1:70000", Refusal::Address),
            ("[2001:DB8::1]:443", Refusal::Address),
            ("[2001:db8:0::1]:443", Refusal::Address),
            ("192.0.2.1:0", Refusal::Unreachable),
            ("0.0.0.0:8443", Refusal::Unreachable),
            ("[::]:8443", Refusal::Unreachable),
            ("255.255.255.255:1", Refusal::Unreachable),
            ("224.0.0.1:1", Refusal::Unreachable),
            ("[fe80::1%3]:1", Refusal::Unreachable),
        ] {
            assert_eq!(parse(format!("{SERVERS}{text}").as_bytes()), Err(refusal), "{text:?}");
        }
        assert_eq!(parse(b"/rsnap/servers/\xff"), Err(Refusal::Address));
        for (value, refusal) in [
            (&b""[..], Refusal::Number),
            (b"-1", Refusal::Number),
            (b"+1", Refusal::Number),
            (b"1.0", Refusal::Number),
            (b"0x10", Refusal::Number),
            (b" 1", Refusal::Number),
            (b"1\n", Refusal::Number),
            (b"01", Refusal::Number),
            ("\u{0661}".as_bytes(), Refusal::Number),
            (b"1000001", Refusal::Huge),
            (b"99999999999999999999999999", Refusal::Huge),
        ] {
            assert_eq!(count(value), Err(refusal), "{value:?}");
        }
    }
}
