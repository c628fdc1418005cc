//! Lines in the gateway's log: [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn) and
//! [`error!`](crate::error) take what `format!` takes.

pub use crate::bindings::writer::rsnap::plugin::log::Level;

/// Writes one line.
pub fn write_log(level: Level, message: &str) {
    crate::bindings::writer::rsnap::plugin::log::write(level, message);
}

/// A line of the level `debug`.
#[macro_export]
macro_rules! debug { ($($text:tt)*) => { $crate::write_log($crate::Level::Debug, &::std::format!($($text)*)) } }

/// A line of the level `info`.
#[macro_export]
macro_rules! info { ($($text:tt)*) => { $crate::write_log($crate::Level::Info, &::std::format!($($text)*)) } }

/// A line of the level `warn`.
#[macro_export]
macro_rules! warn { ($($text:tt)*) => { $crate::write_log($crate::Level::Warn, &::std::format!($($text)*)) } }

/// A line of the level `error`.
#[macro_export]
macro_rules! error { ($($text:tt)*) => { $crate::write_log($crate::Level::Error, &::std::format!($($text)*)) } }
