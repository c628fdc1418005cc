//! How a registry asks who is there: the header `WWW-Authenticate` of its first answer.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// What a registry wants to see.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password.
    Basic,
    /// A token, to be fetched at `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        texts.filter_map(Self::parse).next()
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, parameters) = text.trim().split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let realm = parameter(parameters, "realm")?;
        Some(Self::Bearer { realm, service: parameter(parameters, "service"), scope: parameter(parameters, "scope") })
    }
}

/// The value of `name="…"`; a scope has commas in it, so the quotes part the parameters.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (key, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        if key.trim_start_matches([',', ' ']).eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let text = r#"Bearer realm="https://a.example/token",service="r",scope="repository:a/b:pull,push""#;
        let some = |text: &str| Some(text.to_owned());
        let bearer = Challenge::Bearer {
            realm: "https://a.example/token".to_owned(),
            service: some("r"),
            scope: some("repository:a/b:pull,push"),
        };
        assert_eq!(Challenge::parse(text), Some(bearer));
        assert_eq!(Challenge::parse("basic realm=\"x\""), Some(Challenge::Basic));
        for none in ["Bearer", "Bearer realm=x", "Bearer realm=\"x", "Negotiate", ""] {
            assert_eq!(Challenge::parse(none), None, "{none}");
        }
    }
}
