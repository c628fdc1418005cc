//! A list of tree pages in a query: which pages of which levels are wanted, in which order.
//!
//! ```text
//! list  = group *( ";" group )
//! group = level ":" run *( "," run )
//! run   = first [ "-" last ]
//! ```
//!
//! Numbers are decimal digits. Grouped by level because the pages that somebody asks for are mostly of one level, and
//! lie beside each other: a list of thousands stays short. A body was refused: a request that only reads is a GET.

use std::fmt::Write as _;

/// Why a list of pages is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PagesError {
    #[error("the list of pages is malformed: expected LEVEL:FIRST-LAST,NUMBER;LEVEL:NUMBER and so on")]
    Malformed,
    #[error("more than {limit} pages are asked for at once")]
    TooMany { limit: usize },
}

/// The pages of a list as level and number, in its order; at most `limit`.
pub fn parse(list: &str, limit: usize) -> Result<Vec<(u8, u64)>, PagesError> {
    let mut pages = Vec::new();
    for group in list.split(';') {
        let (level, runs) = group.split_once(':').ok_or(PagesError::Malformed)?;
        let level = u8::try_from(number(level)?).map_err(|_| PagesError::Malformed)?;
        for run in runs.split(',') {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let (first, last) = (number(first)?, number(last)?);
            let more = last.checked_sub(first).ok_or(PagesError::Malformed)?;
            if more >= (limit.saturating_sub(pages.len())) as u64 {
                return Err(PagesError::TooMany { limit });
            }
            pages.extend((first..=last).map(|index| (level, index)));
        }
    }
    Ok(pages)
}

/// `1*DIGIT`, as large as 64 bits can say.
fn number(digits: &str) -> Result<u64, PagesError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PagesError::Malformed);
    }
    digits.parse().map_err(|_| PagesError::Malformed)
}

/// The shortest list of these pages in this order.
#[must_use]
pub fn format(pages: &[(u8, u64)]) -> String {
    let mut list = String::new();
    let mut rest = pages.iter().copied().peekable();
    let mut before = None;
    while let Some((level, first)) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if(|next| Some(next.1) == last.checked_add(1) && next.0 == level) {
            last = next.1;
        }
        match before.replace(level) {
            Some(same) if same == level => list.push(','),
            Some(_) => write(&mut list, format_args!(";{level}:")),
            None => write(&mut list, format_args!("{level}:")),
        }
        match last == first {
            true => write(&mut list, format_args!("{first}")),
            false => write(&mut list, format_args!("{first}-{last}")),
        }
    }
    list
}

/// A `String` takes whatever is written.
fn write(list: &mut String, arguments: std::fmt::Arguments<'_>) {
    list.write_fmt(arguments).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(pages in proptest::collection::vec((1..11_u8, 0..200_u64), 1..300)) {
            prop_assert_eq!(parse(&format(&pages), 300), Ok(pages));
        }

        #[test]
        fn nothing_makes_it_panic_or_go_beyond_its_limit(list in "[0-9:;,-]{0,60}") {
            if let Ok(pages) = parse(&list, 50) {
                prop_assert!((1..=50).contains(&pages.len()));
            }
        }
    }

    #[test]
    fn neighbours_are_one_run() {
        let pages = [(3, 0), (2, 7), (2, 8), (2, 9), (2, 3), (1, 4)];
        assert_eq!(format(&pages), "3:0;2:7-9,3;1:4");
    }

    #[test]
    fn near_misses_are_malformed() {
        let odd = ["", ":", "1", "1:", "1:2-", "1:-2", "1:3-2", "1:+2", "1: 2", "256:0", "1:2;", "1:2,", "x:1"];
        let large = "1:18446744073709551616";
        for list in odd.into_iter().chain([large]) {
            assert_eq!(parse(list, 9), Err(PagesError::Malformed), "{list:?}");
        }
    }

    #[test]
    fn too_many_are_refused_before_they_are_listed() {
        assert_eq!(parse("1:0-8", 9).unwrap().len(), 9);
        for list in ["1:0-9", "1:0-18446744073709551615", "1:0-7;2:0,1"] {
            assert_eq!(parse(list, 9), Err(PagesError::TooMany { limit: 9 }), "{list}");
        }
    }
}
