//! For whoever writes plugins: what a gateway would make of a component, told without a gateway.
//!
//! Everything here uses the host that a gateway uses, with its limits. A separate tool with a host of its own was
//! refused: what passes there and fails in the gateway is worse than no tool.

pub mod bench;
pub mod check;
pub mod conformance;
mod contract;
mod cost;
pub mod grants;
pub mod inspect;
mod metadata;
mod pack;
mod pull;
mod push;
pub mod question;
pub mod replay;
mod scaffold;
mod trial;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use pack::Package;
pub use pull::{Fetched, Pull};
pub use push::{Push, Stored};
pub use scaffold::{Language, Scaffold};
pub use trial::{Options, Plugin, Trial};

use super::fault::Fault;
use super::{Config, LoadError, source};

/// A fault and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{fault}; {remedy}")]
pub struct Problem {
    pub fault: String,
    pub remedy: String,
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self { fault: fault.text, remedy: fault.remedy }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        Self { fault: error.fault, remedy: error.remedy }
    }
}

/// The file that `component` means: a path, or a name that is looked up as a gateway without configuration does.
pub fn find(component: &str) -> Result<PathBuf, Problem> {
    if Path::new(component).is_file() {
        return Ok(PathBuf::from(component));
    }
    Ok(source::locate(component, &Config::default().search_path())?)
}
