//! What holds for every stream of version 1, however it is cut.

use proptest::prelude::*;

use super::*;

/// A stream that ought to be taken: its items and its bytes.
fn streams() -> impl Strategy<Value = (Vec<Item>, Vec<u8>)> {
    let extents = prop::collection::vec((0..100_u64, prop::collection::vec(any::<u8>(), 1..40), any::<bool>()), 0..8);
    let name = || prop::option::of("[^\0]{1,20}");
    (name(), name(), extents, 0..50_u64).prop_map(|(from, to, extents, tail)| stream(from, to, &extents, tail))
}

fn stream(
    from: Option<String>,
    to: Option<String>,
    extents: &[(u64, Vec<u8>, bool)],
    tail: u64,
) -> (Vec<Item>, Vec<u8>) {
    let size = extents.iter().map(|(gap, bytes, _)| gap + bytes.len() as u64).sum::<u64>() + tail;
    let mut bytes = Header { from: from.as_deref(), to: to.as_deref(), size }.encode().unwrap();
    let mut items: Vec<_> = from.map(Item::From).into_iter().chain(to.map(Item::To)).collect();
    items.push(Item::Size(size));
    let mut offset = 0;
    for (gap, content, is_data) in extents {
        offset += gap;
        let length = content.len() as u64;
        bytes.extend(if *is_data { with_data(offset, content) } else { zero(offset, length).to_vec() });
        let previous_is_touched = *gap == 0 && matches!(items.last(), Some(Item::Data(..)));
        match items.last_mut() {
            Some(Item::Data(_, data)) if *is_data && previous_is_touched => data.extend(content),
            _ if *is_data => items.push(Item::Data(offset, content.clone())),
            _ => items.push(Item::Zero(offset, length)),
        }
        offset += length;
    }
    bytes.extend(END);
    items.push(Item::End);
    (items, bytes)
}

/// Whatever `stream` is: no panic, nothing outside the size, errors inside the input.
fn check_hostile(stream: &[u8], piece: usize) {
    let mut decoder = Decoder::new();
    let (mut size, mut end) = (None, 0);
    for mut part in stream.chunks(piece) {
        loop {
            match decoder.next(&mut part) {
                Ok(Some(event)) => check_event(&event, &mut size, &mut end),
                Ok(None) => break,
                Err(error) => {
                    assert!(error.offset <= decoder.consumed() && decoder.consumed() <= stream.len() as u64);
                    return;
                }
            }
        }
    }
}

fn check_event(event: &Event<'_>, size: &mut Option<u64>, end: &mut u64) {
    let (offset, length) = match event {
        Event::Size(found) => return assert_eq!(size.replace(*found), None),
        Event::Data { offset, bytes } => (*offset, bytes.len() as u64),
        Event::Zero { offset, length } => (*offset, *length),
        Event::From(_) | Event::To(_) | Event::Protected(_) | Event::End => return,
    };
    assert!(length > 0 && offset >= *end);
    *end = offset.checked_add(length).unwrap();
    assert!(*end <= size.unwrap());
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_in_any_pieces(
        (items, bytes) in streams(),
        cuts in prop::collection::vec(1..60_usize, 1..20),
    ) {
        let mut rest = bytes.as_slice();
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(decode(pieces).unwrap(), items);
    }

    #[test]
    fn truncation_is_an_error_everywhere((_, bytes) in streams()) {
        for length in 0..bytes.len() {
            let error = decode([&bytes[..length]]).unwrap_err();
            prop_assert_eq!(error.offset, length as u64);
            let is_truncated = matches!(error.fault, Fault::Truncated { .. });
            prop_assert!(is_truncated);
        }
    }

    #[test]
    fn a_flipped_bit_never_leads_outside(
        (_, bytes) in streams(),
        byte: prop::sample::Index,
        bit in 0..8_u8,
        piece in 1..80_usize,
    ) {
        let mut flipped = bytes;
        let index = byte.index(flipped.len());
        flipped[index] ^= 1 << bit;
        check_hostile(&flipped, piece);
        prop_assert_eq!(decode(flipped.chunks(piece)), decode([flipped.as_slice()]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, piece in 1..80_usize) {
        check_hostile(&bytes, piece);
        check_hostile(&[BANNER, &bytes].concat(), piece);
        check_hostile(&[&header(1000), bytes.as_slice()].concat(), piece);
    }
}
