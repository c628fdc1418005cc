//! What holds for every chain stream, however it is cut.

use proptest::prelude::*;

use super::*;

/// Whatever `stream` is: no panic, nothing outside the size, errors inside the input.
fn check_hostile(stream: &[u8], piece: usize) {
    let mut decoder = Decoder::new(Limits::default());
    let (mut size, mut end) = (0, 0);
    for mut part in stream.chunks(piece) {
        loop {
            match decoder.next(&mut part) {
                Ok(Some(Event::Diff(event))) => check_event(&event, &mut size, &mut end),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    assert!(error.offset <= decoder.consumed() && decoder.consumed() <= stream.len() as u64);
                    return;
                }
            }
        }
    }
}

fn check_event(event: &Diff<'_>, size: &mut u64, end: &mut u64) {
    let (offset, length) = match event {
        Diff::Size(found) => return (*size, *end) = (*found, 0),
        Diff::Data { offset, bytes } => (*offset, bytes.len() as u64),
        Diff::Zero { offset, length } => (*offset, *length),
        Diff::From(_) | Diff::To(_) | Diff::Protected(_) | Diff::End => return,
    };
    assert!(length > 0 && offset >= *end);
    *end = offset.checked_add(length).unwrap();
    assert!(*end <= *size);
}

/// The extents of one diff: gap before, content, whether it is data.
type Extents = Vec<(u64, Vec<u8>, bool)>;

fn extents() -> impl Strategy<Value = Extents> {
    prop::collection::vec((1..100_u64, prop::collection::vec(any::<u8>(), 1..40), any::<bool>()), 0..5)
}

fn protections() -> impl Strategy<Value = Option<Protection>> {
    prop::option::of(prop_oneof![
        any::<bool>().prop_map(Protection::Byte),
        any::<bool>().prop_map(Protection::Misdeclared),
        any::<bool>().prop_map(Protection::Padded),
    ])
}

/// A stream of the given diffs, and what [`joined`] makes of its events from the first diff on.
fn stream(diffs: &[(Option<Protection>, Extents)]) -> (Vec<u8>, Vec<String>) {
    let mut bytes = ImageHeader { diffs: diffs.len() as u64, ..HEADER }.encode().unwrap();
    let mut lines = vec![format!("{:?}", Event::Diffs(diffs.len() as u64))];
    for (index, (protection, extents)) in diffs.iter().enumerate() {
        let from = index.checked_sub(1).map(|index| format!("s{index}"));
        let to = (index + 1 < diffs.len()).then(|| format!("s{index}"));
        let size = extents.iter().map(|(gap, content, _)| gap + content.len() as u64).sum();
        let header = DiffHeader { from: from.as_deref(), to: to.as_deref(), protection: *protection, size };
        bytes.extend(header.encode().unwrap());
        let mut events: Vec<_> = from.map(Diff::From).into_iter().chain(to.map(Diff::To)).collect();
        events.extend(protection.map(|protection| Diff::Protected(status(protection))));
        events.push(Diff::Size(size));
        lines.extend(events.into_iter().map(|event| format!("{:?}", Event::Diff(event))));
        lines.extend(put_extents(&mut bytes, extents));
        lines.push(format!("{:?}", Event::Diff(Diff::End)));
        bytes.extend(END);
    }
    lines.push(format!("{:?}", Event::End));
    (bytes, lines)
}

fn put_extents(bytes: &mut Vec<u8>, extents: &Extents) -> Vec<String> {
    let mut lines = Vec::new();
    let mut offset = 0;
    for (gap, content, is_data) in extents {
        offset += gap;
        let length = content.len() as u64;
        if *is_data {
            bytes.extend([&data(offset, length), content.as_slice()].concat());
            lines.push(format!("{offset}:{}", content.escape_ascii()));
        } else {
            bytes.extend(zero(offset, length));
            lines.push(format!("{:?}", Event::Diff(Diff::Zero { offset, length })));
        }
        offset += length;
    }
    lines
}

fn status(protection: Protection) -> bool {
    match protection {
        Protection::Byte(status) | Protection::Misdeclared(status) | Protection::Padded(status) => status,
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_in_any_pieces(
        diffs in prop::collection::vec((protections(), extents()), 1..5),
        piece in 1..100_usize,
    ) {
        let (bytes, lines) = stream(&diffs);
        let found = joined(&decode(bytes.chunks(piece)).unwrap());
        prop_assert!(found.ends_with(&lines), "{found:?}\n{lines:?}");
        prop_assert_eq!(found.len() - lines.len(), 5);
    }

    #[test]
    fn truncation_is_an_error_everywhere(diffs in prop::collection::vec((protections(), extents()), 1..4)) {
        let (bytes, _) = stream(&diffs);
        for length in 0..bytes.len() {
            let error = decode([&bytes[..length]]).unwrap_err();
            prop_assert_eq!(error.offset, length as u64);
        }
    }

    #[test]
    fn a_flipped_bit_never_leads_outside(
        diffs in prop::collection::vec((protections(), extents()), 1..5),
        byte: prop::sample::Index,
        bit in 0..8_u8,
        piece in 1..80_usize,
    ) {
        let (mut bytes, _) = stream(&diffs);
        let index = byte.index(bytes.len());
        bytes[index] ^= 1 << bit;
        check_hostile(&bytes, piece);
        let lines = |events: Vec<_>| joined(&events);
        prop_assert_eq!(decode(bytes.chunks(piece)).map(lines), decode([bytes.as_slice()]).map(lines));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, piece in 1..80_usize) {
        check_hostile(&bytes, piece);
        check_hostile(&[b"rbd image v2\n", bytes.as_slice()].concat(), piece);
        check_hostile(&[&first(FIRST), bytes.as_slice()].concat(), piece);
    }
}
