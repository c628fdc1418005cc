//! Sizes and durations as the configuration file writes them: `"64MiB"`, `"10s"`.
//!
//! A bare number leaves the unit to memory, and sooner or later someone writes milliseconds where seconds are read.
//! Binary units only: a `MB` that means two things was refused. A size may also be a plain number of bytes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The units of [`Bytes`] from small to large, each 1024 times the one before.
const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// A number of bytes, written `"64MiB"` or as a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }
}

/// A text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("{0:?} is not a size: write a whole number and one of B, KiB, MiB, GiB, TiB, as in \"64MiB\"")]
    Size(String),
    #[error("{0:?} is not a duration: write a number and a unit, as in \"10s\", \"15m\" or \"1h 30m\"")]
    Duration(String),
}

impl FromStr for Bytes {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let fault = || QuantityError::Size(text.to_owned());
        let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text.trim().strip_prefix(digits).unwrap_or_default();
        let power = match unit {
            "" => 0,
            unit => UNITS.iter().position(|known| *known == unit).ok_or_else(fault)?,
        };
        let number: u64 = digits.trim().parse().map_err(|_| fault())?;
        number.checked_mul(1 << (10 * power)).map(Self).ok_or_else(fault)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let power = (self.0.trailing_zeros() / 10).min(4);
        let power = if self.0 == 0 { 0 } else { power };
        let unit = UNITS.get(usize::try_from(power).unwrap_or_default()).unwrap_or(&"B");
        write!(formatter, "{}{unit}", self.0 >> (10 * power))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a size such as \"64MiB\", or a number of bytes")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        text.parse().map_err(E::custom)
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Bytes, E> {
        Ok(Bytes(number))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Bytes, E> {
        u64::try_from(number).map(Bytes).map_err(|_| E::custom(QuantityError::Size(number.to_string())))
    }
}

/// A span of time, written `"10s"`, `"15m"`, `"1h 30m"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub Duration);

impl Seconds {
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Seconds {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        humantime::parse_duration(text).map(Self).map_err(|_| QuantityError::Duration(text.to_owned()))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(formatter)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("0", 0), ("7", 7), ("7B", 7), ("64MiB", 64 << 20), ("3 GiB", 3 << 30), ("1TiB", 1 << 40)]
        {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
            assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)), "{text}");
        }
        assert_eq!(Bytes(64 << 20).to_string(), "64MiB");
        assert_eq!(Bytes(0).to_string(), "0B");
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MiB", "64MB", "64mib", "-1", "1.5GiB", "99999999999TiB", "1 2"] {
            assert!(text.parse::<Bytes>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn both_are_read_from_a_configuration() {
        #[derive(Deserialize)]
        struct Table {
            size: Bytes,
            plain: Bytes,
            time: Seconds,
        }
        let table: Table = toml::from_str("size = \"2KiB\"\nplain = 9\ntime = \"1m 5s\"").unwrap();
        assert_eq!((table.size, table.plain, table.time), (Bytes(2048), Bytes(9), Seconds::new(65)));
        assert!(toml::from_str::<Table>("size = \"2KiB\"\nplain = -9\ntime = \"1m\"").is_err());
        assert!(toml::from_str::<Table>("size = \"2KiB\"\nplain = 9\ntime = 5").is_err());
    }
}
