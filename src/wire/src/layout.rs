//! The rules that hold for the records of one diff, whatever frames them.
//!
//! `rbd import-diff` takes records in any order, clips an extent at the image's end and lets extents overlap. Here each
//! of that is a fault: what a receiver has to guess is what two receivers guess differently.

use crate::error::Fault;

/// Longest name in a diff, in bytes; `rbd import-diff` has the same bound.
pub const NAME_BYTES: u64 = 4096;

/// A record's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    From,
    To,
    Protection,
    Size,
    Write,
    Zero,
    End,
}

impl Tag {
    pub(crate) fn letter(self) -> char {
        match self {
            Self::From => 'f',
            Self::To => 't',
            Self::Protection => 'p',
            Self::Size => 's',
            Self::Write => 'w',
            Self::Zero => 'z',
            Self::End => 'e',
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::From, Self::To, Self::Protection, Self::Size, Self::Write, Self::Zero, Self::End]
            .into_iter()
            .find(|tag| tag.letter() == char::from(byte))
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What was seen of one diff.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    seen: u8,
    size: u64,
    end: u64,
}

impl Layout {
    /// Whether a record may come now.
    pub(crate) fn admit(&mut self, tag: Tag) -> Result<(), Fault> {
        match tag {
            Tag::From | Tag::To | Tag::Protection | Tag::Size => self.admit_header(tag)?,
            Tag::Write | Tag::Zero | Tag::End if !self.saw(Tag::Size) => {
                return Err(Fault::SizeMissing { tag: tag.letter() });
            }
            Tag::Write | Tag::Zero | Tag::End => {}
        }
        self.seen |= tag.bit();
        Ok(())
    }

    pub(crate) fn set_size(&mut self, size: u64) {
        self.size = size;
    }

    /// Whether the image can have this extent, after those before. An empty one has to be in its place, too.
    pub(crate) fn extent(&mut self, offset: u64, length: u64) -> Result<(), Fault> {
        let end = offset.checked_add(length).ok_or(Fault::Overflow { offset, length })?;
        if end > self.size {
            return Err(Fault::Beyond { offset, length, size: self.size });
        }
        if offset < self.end {
            return Err(Fault::Order { offset, expected: self.end });
        }
        self.end = end;
        Ok(())
    }

    fn admit_header(&self, tag: Tag) -> Result<(), Fault> {
        if self.saw(tag) {
            return Err(Fault::Repeated { tag: tag.letter() });
        }
        if self.saw(Tag::Write) || self.saw(Tag::Zero) {
            return Err(Fault::Late { tag: tag.letter() });
        }
        Ok(())
    }

    fn saw(&self, tag: Tag) -> bool {
        self.seen & tag.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_size(size: u64) -> Layout {
        let mut layout = Layout::default();
        layout.admit(Tag::Size).unwrap();
        layout.set_size(size);
        layout
    }

    #[test]
    fn an_extent_ends_inside_the_image() {
        assert_eq!(of_size(100).extent(0, 100), Ok(()));
        assert_eq!(of_size(100).extent(1, 100), Err(Fault::Beyond { offset: 1, length: 100, size: 100 }));
        assert_eq!(of_size(100).extent(100, 0), Ok(()));
        assert_eq!(of_size(100).extent(101, 0), Err(Fault::Beyond { offset: 101, length: 0, size: 100 }));
        assert_eq!(of_size(u64::MAX).extent(1, u64::MAX - 1), Ok(()));
        let overflow = Fault::Overflow { offset: 1, length: u64::MAX };
        assert_eq!(of_size(u64::MAX).extent(1, u64::MAX), Err(overflow));
    }

    #[test]
    fn extents_ascend_and_do_not_overlap() {
        let mut layout = of_size(100);
        assert_eq!(layout.extent(10, 10), Ok(()));
        assert_eq!(layout.extent(19, 1), Err(Fault::Order { offset: 19, expected: 20 }));
        assert_eq!(layout.extent(19, 0), Err(Fault::Order { offset: 19, expected: 20 }));
        assert_eq!(layout.extent(20, 1), Ok(()));
        assert_eq!(layout.extent(20, 1), Err(Fault::Order { offset: 20, expected: 21 }));
    }

    #[test]
    fn a_header_record_comes_once_and_first() {
        let mut layout = Layout::default();
        assert_eq!(layout.admit(Tag::Write), Err(Fault::SizeMissing { tag: 'w' }));
        assert_eq!(layout.admit(Tag::End), Err(Fault::SizeMissing { tag: 'e' }));
        assert_eq!(layout.admit(Tag::Size), Ok(()));
        assert_eq!(layout.admit(Tag::Size), Err(Fault::Repeated { tag: 's' }));
        assert_eq!(layout.admit(Tag::From), Ok(()));
        assert_eq!(layout.admit(Tag::Zero), Ok(()));
        assert_eq!(layout.admit(Tag::To), Err(Fault::Late { tag: 't' }));
        assert_eq!(layout.admit(Tag::From), Err(Fault::Repeated { tag: 'f' }));
    }
}
