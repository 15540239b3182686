//! The OpenAPI 3.1 document, made from the table of routes: a route cannot be without its description.
//!
//! Shapes and bounds come from the constants that the handlers check; `schemathesis` compares them with what is answered.

mod cluster;
mod frames;
mod operation;
pub(crate) mod said;
mod schema;
mod shapes;

use crate::router;
use bytes::Bytes;
use http::Method;
pub(crate) use operation::Said;
use utoipa::openapi::{
    ComponentsBuilder, HttpMethod, InfoBuilder, LicenseBuilder, OpenApiBuilder, PathsBuilder, Tag,
    path::PathItem,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

const TEXT: &str = "Who is online, told to their friends the moment it changes.\n\nEvery answer carries `X-Request-Id`, a client's own is \
    kept; every refusal is a problem (RFC 9457). GET implies HEAD. A path without the method asked for is 405 with `Allow`, a path \
    that is not here 404; both before anybody is asked for a token. Sizes count bytes of UTF-8, of JSON in compact form: a string \
    of characters beyond ASCII holds fewer characters than its `maxLength` says. Bodies are at most 256 KiB. Times are Unix \
    milliseconds. Unknown fields of a body and unknown or repeated parameters are refused; clients ignore unknown fields.";

const BEARER: &str = "A JWT with sub and exp. Its scope is a list of: user (acts as sub; the default), service (acts for every user), \
    admin (the cluster; includes service).";

/// The document in JSON.
pub(crate) fn json() -> Bytes {
    let tags = [
        ("presence", "Reading presences, one, many, or as they change"),
        ("sessions", "Devices that are alive"),
        ("settings", "What a user sets, durable before the answer"),
        ("cluster", "For operators"),
        ("pages", "For people and machines that look after it; without a token"),
    ];
    let tags = tags.map(|(name, text)| {
        let mut tag = Tag::new(name);
        tag.description = Some(text.into());
        tag
    });
    let bearer =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(BEARER)).build();
    let mut components = ComponentsBuilder::new().security_scheme(operation::BEARER, SecurityScheme::Http(bearer));
    for (name, shape) in shapes::all() {
        components = components.schema(name, shape);
    }
    let mut paths = PathsBuilder::new();
    for route in router::table() {
        let method = match route.method {
            Method::POST => HttpMethod::Post,
            Method::PUT => HttpMethod::Put,
            Method::DELETE => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        paths = paths.path(route.path, PathItem::new(method, (route.said)().operation(route.path)));
    }
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build();
    let info = InfoBuilder::new().title("Rollcall").version(env!("CARGO_PKG_VERSION")).description(Some(TEXT));
    let document = OpenApiBuilder::new()
        .info(info.license(Some(license)).build())
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(tags))
        .build();
    // Maps of strings always serialize.
    document.to_json().map(Bytes::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn document() -> Value {
        serde_json::from_slice(&json()).unwrap()
    }

    #[test]
    fn every_route_is_in_the_document_and_nothing_else() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let mut described: Vec<String> = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            described
                .extend(item.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())));
        }
        let mut routed: Vec<String> = router::table().iter().map(|r| format!("{} {}", r.method, r.path)).collect();
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str));
                    members.values().for_each(|v| references(v, found));
                }
                Value::Array(items) => items.iter().for_each(|v| references(v, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50, "{}", found.len());
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        let mut names: Vec<&str> = router::table().iter().map(|route| (route.said)().id).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_answer_under_a_token_includes_its_refusals() {
        let document = document();
        for route in router::table().iter().filter(|r| r.path.starts_with("/v1/")) {
            let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
            for status in ["400", "401", "403", "429", "500", "503"] {
                let content = &operation["responses"][status]["content"];
                assert!(content["application/problem+json"].is_object(), "{} {}: {status}", route.method, route.path);
            }
            assert!(operation["security"][0]["bearer"].is_array(), "{}", route.path);
        }
    }
}
