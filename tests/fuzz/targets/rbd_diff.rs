#![no_main]
//! rbd-diff version 1: whole and in pieces it is the same, extents are in bounds, errors are inside the stream.

use libfuzzer_sys::fuzz_target;
use rsnap_fuzz::{Bounds, Outcome, check_error, input, push};
use rsnap_wire::rbd_diff::Decoder;

const STARTS: &[&[u8]] = &[
    b"rbd diff v1\ns\0\0\x01\0\0\0\0\0",
    b"rbd diff v1\nf\x02\0\0\0s1t\x02\0\0\0s2s\xff\xff\xff\xff\xff\xff\xff\xff",
    b"rbd diff v1\n",
    b"",
];

fuzz_target!(|bytes: &[u8]| {
    if let Some((stream, piece)) = input(bytes, STARTS) {
        assert_eq!(decode(&stream, stream.len().max(1)), decode(&stream, piece));
    }
});

fn decode(stream: &[u8], piece: usize) -> Outcome {
    let (mut decoder, mut bounds, mut items) = (Decoder::new(), Bounds::default(), Vec::new());
    for mut part in stream.chunks(piece) {
        loop {
            match decoder.next(&mut part) {
                Ok(Some(event)) => {
                    bounds.check(&event);
                    push(&mut items, &event);
                }
                Ok(None) => break assert!(part.is_empty(), "input is left"),
                Err(error) => {
                    check_error(&error, decoder.consumed(), stream.len());
                    assert_eq!(decoder.finish(), Err(error.clone()));
                    return (items, Err(error));
                }
            }
        }
    }
    (items, decoder.finish())
}
