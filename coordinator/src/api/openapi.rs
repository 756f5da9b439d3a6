//! The description of the interface, made from the table of calls.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{
    answer,
    route::{Access, Call, ROUTES, Route},
};

/// The schemas of bodies and answers, by name.
const SCHEMAS: &str = include_str!("openapi/schemas.json");

pub(super) fn answer() -> Response {
    answer::json(&description())
}

/// The whole description.
fn description() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = operation(route);
    }
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Slipway coordinator",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Bodies are JSON. Every answer that is no success holds a Refusal. Only the leader answers; \
                            another coordinator refuses with the code not_leader and says where the leader is.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": route.call.name(),
        "summary": route.summary,
        "parameters": parameters(route),
        "responses": { "200": success(route), "default": refusal() },
    });
    if let Some(schema) = route.body {
        operation["requestBody"] = json!({ "required": true, "content": content(schema) });
    }
    if let Access::Roles(roles) = route.access {
        operation["security"] = json!([{ "token": [] }]);
        let names: Vec<&str> = roles.iter().map(|role| role.name()).chain(["admin"]).collect();
        operation["description"] = json!(format!("Roles: {}.", names.join(", ")));
    }
    operation
}

fn parameters(route: &Route) -> Value {
    let mut parameters = Vec::new();
    if route.path.contains("{name}") {
        let schema = json!({ "type": "string" });
        parameters.push(json!({ "name": "name", "in": "path", "required": true, "schema": schema }));
    }
    let queries: &[(&str, &str)] = match route.call {
        Call::Events => &[("after", "Only events after this one: TERM.NUMBER")],
        Call::List => &[("limit", "At most so many builds")],
        Call::GitRefs => &[("service", "git-receive-pack or git-upload-pack")],
        _ => &[],
    };
    for (name, description) in queries {
        let schema = json!({ "type": "string" });
        parameters.push(json!({ "name": name, "in": "query", "description": description, "schema": schema }));
    }
    Value::Array(parameters)
}

fn success(route: &Route) -> Value {
    match route.answer {
        Some(schema) => json!({ "description": "Done", "content": content(schema) }),
        None => json!({ "description": "Done" }),
    }
}

fn refusal() -> Value {
    json!({ "description": "Refused", "content": content("Refusal") })
}

fn content(schema: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_described_and_every_schema_is_there() {
        let description = description();
        for route in ROUTES {
            let operation = &description["paths"][route.path][route.method.to_ascii_lowercase()];
            assert_eq!(operation["operationId"], route.call.name(), "{}", route.path);
            for schema in route.body.iter().chain(&route.answer) {
                assert!(description["components"]["schemas"][schema].is_object(), "{schema}");
            }
        }
        let count: usize = description["paths"]
            .as_object()
            .map_or(0, |paths| paths.values().map(|path| path.as_object().map_or(0, Map::len)).sum());
        assert_eq!(count, ROUTES.len());
    }

    #[test]
    fn references_lead_somewhere() {
        let description = description();
        let text = description.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(description["components"]["schemas"][reference].is_object(), "{reference}");
        }
    }
}
