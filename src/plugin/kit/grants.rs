//! The hosts that a plugin may ask when it is tried out, as an operator writes them below `[plugins.<kind>]`.

use serde::Deserialize;

use super::Problem;
use crate::plugin::HostGrant;
use crate::plugin::fault::Fault;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    http: Vec<HostGrant>,
}

const REMEDY: &str = "write one table [[http]] for each host, as [[plugins.writer.http]] in a gateway's configuration";

/// Reads them from TOML.
pub fn read(text: &str) -> Result<Vec<HostGrant>, Problem> {
    let Written { http } = toml::from_str(text).map_err(|fault| Fault::new(fault.to_string(), REMEDY))?;
    let mut faults = Vec::new();
    for (number, grant) in http.iter().enumerate() {
        grant.validate(&format!("http[{number}]"), &mut faults);
    }
    match faults.is_empty() {
        true => Ok(http),
        false => Err(Fault::new(faults.join("; "), REMEDY).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_checked_as_in_a_configuration() {
        assert_eq!(read("[[http]]\nhost = \"a.example\"").unwrap(), [HostGrant::new("a.example")]);
        for (text, words) in [
            ("host = \"a.example\"", "unknown field"),
            ("[[http]]\nhost = \"a b\"", "http[0].host"),
            ("[[http]]\nhost = \"a.example\"\nmethods = []", "http[0].methods"),
        ] {
            assert!(read(text).unwrap_err().fault.contains(words), "{text}");
        }
    }
}
