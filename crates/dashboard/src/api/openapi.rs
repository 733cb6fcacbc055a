//! The OpenAPI document, made from the table of routes and the types themselves.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{ROUTES, Route, answers};
use crate::auth::bearer::Scope;

/// What can go wrong everywhere.
const ERRORS: [(&str, &str); 2] = [
    ("400", "The request makes no sense"),
    ("401", "No token, or a wrong one"),
];

/// The document (OpenAPI 3.1).
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let types: BTreeMap<&str, Value> = answers::schemas(&mut generator)
        .into_iter()
        .map(|(name, schema)| (name, schema.to_value()))
        .collect();
    let definitions = generator.take_definitions(true);
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in ROUTES {
        let path = paths.entry(format!("/api/v1{}", route.path)).or_default();
        path.insert(route.method.to_owned(), operation(route, &types));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "herm",
            "version": "1",
            "description": "What the dashboard shows and does, for programs. Tokens: `herm dashboard token add NAME --scope read|control`.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": definitions,
        },
    })
}

fn operation(route: &Route, types: &BTreeMap<&str, Value>) -> Value {
    let content = |name: &str| match types.get(name) {
        Some(schema) => json!({"application/json": {"schema": schema}}),
        None => json!({name: {}}),
    };
    let mut responses = Map::new();
    let mut success = json!({"description": "Done"});
    if !route.answer.is_empty() {
        success["content"] = content(route.answer);
    }
    responses.insert(route.status.as_str().to_owned(), success);
    let more: &[(&str, &str)] = match route.scope {
        Scope::Read => &[
            ("404", "There is no such thing"),
            ("403", "It can't be read"),
            ("500", "The home can't be read"),
            ("503", "No supervisor answers, or there is no room"),
            ("502", "The supervisor's answer makes no sense"),
            ("504", "The supervisor took too long"),
        ],
        Scope::Control => &[
            (
                "403",
                "The token only allows to look, or the supervisor refuses",
            ),
            ("404", "There is no such thing"),
            ("409", "Something is in the way"),
            ("413", "The body is too large"),
            ("415", "The body is no JSON"),
            (
                "422",
                "It was tried and failed, or the values make no sense",
            ),
            ("500", "The home can't be written"),
            ("502", "The supervisor's answer makes no sense"),
            ("503", "No supervisor answers, or there is no room"),
            (
                "504",
                "It takes longer than was waited for; the order stands",
            ),
        ],
    };
    for (status, meaning) in ERRORS.iter().chain(more) {
        responses.insert(
            (*status).to_owned(),
            json!({"description": meaning, "content": content("Error")}),
        );
    }
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "description": format!("Needs a token with the scope `{}`.", route.scope),
        "parameters": parameters(route),
        "responses": responses,
    });
    if let Some(body) = route.body {
        operation["requestBody"] = json!({"required": true, "content": content(body)});
    }
    operation
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.contains("{name}").then(|| {
        json!({"name": "name", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1},
               "description": "A service's name, or its profile's"})
    });
    let in_query = route.query.iter().map(|(name, kind, about)| {
        let mut schema = json!({"type": kind});
        if *kind == "integer" {
            schema["minimum"] = json!(0);
            schema["maximum"] = json!(i64::MAX);
        }
        json!({"name": name, "in": "query", "required": false, "schema": schema, "description": about})
    });
    in_path.into_iter().chain(in_query).collect()
}
