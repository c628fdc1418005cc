#![no_main]
//! The `Range` field: no panic, and what is selected has bytes and is inside the size.

use libfuzzer_sys::fuzz_target;
use rsnap_wire::range::{content_range, parse};

fuzz_target!(|bytes: &[u8]| {
    let Some((size, rest)) = bytes.split_first_chunk() else { return };
    let size = u64::from_le_bytes(*size);
    for value in [rest, &[b"bytes=", rest].concat()] {
        if let Ok(Some(range)) = parse(value, size) {
            assert!(!range.is_empty() && range.end <= size);
            let same = format!("bytes={}-{}", range.start, range.end - 1);
            assert_eq!(parse(same.as_bytes(), size), Ok(Some(range.clone())));
            assert!(content_range(&range, size).ends_with(&format!("/{size}")));
        }
    }
});
