//! The OpenAPI document, generated from the handlers, and open to all: it is the same on every gateway.

use std::sync::LazyLock;

use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::IntoResponse;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::problem;
use super::{chain, check, delete, get, plan, put, ready, repair, resumable, server, sites, tree};
use crate::api;

#[derive(OpenApi)]
#[openapi(
    info(title = "rsnap", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        server::server,
        server::servers,
        chain::chain,
        chain::put,
        put::put,
        get::get,
        delete::delete,
        resumable::create,
        resumable::list,
        resumable::state,
        resumable::look,
        resumable::append,
        resumable::cancel,
        resumable::overridden,
        plan::plan,
        tree::tree,
        check::check,
        repair::repair,
        sites::site,
        ready::ready,
        document,
        pointer
    ),
    components(schemas(api::Problem)),
    modifiers(&Described)
)]
struct Document;

/// What no handler can say of itself.
struct Described;

impl Modify for Described {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let intro = "Block-level copies of volume snapshots between sites.\n\nProblems are RFC 9457 details; \
                     their `type` is one of these and does not change:\n\n";
        document.info.description = Some(format!("{intro}{}", problem::table()));
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let words =
            "A token of the site's Keystone, where the gateway asks one; a service adds its own as X-Service-Token.";
        let keystone = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("X-Auth-Token", words)));
        let words =
            "A certificate whose DNS name or URI the gateway knows, where it asks for one. A header decides alone.";
        let certificate =
            SecurityScheme::MutualTls { description: Some(words.to_owned()), deprecated: None, extensions: None };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", bearer);
        components.add_security_scheme("keystone", keystone);
        components.add_security_scheme("certificate", certificate);
    }
}

static JSON: LazyLock<String> = LazyLock::new(|| Document::openapi().to_pretty_json().unwrap_or_default());

const JSON_TYPE: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

/// This document
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, description = "The OpenAPI document")))]
pub(super) async fn document() -> impl IntoResponse {
    (JSON_TYPE, JSON.as_str())
}

/// What is here
#[utoipa::path(get, path = "/", responses((status = 200, description = "A pointer to this document")))]
pub(super) async fn pointer() -> &'static str {
    "rsnap. GET /openapi.json tells what is here.\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::problem::Kind;
    use super::super::routes;
    use super::*;

    fn document() -> Value {
        serde_json::from_str(&JSON).unwrap()
    }

    #[test]
    fn every_route_is_documented_and_nothing_else() {
        let document = document();
        let documented: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routed: BTreeSet<&str> = routes().iter().map(|(path, _)| *path).collect();
        assert_eq!(documented, routed);
    }

    #[test]
    fn every_kind_of_problem_is_listed() {
        let text = document()["info"]["description"].as_str().unwrap().to_owned();
        for kind in Kind::ALL {
            assert!(text.contains(&kind.urn()), "{kind:?}");
        }
    }

    #[test]
    fn every_operation_has_words_and_a_problem_and_asks_for_a_token() {
        let document = document();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                assert!(operation["summary"].is_string(), "{method} {path}");
                let open = matches!(path.as_str(), "/" | "/openapi.json" | ready::PATH);
                assert_eq!(operation["security"].is_null(), open, "{method} {path}");
                assert_eq!(operation["responses"]["default"].is_null(), open, "{method} {path}");
            }
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document = document();
        let operations = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
        let mut names: Vec<&str> =
            operations.map(|(_, operation)| operation["operationId"].as_str().unwrap()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }

    #[test]
    fn references_lead_somewhere() {
        let document = document();
        for reference in JSON.split("\"$ref\": \"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn each_way_to_say_who_one_is_is_described() {
        let document = document();
        let schemes = document["components"]["securitySchemes"].as_object().unwrap();
        assert_eq!(schemes["certificate"]["type"], "mutualTLS");
        let known: BTreeSet<&str> = schemes.keys().map(String::as_str).collect();
        let server = document["paths"]["/server"]["get"]["security"].as_array().unwrap();
        let named: BTreeSet<&str> =
            server.iter().flat_map(|way| way.as_object().unwrap().keys()).map(String::as_str).collect();
        assert_eq!(named, known);
    }

    #[test]
    fn the_document_is_the_same_every_time() {
        assert_eq!(Document::openapi().to_pretty_json().unwrap(), *JSON);
    }
}
