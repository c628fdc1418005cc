mod properties;

use super::*;
use crate::{Error, Event as Diff, Fault};

/// As `rbd export --export-format 2` of Ceph 16.2 lays it out: one protected snapshot and the head, 1 MiB, one key of
/// metadata. The protection status declares 8 bytes and has one.
const REAL: &[u8] = b"rbd image v2\n\
    O\x08\0\0\0\0\0\0\0\x16\0\0\0\0\0\0\0\
    T\x08\0\0\0\0\0\0\0\x3d\0\0\0\0\0\0\0\
    U\x08\0\0\0\0\0\0\0\0\0\x40\0\0\0\0\0\
    C\x08\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\
    M\x0b\0\0\0\0\0\0\0\x01\0\0\0k\x02\0\0\0vw\
    E\
    rbd image diffs v2\n\
    \x02\0\0\0\0\0\0\0\
    rbd diff v2\n\
    t\x06\0\0\0\0\0\0\0\x02\0\0\0s1\
    p\x08\0\0\0\0\0\0\0\x01\
    s\x08\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\
    w\x13\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0abc\
    e\
    rbd diff v2\n\
    f\x06\0\0\0\0\0\0\0\x02\0\0\0s1\
    s\x08\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\
    z\x10\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x10\0\0\0\0\0\0\
    e";

const HEADER: ImageHeader<'_> = ImageHeader {
    order: 22,
    features: 0x3d,
    stripe_unit: 4 << 20,
    stripe_count: 1,
    metadata: &[("k", b"vw")],
    diffs: 2,
};
const FIRST: DiffHeader<'_> = DiffHeader { from: None, to: Some("s1"), protection: None, size: 1 << 20 };
const HEAD: DiffHeader<'_> = DiffHeader { from: Some("s1"), to: None, protection: None, size: 1 << 20 };

/// All events, data copied, of an input that comes in the given pieces. Parts of one record stay apart.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Event<'a>>, Error> {
    decode_within(Limits::default(), pieces)
}

fn decode_within<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Event<'a>>, Error> {
    let mut decoder = Decoder::new(limits);
    let mut events = Vec::new();
    for mut piece in pieces {
        while let Some(event) = decoder.next(&mut piece)? {
            events.push(event);
        }
        assert!(piece.is_empty(), "asked for more with input left");
    }
    decoder.finish().map(|()| events)
}

/// Puts the data of adjacent parts together, as text.
fn joined(events: &[Event<'_>]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut next = None;
    for event in events {
        let Event::Diff(Diff::Data { offset, bytes }) = event else {
            next = None;
            lines.push(format!("{event:?}"));
            continue;
        };
        let text = bytes.escape_ascii().to_string();
        match lines.last_mut() {
            Some(line) if next == Some(*offset) => line.push_str(&text),
            _ => lines.push(format!("{offset}:{text}")),
        }
        next = Some(offset + bytes.len() as u64);
    }
    lines
}

/// The fault of a stream of these parts, and how many bytes into its last part it is.
fn fault(parts: &[&[u8]]) -> (Fault, i64) {
    let stream = parts.concat();
    let last = parts.last().unwrap().len();
    let error = decode([stream.as_slice()]).unwrap_err();
    (error.fault, error.offset as i64 - (stream.len() - last) as i64)
}

fn image_header() -> Vec<u8> {
    HEADER.encode().unwrap()
}

/// Image header and the start of the first diff, up to its extents.
fn first(header: DiffHeader<'_>) -> Vec<u8> {
    [image_header(), header.encode().unwrap()].concat()
}

#[test]
fn a_real_stream() {
    let expected = [
        Event::Order(22),
        Event::Features(0x3d),
        Event::StripeUnit(4 << 20),
        Event::StripeCount(1),
        Event::Metadata { key: "k".into(), value: b"vw".into() },
        Event::Diffs(2),
        Event::Diff(Diff::To("s1".into())),
        Event::Diff(Diff::Protected(true)),
        Event::Diff(Diff::Size(1 << 20)),
        Event::Diff(Diff::Data { offset: 8, bytes: b"abc" }),
        Event::Diff(Diff::End),
        Event::Diff(Diff::From("s1".into())),
        Event::Diff(Diff::Size(1 << 20)),
        Event::Diff(Diff::Zero { offset: 0x1_0000, length: 0x1000 }),
        Event::Diff(Diff::End),
        Event::End,
    ];
    assert_eq!(decode([REAL]).unwrap(), expected);
}

#[test]
fn the_encoder_writes_what_ceph_writes() {
    let first = DiffHeader { protection: Some(Protection::Misdeclared(true)), ..FIRST }.encode().unwrap();
    let head = HEAD.encode().unwrap();
    let (data, zero) = (data(8, 3), zero(0x1_0000, 0x1000));
    let stream = [&image_header(), &first, data.as_slice(), b"abc", END, &head, &zero, END].concat();
    assert_eq!(stream.escape_ascii().to_string(), REAL.escape_ascii().to_string());
}

#[test]
fn cut_at_every_byte_it_is_truncated() {
    for length in 0..REAL.len() {
        let error = decode([&REAL[..length]]).unwrap_err();
        assert_eq!(error.offset, length as u64);
        assert!(matches!(error.fault, Fault::Truncated { missing: 1.., .. }), "{length}: {error}");
    }
}

#[test]
fn cut_in_two_anywhere_it_is_the_same() {
    let whole = joined(&decode([REAL]).unwrap());
    for at in 0..=REAL.len() {
        let (first, second) = REAL.split_at(at);
        assert_eq!(joined(&decode([first, second]).unwrap()), whole);
    }
    assert_eq!(joined(&decode(REAL.chunks(1)).unwrap()), whole);
}

#[test]
fn a_protection_status_is_understood_however_it_is_declared() {
    for status in [false, true] {
        for protection in [Protection::Byte(status), Protection::Misdeclared(status), Protection::Padded(status)] {
            let diff = first(DiffHeader { protection: Some(protection), ..FIRST });
            let stream = [&diff, END, &HEAD.encode().unwrap(), END].concat();
            let events = decode(stream.chunks(1)).unwrap();
            assert!(events.contains(&Event::Diff(Diff::Protected(status))), "{protection:?}");
            assert!(events.ends_with(&[Event::Diff(Diff::End), Event::End]));
        }
    }
}

#[test]
fn a_protection_status_that_is_neither_is_refused() {
    let diff = [image_header(), b"rbd diff v2\n".to_vec()].concat();
    let record = |declared: u64, payload: &[u8]| [b"p".as_slice(), &declared.to_le_bytes(), payload].concat();
    assert_eq!(fault(&[&diff, &record(1, &[2])]), (Fault::Protection { found: 2 }, 9));
    assert_eq!(fault(&[&diff, &record(8, &[2])]), (Fault::Protection { found: 2 }, 9));
    assert_eq!(fault(&[&diff, &record(8, &[1, 0, 0, 0, 0, 0, 0, 1])]), (Fault::Padding, 10));
    let unknown = Fault::Tag { found: 1, expected: "f t p s w z e" };
    assert_eq!(fault(&[&diff, &record(8, &[1, 1])]), (unknown, 10));
    let length = Fault::RecordLength { tag: 'p', found: 2, expected: 1 };
    assert_eq!(fault(&[&diff, &record(2, &[1, 0])]), (length, 1));
    let twice = [record(1, &[0]), record(1, &[0])].concat();
    assert_eq!(fault(&[&diff, &twice]), (Fault::Repeated { tag: 'p' }, 10));
}

#[test]
fn banners_are_exact() {
    assert_eq!(fault(&[b"rbd image v1\n"]).0, Fault::Banner { expected: "rbd image v2\n" });
    let header = image_header();
    let (image, diffs) = header.split_at(header.len() - 27);
    assert_eq!(fault(&[image, b"rbd image diffs v1\n"]), (Fault::Banner { expected: "rbd image diffs v2\n" }, 0));
    assert_eq!(fault(&[image, diffs, b"rbd diff v1\n"]), (Fault::Banner { expected: "rbd diff v2\n" }, 0));
}

#[test]
fn an_unknown_record_is_never_skipped() {
    let record = [b"Q".as_slice(), &0_u64.to_le_bytes()].concat();
    let of_image = Fault::Tag { found: b'Q', expected: "O T U C M E" };
    assert_eq!(fault(&[b"rbd image v2\n", &record]), (of_image, 0));
    let of_diff = Fault::Tag { found: b'Q', expected: "f t p s w z e" };
    assert_eq!(fault(&[&first(FIRST), &record]), (of_diff, 0));
}

#[test]
fn a_property_of_the_image_comes_once_with_eight_bytes() {
    let order = [b"O".as_slice(), &8_u64.to_le_bytes(), &22_u64.to_le_bytes()].concat();
    assert_eq!(fault(&[b"rbd image v2\n", &order, &order]), (Fault::Repeated { tag: 'O' }, 0));
    let short = [b"U".as_slice(), &4_u64.to_le_bytes()].concat();
    let length = Fault::RecordLength { tag: 'U', found: 4, expected: 8 };
    assert_eq!(fault(&[b"rbd image v2\n", &short]), (length, 1));
}

#[test]
fn metadata_is_bounded_and_fills_its_record() {
    let record = |declared: u64, key: &[u8], rest: &[u8]| {
        [b"M".as_slice(), &declared.to_le_bytes(), &(key.len() as u32).to_le_bytes(), key, rest].concat()
    };
    let banner = b"rbd image v2\n";
    let more = Fault::RecordLength { tag: 'M', found: 1, expected: 2 };
    assert_eq!(fault(&[banner, &record(10, b"k", &[2, 0, 0, 0])]), (more, 14));
    let less = Fault::RecordLength { tag: 'M', found: 2, expected: 1 };
    assert_eq!(fault(&[banner, &record(11, b"k", &[1, 0, 0, 0])]), (less, 14));
    let none = Fault::RecordLength { tag: 'M', found: 8, expected: 9 };
    assert_eq!(fault(&[banner, &record(8, b"k", &[])]), (none, 13));
    assert_eq!(fault(&[banner, &record(8, b"", &[])]), (Fault::Empty { what: "the metadata key" }, 9));
    assert_eq!(fault(&[banner, &record(9, b"\xff", &[])]), (Fault::NotText { what: "the metadata key" }, 13));
    let too_long = Fault::TooLong { what: "the metadata value", found: 65_537, limit: 65_536 };
    assert_eq!(fault(&[banner, &record(65_546, b"k", &[1, 0, 1, 0])]), (too_long, 14));
    let too_long = Fault::TooLong { what: "the metadata key", found: u32::MAX.into(), limit: 65_536 };
    let huge = [b"M".as_slice(), &[0xff; 8], &[0xff; 4]].concat();
    assert_eq!(fault(&[banner, &huge]), (too_long, 9));
}

#[test]
fn an_image_may_have_much_metadata_or_none() {
    for metadata in [vec![], vec![("a", b"1".as_slice()), ("b", b""), ("conf_c", b"\xff")]] {
        let header = ImageHeader { metadata: &metadata, diffs: 1, ..HEADER }.encode().unwrap();
        let head = DiffHeader { from: None, ..HEAD }.encode().unwrap();
        let stream = [&header, head.as_slice(), END].concat();
        let found: Vec<_> = decode([stream.as_slice()]).unwrap();
        let expected: Vec<_> =
            metadata.iter().map(|(key, value)| Event::Metadata { key: (*key).into(), value: value.to_vec() }).collect();
        assert_eq!(found[4..4 + expected.len()], expected);
        assert_eq!(found[4 + expected.len()], Event::Diffs(1));
    }
}

#[test]
fn the_number_of_diffs_is_bounded() {
    for (diffs, limit) in [(0, 2), (3, 2), (u64::MAX, 2)] {
        let header = ImageHeader { diffs, ..HEADER }.encode().unwrap();
        let error = decode_within(Limits { diffs: limit, ..Limits::default() }, [header.as_slice()]).unwrap_err();
        assert_eq!(error, Fault::DiffCount { found: diffs, limit }.at(header.len() as u64 - 8));
    }
    assert!(decode_within(Limits { diffs: 2, ..Limits::default() }, [REAL]).is_ok());
}

#[test]
fn a_diff_starts_from_the_one_before() {
    let base = |found: Option<&str>, expected: Option<&str>| Fault::Base {
        found: found.map(Into::into),
        expected: expected.map(Into::into),
    };
    let based = DiffHeader { from: Some("s0"), ..FIRST };
    assert_eq!(fault(&[&image_header(), &based.encode().unwrap()]), (base(Some("s0"), None), 12));
    let start = [&first(FIRST), END].concat();
    let other = DiffHeader { from: Some("s0"), ..HEAD };
    assert_eq!(fault(&[&start, &other.encode().unwrap()]), (base(Some("s0"), Some("s1")), 12));
    let from_nothing = DiffHeader { from: None, ..HEAD }.encode().unwrap();
    assert_eq!(fault(&[&start, &from_nothing, END]), (base(None, Some("s1")), 0));
    assert_eq!(fault(&[&start, &from_nothing, &zero(0, 1)]), (base(None, Some("s1")), 0));
    let three = ImageHeader { diffs: 3, ..HEADER }.encode().unwrap();
    let second = DiffHeader { to: Some("s2"), ..HEAD }.encode().unwrap();
    let start = [&three, FIRST.encode().unwrap().as_slice(), END, &second, END].concat();
    assert_eq!(fault(&[&start, &from_nothing, END]), (base(None, Some("s2")), 0));
}

#[test]
fn all_but_the_head_are_named() {
    let unnamed = DiffHeader { to: None, ..FIRST };
    assert_eq!(fault(&[&first(unnamed), END]), (Fault::Unnamed, 0));
    assert_eq!(fault(&[&first(unnamed), &data(0, 1), b"x"]), (Fault::Unnamed, -25));
    let named = DiffHeader { to: Some("s2"), ..HEAD }.encode().unwrap();
    assert_eq!(fault(&[&first(FIRST), END, &named]), (Fault::NamedHead { found: "s2".into() }, 27));
}

#[test]
fn each_diff_keeps_the_rules_of_version_1() {
    let start = first(FIRST);
    let size = 1 << 20;
    assert_eq!(fault(&[&start, &zero(size, 1)]), (Fault::Beyond { offset: size, length: 1, size }, 9));
    assert_eq!(fault(&[&start, &data(0, 1 << 40)]).0, Fault::Beyond { offset: 0, length: 1 << 40, size });
    assert_eq!(fault(&[&start, &zero(5, 5), &zero(9, 1)]), (Fault::Order { offset: 9, expected: 10 }, 9));
    assert_eq!(fault(&[&image_header(), b"rbd diff v2\ne"]), (Fault::SizeMissing { tag: 'e' }, 12));
    let smaller = DiffHeader { size: 8, ..HEAD }.encode().unwrap();
    let shrunk = [&start, zero(9, 1).as_slice(), END, &smaller, &zero(0, 8), END].concat();
    assert!(decode([shrunk.as_slice()]).is_ok());
}

#[test]
fn a_record_is_as_long_as_its_fields_say() {
    let start = first(FIRST);
    let record = |tag: &[u8], declared: u64, fields: &[u64]| {
        let fields: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
        [tag, &declared.to_le_bytes(), &fields].concat()
    };
    let length = |tag, found, expected| Fault::RecordLength { tag, found, expected };
    assert_eq!(fault(&[&start, &record(b"z", 17, &[])]), (length('z', 17, 16), 1));
    assert_eq!(fault(&[&start, &record(b"w", 18, &[0, 3])]), (length('w', 18, 19), 9));
    assert_eq!(fault(&[&start, &record(b"w", 0, &[0, 3])]), (length('w', 0, 19), 9));
    let banner = [image_header(), b"rbd diff v2\n".to_vec()].concat();
    assert_eq!(fault(&[&banner, &record(b"s", 9, &[])]), (length('s', 9, 8), 1));
    let name = [record(b"t", 9, &[]), vec![1, 0, 0, 0]].concat();
    assert_eq!(fault(&[&banner, &name]), (length('t', 9, 5), 9));
}

#[test]
fn nothing_comes_after_the_head() {
    assert_eq!(fault(&[REAL, b"e"]), (Fault::Trailing, 0));
    assert_eq!(fault(&[REAL, REAL]).0, Fault::Trailing);
}

#[test]
fn an_error_stays() {
    let mut decoder = Decoder::new(Limits::default());
    let error = decoder.next(&mut b"rbd image v3\n".as_slice()).unwrap_err();
    assert_eq!(decoder.next(&mut { REAL }), Err(error.clone()));
    assert_eq!(decoder.finish(), Err(error));
}
