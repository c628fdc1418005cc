#![no_main]
//! The chain stream: whole and in pieces it is the same, extents are in bounds, errors are inside the stream.

use libfuzzer_sys::fuzz_target;
use rsnap_fuzz::{Bounds, Item, Outcome, check_error, input, push};
use rsnap_wire::chain::{Decoder, Event, Limits};

/// Up to the extents of the first diff of two, with 128 KiB.
macro_rules! first {
    ($rest:literal) => {
        concat!(
            "rbd image v2\nErbd image diffs v2\n\x02\0\0\0\0\0\0\0rbd diff v2\n",
            "t\x05\0\0\0\0\0\0\0\x01\0\0\0as\x08\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\0",
            $rest
        )
        .as_bytes()
    };
}

const STARTS: &[&[u8]] = &[
    first!(""),
    first!("z\x10\0\0\0\0\0\0\0"),
    first!("z\x10\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0z\x10\0\0\0\0\0\0\0"),
    first!("w\x14\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x04\0\0\0\0\0\0\0dataz\x10\0\0\0\0\0\0\0"),
    first!("erbd diff v2\nf\x05\0\0\0\0\0\0\0\x01\0\0\0a"),
    b"rbd image v2\nErbd image diffs v2\n\x01\0\0\0\0\0\0\0rbd diff v2\np\x08\0\0\0\0\0\0\0\0",
    b"rbd image v2\nErbd image diffs v2\n\x01\0\0\0\0\0\0\0rbd diff v2\n",
    b"rbd image v2\nErbd image diffs v2\n",
    b"rbd image v2\nM\x0a\0\0\0\0\0\0\0\x01\0\0\0",
    b"rbd image v2\n",
    b"",
];

fuzz_target!(|bytes: &[u8]| {
    if let Some((stream, piece)) = input(bytes, STARTS) {
        assert_eq!(decode(&stream, stream.len().max(1)), decode(&stream, piece));
    }
});

fn decode(stream: &[u8], piece: usize) -> Outcome {
    let limits = Limits { diffs: 4, metadata_bytes: 64 };
    let (mut decoder, mut bounds, mut items) = (Decoder::new(limits), Bounds::default(), Vec::new());
    for mut part in stream.chunks(piece) {
        loop {
            match decoder.next(&mut part) {
                Ok(Some(event)) => take(&event, &mut bounds, &mut items),
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

fn take(event: &Event<'_>, bounds: &mut Bounds, items: &mut Vec<Item>) {
    let Event::Diff(event) = event else { return items.push(Item::Other(format!("{event:?}"))) };
    bounds.check(event);
    push(items, event);
    if *event == rsnap_wire::Event::End {
        *bounds = Bounds::default();
    }
}
