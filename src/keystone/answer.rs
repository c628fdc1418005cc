//! What Keystone says of a token.

use std::time::SystemTime;

use serde::Deserialize;

/// Longest id and longest name: what Keystone's tables hold.
const TEXT_MAX: usize = 255;
const ROLES_MAX: usize = 1000;

/// A token that Keystone vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub expires: SystemTime,
    pub user: Named,
    /// What it is for; `None`: for a domain, the whole system, or nothing.
    pub project: Option<Project>,
    /// Names.
    pub roles: Vec<String>,
}

/// Somebody with an id that stays and a name that may change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Named {
    pub id: String,
    pub name: String,
}

/// A project with its domain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Project {
    pub id: String,
    pub name: String,
    pub domain: Domain,
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Domain {
    pub id: String,
    pub name: String,
}

#[derive(Deserialize)]
struct Document {
    token: Raw,
}

#[derive(Deserialize)]
struct Raw {
    expires_at: String,
    user: Named,
    project: Option<Project>,
    #[serde(default)]
    roles: Vec<Role>,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

impl Token {
    /// From the body of an answer. The error says what is wrong with it, without any of its text.
    pub(super) fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let Document { token } = serde_json::from_slice(body).map_err(|_| "it is no document about a token")?;
        let expires = humantime::parse_rfc3339(&token.expires_at).map_err(|_| "its expiry is no moment")?;
        let project = token
            .project
            .iter()
            .flat_map(|project| [&project.id, &project.name, &project.domain.id, &project.domain.name]);
        if ![&token.user.id, &token.user.name].into_iter().chain(project).all(|text| is_sound(text)) {
            return Err("it has an impossible id or name");
        }
        let roles: Vec<_> = token.roles.into_iter().map(|role| role.name).collect();
        if roles.len() > ROLES_MAX || !roles.iter().all(|name| is_sound(name)) {
            return Err("it has impossible roles");
        }
        Ok(Self { expires, user: token.user, project: token.project, roles })
    }
}

fn is_sound(text: &str) -> bool {
    (1..=TEXT_MAX).contains(&text.chars().count()) && !text.contains(char::is_control)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::*;

    /// What Keystone answers about a user's token.
    pub(in crate::keystone) fn document(expires: &str) -> Value {
        json!({"token": {
            "methods": ["password"],
            "user": {"domain": {"id": "default", "name": "Default"}, "id": "u1", "name": "cinder",
                     "password_expires_at": null},
            "audit_ids": ["3T2dc1CGQxyJsHdDu1xkcw"],
            "expires_at": expires,
            "issued_at": "2026-11-23T15:00:00.000000Z",
            "project": {"domain": {"id": "default", "name": "Default"}, "id": "p1", "name": "service"},
            "is_domain": false,
            "roles": [{"id": "r1", "name": "service"}, {"id": "r2", "name": "reader"}],
        }})
    }

    fn parse(document: &Value) -> Result<Token, &'static str> {
        Token::parse(document.to_string().as_bytes())
    }

    #[test]
    fn what_keystone_says_is_read() {
        let token = parse(&document("1970-01-01T01:00:00.000000Z")).unwrap();
        assert_eq!(token.expires, UNIX_EPOCH + Duration::from_secs(3600));
        assert_eq!((token.user.id.as_str(), token.user.name.as_str()), ("u1", "cinder"));
        assert_eq!(token.project.unwrap().domain.name, "Default");
        assert_eq!(token.roles, ["service", "reader"]);
    }

    #[test]
    fn a_token_for_no_project_has_none() {
        let mut document = document("2030-01-01T00:00:00.000000Z");
        document["token"].as_object_mut().unwrap().remove("project");
        document["token"].as_object_mut().unwrap().remove("roles");
        document["token"]["system"] = json!({"all": true});
        let token = parse(&document).unwrap();
        assert_eq!((token.project, token.roles.len()), (None, 0));
    }

    #[test]
    fn anything_else_is_not_believed() {
        let good = || document("2030-01-01T00:00:00.000000Z");
        assert!(parse(&good()).is_ok());
        for (pointer, value) in [
            ("/token/expires_at", json!("tomorrow")),
            ("/token/expires_at", json!(null)),
            ("/token/user/id", json!("")),
            ("/token/user/id", json!(7)),
            ("/token/user/name", json!("a\nb")),
            ("/token/project/id", json!("x".repeat(256))),
            ("/token/project/domain", json!({})),
            ("/token/roles", json!([{"name": "\u{0}"}])),
            ("/token/roles", json!({"name": "admin"})),
            ("/token", json!([])),
        ] {
            let mut document = good();
            *document.pointer_mut(pointer).unwrap() = value.clone();
            assert!(parse(&document).is_err(), "{pointer} = {value}");
        }
        for text in ["", "{}", "[]", "<html>", "{\"token\": {\"expires_at\": \"2030-01-01T00:00:00Z\"}}"] {
            assert!(Token::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
