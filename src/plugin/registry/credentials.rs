//! Who the gateway is at a registry, from the file that `docker login` and `podman login` write.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::plugin::fault::Fault;
use crate::secret;

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
}

#[derive(Deserialize)]
struct Login {
    /// User and password, in base64.
    auth: Option<String>,
}

/// What is sent as `Basic` to `registry`; `None` where the file has nothing for it.
pub(super) fn basic(file: &Path, registry: &str) -> Result<Option<String>, Fault> {
    let remedy = "check plugins.registry.credentials (--credentials): a file as `docker login` writes it";
    let text = secret::read(file).map_err(|error| Fault::new(error.to_string(), remedy))?;
    // The reader's own words would tell a part of the secret.
    let written: Written = serde_json::from_str(&text)
        .map_err(|_| Fault::new(format!("{} is not the JSON of `docker login`", file.display()), remedy))?;
    let login = written.auths.into_iter().find(|(known, _)| host(known) == registry);
    Ok(login.and_then(|(_, login)| login.auth).filter(|auth| !auth.is_empty()))
}

/// Some tools write the address of the interface instead of the host.
fn host(known: &str) -> &str {
    let known = known.strip_prefix("https://").unwrap_or(known);
    known.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_found_by_their_host() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let text = r#"{"auths":{"r.example:5000":{"auth":"dTpw"},"https://s.example/v1/":{"auth":"czpx"},"t":{}}}"#;
        std::fs::write(&file, text).unwrap();
        let login = |registry: &str| basic(&file, registry).unwrap();
        assert_eq!(login("r.example:5000").as_deref(), Some("dTpw"));
        assert_eq!(login("s.example").as_deref(), Some("czpx"));
        assert_eq!((login("r.example"), login("t")), (None, None));
        std::fs::write(&file, "{\"auths\": \"geheim\"}").unwrap();
        let fault = basic(&file, "t").err().unwrap();
        assert!(fault.text.contains("not the JSON") && !fault.text.contains("geheim"));
    }
}
