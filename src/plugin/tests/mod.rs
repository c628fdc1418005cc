//! Plugins as they are configured, loaded and called: the shipped ones, good ones of strangers, and hostile ones.

mod cache;
mod chunks;
mod frozen;
mod http;
mod keys;
mod loading;
mod pace;
mod policies;
mod random;
mod recordings;
mod reload;
mod resolvers;
mod shipped;
pub(super) mod support;
mod usage;
mod wit;
mod writers;
