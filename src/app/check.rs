//! What a configuration names, looked at without starting: certificates, tokens, keys, directories, components.
//!
//! A start stops at the first of them that is wrong; here each has a line of its own. Nothing is made and nothing is
//! changed, so what a first start would make is no fault as long as it can be made.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{Access, access};
use serde::Serialize;

use super::Config;
use super::config::Store;
use crate::buffer::BufferPool;
use crate::image::{ImageStore, MemoryStore};
use crate::plugin::{self, Plugins};
use crate::tls::{Identity, trust};
use crate::{cluster, secret};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The key of the configuration that names it.
    key: String,
    /// A path, or a component's name.
    names: String,
    problem: Option<String>,
}

impl Finding {
    fn new(key: impl Into<String>, names: impl fmt::Display, problem: Option<String>) -> Self {
        Self { key: key.into(), names: names.to_string(), problem }
    }

    pub(super) fn is_good(&self) -> bool {
        self.problem.is_none()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, names, problem } = self;
        match problem {
            None => write!(formatter, "good   {key}: {names}"),
            Some(problem) => write!(formatter, "wrong  {key}: {names}: {problem}"),
        }
    }
}

/// Looks at everything that `config` names.
pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![directory("gateway.data", &config.gateway.data)];
    findings.extend(certificate(config));
    findings.extend(clients(config));
    findings.extend(secrets(config));
    findings.extend(config.auth.audit.as_deref().map(audit));
    findings.extend(config.etcd.iter().flat_map(etcd));
    for (name, store) in &config.stores {
        findings.extend(self::store(&format!("stores.{name}"), store));
    }
    findings.extend(plugins(config).await);
    findings
}

/// The files alone: a cluster is asked at the start.
fn store(table: &str, store: &Store) -> Vec<Finding> {
    match store {
        Store::File { path } => vec![directory(&format!("{table}.path"), path)],
        Store::Rbd(rbd) => {
            let files = [("keyring", &rbd.keyring), ("configuration", &rbd.configuration)];
            let named = files.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?)));
            named.map(|(key, path)| Finding::new(format!("{table}.{key}"), path.display(), empty(path))).collect()
        }
        Store::Objects(objects) => {
            let files = [("secret_key_file", &objects.secret_key_file), ("ca", &objects.ca)];
            let named = files.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?)));
            let named = named.map(|(key, path)| Finding::new(format!("{table}.{key}"), path.display(), empty(path)));
            named.chain(objects.directory().map(|path| directory(&format!("{table}.url"), path))).collect()
        }
        Store::Tee { .. } | Store::Memory {} | Store::Discard {} => Vec::new(),
    }
}

fn certificate(config: &Config) -> Option<Finding> {
    let problem = match config.tls.inspect(config.listen.tls_name.as_deref()) {
        Ok(None) => return None,
        Ok(Some(identity)) => dates(&identity),
        Err(fault) => Some(fault.to_string()),
    };
    let names = config.tls.certificate.as_deref().unwrap_or(Path::new(""));
    Some(Finding::new("tls.certificate and tls.key", names.display(), problem))
}

fn clients(config: &Config) -> Option<Finding> {
    let problem = match config.tls.inspect_clients() {
        Ok(None) => return None,
        Ok(Some(authorities)) => (!authorities.are_lists_current(SystemTime::now()))
            .then(|| "a list of revoked certificates has ended: fetch a new one".to_owned()),
        Err(fault) => Some(fault.to_string()),
    };
    let files = [&config.tls.client_authorities, &config.tls.client_revocations];
    let names: Vec<_> = files.into_iter().flatten().map(|path| path.display().to_string()).collect();
    Some(Finding::new("tls.client_authorities", names.join(", "), problem))
}

/// A gateway would start with it, and its callers would turn away.
fn dates(identity: &Identity) -> Option<String> {
    let text = |moment| humantime::format_rfc3339_seconds(moment);
    let (from, until) = (text(identity.not_before), text(identity.not_after));
    (!identity.is_valid_at(SystemTime::now())).then(|| format!("it is valid only from {from} until {until}"))
}

fn secrets(config: &Config) -> Vec<Finding> {
    let auth = &config.auth;
    let told = |result: Result<(), crate::http::auth::AuthError>| result.err().map(|fault| fault.to_string());
    let tokens = auth
        .tokens
        .iter()
        .map(|token| Finding::new(format!("auth.tokens.{}", token.name), token.file.display(), told(token.inspect())));
    let mut findings: Vec<_> = tokens.collect();
    if findings.iter().all(Finding::is_good)
        && let Some(same) = told(auth.inspect_tokens())
    {
        findings.push(Finding::new("auth.tokens", "all of them", Some(same)));
    }
    let keys = auth
        .ticket_keys
        .iter()
        .map(|key| Finding::new(format!("auth.ticket_keys.{}", key.id), key.file.display(), told(key.inspect())));
    findings.extend(keys);
    findings.extend(auth.keystone.iter().flat_map(keystone));
    findings
}

/// The files alone: whether Keystone answers is for each caller to see, because a gateway starts without it.
fn keystone(config: &crate::http::auth::keystone::Config) -> Vec<Finding> {
    let file = config.account.file();
    let told = secret::read(file).err().map(|fault| fault.to_string());
    let ca = config.ca.as_deref().map(|ca| {
        let told = trust(Some(ca)).err().map(|fault| fault.to_string());
        Finding::new("auth.keystone.ca", ca.display(), told)
    });
    ca.into_iter().chain([Finding::new("auth.keystone.account", file.display(), told)]).collect()
}

/// The files alone: whether etcd answers is for the log to say, because a gateway starts without it.
fn etcd(config: &cluster::Config) -> Vec<Finding> {
    let files = [
        ("etcd.password_file", &config.password_file),
        ("etcd.ca", &config.ca),
        ("etcd.certificate", &config.certificate),
        ("etcd.key", &config.key),
    ];
    let named = files.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?)));
    named.map(|(key, path)| Finding::new(key, path.display(), empty(path))).collect()
}

fn empty(path: &Path) -> Option<String> {
    match secret::read(path) {
        Ok(text) => text.is_empty().then(|| "it is empty".to_owned()),
        Err(fault) => Some(fault.to_string()),
    }
}

fn audit(path: &Path) -> Finding {
    let problem = match path.exists() {
        true => (!path.is_file() || access(path, Access::WRITE_OK).is_err())
            .then(|| "it is not a file that this user may write".to_owned()),
        false => match path.parent() {
            Some(folder) if folder.is_dir() => unusable(folder),
            _ => Some("its directory is not there".to_owned()),
        },
    };
    Finding::new("auth.audit", path.display(), problem)
}

fn directory(key: &str, path: &Path) -> Finding {
    Finding::new(key, path.display(), unusable(path))
}

/// Why this user cannot keep files in a directory, which need not be there yet.
fn unusable(path: &Path) -> Option<String> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok())?;
    if !there.is_dir() {
        return Some(format!("{} is not a directory", there.display()));
    }
    let problem = match (access(there, Access::WRITE_OK | Access::EXEC_OK), there == absolute) {
        (Ok(()), _) => return None,
        (Err(fault), true) => format!("this user cannot write there: {}", std::io::Error::from(fault)),
        (Err(fault), false) => {
            format!(
                "it is not there, and this user cannot make it in {}: {}",
                there.display(),
                std::io::Error::from(fault)
            )
        }
    };
    Some(problem)
}

/// With stores in memory in the place of the real ones, which a check must not touch.
async fn plugins(config: &Config) -> Vec<Finding> {
    let store = || Arc::new(MemoryStore::new()) as Arc<dyn ImageStore>;
    let context = plugin::Context {
        stores: config.stores.keys().map(|name| (name.clone(), store())).collect::<HashMap<_, _>>(),
        pool: BufferPool::new(config.limits.receive_buffers()),
        depth: config.limits.depth,
        cache: None,
        path: config.plugins.search_path(),
        pulled: Some(config.gateway.data.join("plugins")),
        keys: None,
    };
    let component = |kind| match kind {
        plugin::Kind::Writer => &config.plugins.writer.component,
        plugin::Kind::Policy => &config.plugins.policy.component,
        plugin::Kind::Resolver => &config.plugins.resolver.component,
    };
    let tried = Plugins::try_each(&config.plugins, context).await;
    let finding = |(kind, fault): (plugin::Kind, Option<plugin::LoadError>)| {
        let problem = fault.map(|fault| format!("{}; {}", fault.fault, fault.remedy));
        Finding::new(format!("plugins.{}", kind.table()), component(kind), problem)
    };
    tried.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn wrong(key: &str, path: PathBuf) -> Option<String> {
        directory(key, &path).problem
    }

    #[test]
    fn a_directory_is_there_or_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(wrong("k", folder.path().to_owned()), None);
        assert_eq!(wrong("k", folder.path().join("a/b")), None);
        assert!(wrong("k", file.clone()).unwrap().contains("is not a directory"));
        assert!(wrong("k", file.join("a")).unwrap().contains("is not a directory"));
        assert!(!folder.path().join("a").exists(), "a check has made something");
    }

    #[test]
    fn a_file_that_may_not_be_written_is_a_fault() {
        assert!(wrong("k", "/proc/self".into()).is_some_and(|text| text.contains("cannot write")));
        assert!(wrong("k", "/proc/self/x/y".into()).is_some_and(|text| text.contains("cannot make")));
        assert!(!audit(Path::new("/proc/none/audit.log")).is_good());
    }

    #[test]
    fn a_finding_names_the_key_the_file_and_the_fault() {
        let finding = Finding::new("auth.tokens.cinder", "/etc/token", Some("too short".to_owned()));
        assert_eq!(finding.to_string(), "wrong  auth.tokens.cinder: /etc/token: too short");
        assert!(Finding::new("k", "v", None).to_string().starts_with("good"));
    }
}
