//! What a plugin may reach when it is tried out, as an operator writes it below `[plugins.<kind>]`.

use serde::Deserialize;

use super::Problem;
use crate::plugin::fault::Fault;
use crate::plugin::{HostGrant, keys};

/// What is granted.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Hosts that it may ask.
    pub http: Vec<HostGrant>,
    /// What the keys begin with that it may read.
    pub keys: Vec<String>,
}

const REMEDY: &str = "write one table [[http]] for each host, and `keys`, as below [plugins.<kind>] of a gateway";

/// Reads them from a table.
pub fn read(table: toml::Table) -> Result<Grants, Problem> {
    let grants: Grants = table.try_into().map_err(|fault: toml::de::Error| Fault::new(fault.to_string(), REMEDY))?;
    let mut faults = Vec::new();
    keys::validate(&grants.keys, "keys", &mut faults);
    for (number, grant) in grants.http.iter().enumerate() {
        grant.validate(&format!("http[{number}]"), &mut faults);
    }
    match faults.is_empty() {
        true => Ok(grants),
        false => Err(Fault::new(faults.join("; "), REMEDY).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_checked_as_in_a_configuration() {
        let read = |text: &str| read(text.parse().unwrap());
        let good = Grants { http: vec![HostGrant::new("a.example")], keys: vec!["/sites/".to_owned()] };
        assert_eq!(read("keys = [\"/sites/\"]\n[[http]]\nhost = \"a.example\"").unwrap(), good);
        for (text, words) in [
            ("host = \"a.example\"", "unknown field"),
            ("[[http]]\nhost = \"a b\"", "http[0].host"),
            ("keys = [\"/sites\"]", "keys: \"/sites\""),
            ("[[http]]\nhost = \"a.example\"\nmethods = []", "http[0].methods"),
        ] {
            assert!(read(text).unwrap_err().fault.contains(words), "{text}");
        }
    }
}
