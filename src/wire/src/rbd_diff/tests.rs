mod properties;

use super::*;
use crate::{Error, Event, Fault};

/// As `rbd export-diff --from-snap s1 volumes/v1@s2` of Ceph 16.2 wrote it: 16 MiB, 16 bytes of data, two zero extents.
const REAL: &[u8] = b"rbd diff v1\n\
    f\x02\x00\x00\x00s1\
    t\x02\x00\x00\x00s2\
    s\x00\x00\x00\x01\x00\x00\x00\x00\
    w\x08\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00DDDDDDDDDDDDDDDD\
    z\x00\x00\x40\x00\x00\x00\x00\x00\x20\x00\x00\x00\x00\x00\x00\x00\
    z\x00\x00\xc0\x00\x00\x00\x00\x00\x40\x02\x00\x00\x00\x00\x00\x00\
    e";

/// An event that owns its data, so that parts of one record can be put together again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    From(String),
    To(String),
    Size(u64),
    Data(u64, Vec<u8>),
    Zero(u64, u64),
    End,
}

/// All events of an input that comes in the given pieces.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Item>, Error> {
    let mut decoder = Decoder::new();
    let mut items = Vec::new();
    for mut piece in pieces {
        while let Some(event) = decoder.next(&mut piece)? {
            push(&mut items, event);
        }
        assert!(piece.is_empty(), "asked for more with input left");
    }
    decoder.finish().map(|()| items)
}

fn push(items: &mut Vec<Item>, event: Event<'_>) {
    match (event, items.last_mut()) {
        (Event::Data { offset, bytes }, Some(Item::Data(start, data))) if *start + data.len() as u64 == offset => {
            data.extend(bytes);
        }
        (Event::Data { offset, bytes }, _) => items.push(Item::Data(offset, bytes.to_vec())),
        (Event::From(name), _) => items.push(Item::From(name)),
        (Event::To(name), _) => items.push(Item::To(name)),
        (Event::Protected(_), _) => panic!("version 1 has no protection status"),
        (Event::Size(size), _) => items.push(Item::Size(size)),
        (Event::Zero { offset, length }, _) => items.push(Item::Zero(offset, length)),
        (Event::End, _) => items.push(Item::End),
    }
}

/// The fault of a stream of these parts, and how many bytes into its last part it is.
fn fault(parts: &[&[u8]]) -> (Fault, i64) {
    let stream = parts.concat();
    let last = parts.last().unwrap().len();
    let error = decode([stream.as_slice()]).unwrap_err();
    (error.fault, error.offset as i64 - (stream.len() - last) as i64)
}

fn header(size: u64) -> Vec<u8> {
    Header { from: None, to: None, size }.encode().unwrap()
}

fn with_data(offset: u64, bytes: &[u8]) -> Vec<u8> {
    [&data(offset, bytes.len() as u64), bytes].concat()
}

#[test]
fn a_real_stream() {
    assert_eq!(REAL.len(), 0x67);
    let items = decode([REAL]).unwrap();
    let expected = [
        Item::From("s1".into()),
        Item::To("s2".into()),
        Item::Size(16 << 20),
        Item::Data(8, vec![b'D'; 16]),
        Item::Zero(0x40_0000, 32),
        Item::Zero(0xc0_0000, 576),
        Item::End,
    ];
    assert_eq!(items, expected);
}

#[test]
fn the_encoder_writes_what_ceph_writes() {
    let header = Header { from: Some("s1"), to: Some("s2"), size: 16 << 20 }.encode().unwrap();
    let data = with_data(8, &[b'D'; 16]);
    let (first, second) = (zero(0x40_0000, 32), zero(0xc0_0000, 576));
    assert_eq!([&header, &data, first.as_slice(), &second, END].concat(), REAL);
}

#[test]
fn the_encoder_refuses_a_name_that_no_decoder_takes() {
    for name in ["", "a\0b", "x".repeat(4097).as_str()] {
        let header = Header { from: None, to: Some(name), size: 0 };
        assert_eq!(header.encode(), Err(EncodeError::Name { found: name.len() }));
    }
}

#[test]
fn cut_at_every_byte_it_is_truncated() {
    for length in 0..REAL.len() {
        let error = decode([&REAL[..length]]).unwrap_err();
        assert_eq!(error.offset, length as u64);
        assert!(matches!(error.fault, Fault::Truncated { missing: 1.., .. }), "{length}: {error}");
    }
    let error = decode([&REAL[..0x34 + 4]]).unwrap_err();
    assert_eq!(error.fault, Fault::Truncated { expected: "data", missing: 12 });
}

#[test]
fn cut_in_two_anywhere_it_is_the_same() {
    let whole = decode([REAL]).unwrap();
    for at in 0..=REAL.len() {
        let (first, second) = REAL.split_at(at);
        assert_eq!(decode([first, second]).unwrap(), whole);
    }
    assert_eq!(decode(REAL.chunks(1)).unwrap(), whole);
}

#[test]
fn the_shortest_streams() {
    assert_eq!(decode([[&header(0), END].concat().as_slice()]).unwrap(), [Item::Size(0), Item::End]);
    let nothing_changed = Header { from: Some("s2"), to: Some("s3"), size: 1 }.encode().unwrap();
    assert_eq!([&nothing_changed, END].concat().len(), 36);
}

#[test]
fn a_banner_is_exact() {
    for banner in ["rbd diff v2\n", "rbd diff v1 ", "RBD diff v1\n", "rbd image v2"] {
        let expected = Fault::Banner { expected: "rbd diff v1\n" };
        assert_eq!(fault(&[banner.as_bytes()]), (expected, 0));
    }
}

#[test]
fn an_unknown_tag_is_an_error_at_the_tag() {
    for found in [0, b'\n', b'F', b'E', b'p', b'Q', 0xff] {
        let expected = Fault::Tag { found, expected: "f t s w z e" };
        assert_eq!(fault(&[&header(100), &[found, 0, 0, 0]]), (expected, 0));
    }
}

#[test]
fn a_header_record_comes_once_and_before_the_extents() {
    let size = b"s\x64\0\0\0\0\0\0\0";
    let name = b"t\x01\0\0\0x";
    assert_eq!(fault(&[&header(100), size]), (Fault::Repeated { tag: 's' }, 0));
    assert_eq!(fault(&[&header(100), name, name]), (Fault::Repeated { tag: 't' }, 0));
    assert_eq!(fault(&[&header(100), &zero(0, 1), name]), (Fault::Late { tag: 't' }, 0));
    assert_eq!(fault(&[&header(100), &zero(0, 0), b"f\x01\0\0\0x"]), (Fault::Late { tag: 'f' }, 0));
    let after_size = [&header(100), name.as_slice(), END].concat();
    assert_eq!(decode([after_size.as_slice()]).unwrap()[1], Item::To("x".into()));
}

#[test]
fn the_size_comes_before_the_first_extent_and_the_end() {
    assert_eq!(fault(&[BANNER, &zero(0, 0)]), (Fault::SizeMissing { tag: 'z' }, 0));
    assert_eq!(fault(&[BANNER, &data(0, 0)]), (Fault::SizeMissing { tag: 'w' }, 0));
    assert_eq!(fault(&[BANNER, END]), (Fault::SizeMissing { tag: 'e' }, 0));
}

#[test]
fn a_name_is_bounded_text() {
    let long = [b"f\x00\x10\0\0".as_slice(), &[b'x'; 4096]].concat();
    let stream = [BANNER, &long, &header(0)[12..], END].concat();
    assert_eq!(decode([stream.as_slice()]).unwrap()[0], Item::From("x".repeat(4096)));
    let what = "the snapshot name";
    let too_long = Fault::TooLong { what, found: 4097, limit: 4096 };
    assert_eq!(fault(&[BANNER, b"f\x01\x10\0\0"]), (too_long, 1));
    let huge = Fault::TooLong { what, found: u32::MAX.into(), limit: 4096 };
    assert_eq!(fault(&[BANNER, b"t\xff\xff\xff\xff"]), (huge, 1));
    assert_eq!(fault(&[BANNER, b"t\0\0\0\0"]), (Fault::Empty { what }, 1));
    assert_eq!(fault(&[BANNER, b"t\x02\0\0\0\xc3\x28"]), (Fault::NotText { what }, 5));
    assert_eq!(fault(&[BANNER, b"t\x02\0\0\0a\0"]), (Fault::NotText { what }, 5));
}

#[test]
fn an_extent_is_inside_the_image_and_never_clipped() {
    let beyond = |offset, length| Fault::Beyond { offset, length, size: 100 };
    assert_eq!(fault(&[&header(100), &with_data(90, &[1; 11])]), (beyond(90, 11), 1));
    assert_eq!(fault(&[&header(100), &zero(100, 1)]), (beyond(100, 1), 1));
    assert_eq!(fault(&[&header(100), &data(0, 1 << 40)]), (beyond(0, 1 << 40), 1));
    let overflow = Fault::Overflow { offset: 2, length: u64::MAX - 1 };
    assert_eq!(fault(&[&header(u64::MAX), &zero(2, u64::MAX - 1)]), (overflow, 1));
    let to_the_end = [&header(100), with_data(90, &[1; 10]).as_slice(), END].concat();
    assert_eq!(decode([to_the_end.as_slice()]).unwrap()[1], Item::Data(90, vec![1; 10]));
}

#[test]
fn extents_ascend_without_overlap() {
    let order = |offset, expected| Fault::Order { offset, expected };
    assert_eq!(fault(&[&header(100), &zero(10, 10), &zero(19, 1)]), (order(19, 20), 1));
    assert_eq!(fault(&[&header(100), &with_data(10, b"ab"), &zero(0, 5)]), (order(0, 12), 1));
    assert_eq!(fault(&[&header(100), &zero(10, 10), &data(10, 10)]), (order(10, 20), 1));
}

#[test]
fn an_empty_extent_says_nothing() {
    let stream = [&header(100), data(0, 0).as_slice(), &zero(50, 0), &zero(50, 1), &data(100, 0), END].concat();
    assert_eq!(decode([stream.as_slice()]).unwrap(), [Item::Size(100), Item::Zero(50, 1), Item::End]);
}

#[test]
fn nothing_comes_after_the_end() {
    assert_eq!(fault(&[REAL, b"\n"]), (Fault::Trailing, 0));
    assert_eq!(fault(&[REAL, REAL]).0, Fault::Trailing);
    let mut decoder = Decoder::new();
    while decoder.next(&mut &REAL[decoder.consumed() as usize..]).unwrap().is_some() {}
    assert_eq!(decoder.finish(), Ok(()));
    assert_eq!(decoder.next(&mut [].as_slice()), Ok(None));
    let trailing = Fault::Trailing.at(REAL.len() as u64);
    assert_eq!(decoder.next(&mut b"e".as_slice()), Err(trailing.clone()));
    assert_eq!(decoder.finish(), Err(trailing));
}

#[test]
fn an_error_stays() {
    let mut decoder = Decoder::new();
    let error = decoder.next(&mut b"rbd diff v2\n".as_slice()).unwrap_err();
    assert_eq!(decoder.next(&mut { REAL }), Err(error.clone()));
    assert_eq!(decoder.finish(), Err(error));
}

#[test]
fn an_error_says_where_and_what() {
    let stream = [header(100), zero(90, 11).to_vec()].concat();
    let text = decode([stream.as_slice()]).unwrap_err().to_string();
    let expected = "at byte 22 of the stream: the extent at 90 with 11 bytes ends beyond the image, \
                    expected an end up to 100";
    assert_eq!(text, expected);
}
