//! `[auth.keystone]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::super::Role;
use crate::keystone::{self, Account, Project};
use crate::quantity::Seconds;

/// A revoked token is good for as long as this at most.
const CACHE_MAX: Seconds = Seconds::new(60 * 60);
const ENTRIES_MAX: usize = 1_000_000;

/// `[auth.keystone]`: callers with a token of the site's Keystone.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `https://…/v3`.
    pub url: String,
    /// PEM: the authority that vouches for it; `None`: those of the system.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Who asks: an account that may look at others' tokens.
    pub account: Account,
    /// For each request to it.
    #[serde(default = "default_timeout")]
    pub timeout: Seconds,
    /// What those with a role of Keystone may do here, by its name.
    pub roles: BTreeMap<String, Role>,
    /// The projects that a token must be for, by id or name.
    #[serde(default = "default_projects")]
    pub projects: Vec<String>,
    /// The domain in which the names of `projects` are, by id or name.
    #[serde(default = "keystone::default_domain")]
    pub project_domain: String,
    /// Roles of services, on whose word (`X-Service-Token`) a token counts that has expired.
    #[serde(default = "default_service_roles")]
    pub service_roles: Vec<String>,
    /// How long an answer of Keystone counts.
    #[serde(default = "default_cache")]
    pub cache: Seconds,
    /// Answers that are kept at most.
    #[serde(default = "default_entries")]
    pub entries: usize,
}

fn default_timeout() -> Seconds {
    Seconds::new(5)
}

fn default_projects() -> Vec<String> {
    vec!["service".to_owned()]
}

fn default_service_roles() -> Vec<String> {
    vec!["service".to_owned()]
}

fn default_cache() -> Seconds {
    Seconds::new(60)
}

fn default_entries() -> usize {
    10_000
}

impl Config {
    /// Pushes a text for each fault.
    pub(in crate::http::auth) fn validate(&self, faults: &mut Vec<String>) {
        self.server().validate("auth.keystone", faults);
        if self.roles.is_empty() {
            let text = "auth.keystone.roles: must map one role of Keystone at least, such as { service = \"ticket\" }";
            faults.push(text.to_owned());
        }
        if self.projects.is_empty() {
            faults.push("auth.keystone.projects: must name one at least, or nobody is let in".to_owned());
        }
        if self.cache > CACHE_MAX {
            faults.push(format!("auth.keystone.cache: must be at most {CACHE_MAX}: revoked tokens count as long"));
        }
        if !(1..=ENTRIES_MAX).contains(&self.entries) {
            faults.push(format!("auth.keystone.entries: must be between 1 and {ENTRIES_MAX}"));
        }
    }

    /// The Keystone and the account.
    pub(super) fn server(&self) -> keystone::Config {
        let (url, ca, account) = (self.url.clone(), self.ca.clone(), self.account.clone());
        keystone::Config { url, ca, account, timeout: self.timeout }
    }

    /// What somebody with these roles may do: the most that one of them allows.
    pub(super) fn role(&self, roles: &[String]) -> Option<Role> {
        let known = |name: &String| self.roles.get(name).copied();
        let mut found = None;
        for role in roles.iter().filter_map(known) {
            found = if role == Role::Operator { Some(role) } else { found.or(Some(role)) };
        }
        found
    }

    /// Whether tokens for the project count here.
    pub(super) fn serves(&self, project: &Project) -> bool {
        let domain = &self.project_domain;
        let is_ours = *domain == project.domain.id || *domain == project.domain.name;
        self.projects.iter().any(|wanted| *wanted == project.id || (is_ours && *wanted == project.name))
    }

    /// Whether somebody with these roles speaks for others.
    pub(super) fn is_service(&self, roles: &[String]) -> bool {
        roles.iter().any(|role| self.service_roles.contains(role))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::keystone::Domain;

    pub(in crate::http::auth::keystone) const TEXT: &str = "url = \"https://k.example/v3\"\n\
        roles = { admin = \"operator\", cinder = \"ticket\", service = \"ticket\" }\n\
        [account]\nkind = \"application-credential\"\nid = \"a\"\nfile = \"f\"\n";

    fn config() -> Config {
        toml::from_str(TEXT).unwrap()
    }

    #[test]
    fn the_strongest_role_counts_and_strangers_have_none() {
        let role = |names: &[&str]| config().role(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(role(&["member", "cinder", "admin", "service"]), Some(Role::Operator));
        assert_eq!(role(&["member", "cinder"]), Some(Role::Ticket));
        assert_eq!((role(&["member", "Admin"]), role(&[])), (None, None));
    }

    #[test]
    fn a_project_of_the_same_name_in_another_domain_is_another() {
        let project = |id: &str, name: &str, domain: &str| {
            let domain = Domain { id: domain.to_lowercase(), name: domain.to_owned() };
            Project { id: id.to_owned(), name: name.to_owned(), domain }
        };
        assert!(config().serves(&project("p1", "service", "Default")));
        assert!(!config().serves(&project("p1", "service", "Customer")));
        assert!(!config().serves(&project("p1", "demo", "Default")));
        let by_id = Config { projects: vec!["p1".to_owned()], ..config() };
        assert!(by_id.serves(&project("p1", "any", "Customer")) && !by_id.serves(&project("p2", "any", "Default")));
    }

    #[test]
    fn faults_name_the_key() {
        let mut faults = Vec::new();
        config().validate(&mut faults);
        assert_eq!(faults, Vec::<String>::new());
        let wrong = Config {
            url: String::new(),
            roles: BTreeMap::new(),
            projects: Vec::new(),
            cache: Seconds::new(7200),
            entries: 0,
            ..config()
        };
        wrong.validate(&mut faults);
        let keys = ["url", "roles", "projects", "cache", "entries"].map(|key| format!("auth.keystone.{key}:"));
        assert!(faults.iter().zip(&keys).all(|(fault, key)| fault.starts_with(key)), "{faults:?}");
        assert_eq!(faults.len(), keys.len());
    }
}
