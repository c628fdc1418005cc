#![no_main]
//! Digest fields: no panic, and what is taken and formatted again is the same.

use libfuzzer_sys::fuzz_target;
use rsnap_wire::digest::{format, parse};

const STARTS: &[&[u8]] = &[
    b"",
    b"sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:",
    b"sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:",
];

fuzz_target!(|bytes: &[u8]| {
    let [start, rest @ ..] = bytes else { return };
    let value = [STARTS[usize::from(*start) % STARTS.len()], rest].concat();
    let Ok(digests) = parse(value.split(|byte| *byte == b'\n')) else { return };
    match format(&digests) {
        Some(formatted) => assert_eq!(parse([formatted.as_bytes()]), Ok(digests)),
        None => assert!(digests.is_empty()),
    }
});
