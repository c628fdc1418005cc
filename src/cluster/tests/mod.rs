//! Tests of the module as a whole.

mod model;
mod world;
