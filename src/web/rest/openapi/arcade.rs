//! Operations of Arcade's contract.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Operation, Schemas};
use crate::model::face::Face;
use crate::web::rest::arcade::authorization::AuthorizationAnswer;
use crate::web::rest::arcade::execute::answer::ExecuteAnswer;
use crate::web::rest::arcade::tools::answer::ToolAnswer;
use crate::web::rest::arcade::{
    ConsentRequired, auth_providers, authorize, confirm_user, deposits, execute, health,
    requirements, scheduled, secrets, settings, status, token, tools, user_connections,
};
use crate::web::rest::page::Page;

fn operation(
    method: Method,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    Operation::new(Face::Arcade, method, path, id, summary)
}

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut all = tools(schemas);
    all.extend(consents(schemas));
    all.extend(moving_in(schemas));
    all.extend(administration(schemas));
    all.extend(settings(schemas));
    all.extend(auth_providers(schemas));
    all.extend(scheduled(schemas));
    all
}

fn tools(schemas: &mut Schemas) -> Vec<Operation> {
    let ok = StatusCode::OK;
    let formatted = |operation: Operation| {
        of_user(operation).query("format", one_format(), "Form of the tools.")
    };
    let get = |path, id, summary| operation(Method::GET, path, id, summary);
    vec![
        get(health::PATH, "health", "Tells whether the server can serve its users.")
            .answer::<health::Health>(ok, schemas)
            .answer::<health::Health>(StatusCode::SERVICE_UNAVAILABLE, schemas)
            .for_anyone(),
        filtered(get(tools::COLLECTION_PATH, "listTools", "Lists the tools."))
            .list_in_query("include_format", formats(), "Further forms, separated by commas.")
            .answer::<Page<ToolAnswer>>(ok, schemas),
        of_user(get(tools::ITEM_PATH, "getTool", "Returns a tool."))
            .list_in_query("include_format", formats(), "Further forms, separated by commas.")
            .answer::<ToolAnswer>(ok, schemas),
        formatted(filtered(get(
            tools::FORMATTED_COLLECTION_PATH,
            "listFormattedTools",
            "Lists the tools in the form of a model's API.",
        )))
        .answer::<Page<Map<String, Value>>>(ok, schemas),
        formatted(get(
            tools::FORMATTED_ITEM_PATH,
            "getFormattedTool",
            "Returns a tool in the form of a model's API.",
        ))
        .answer::<Map<String, Value>>(ok, schemas),
        operation(
            Method::POST,
            execute::PATH,
            "executeTool",
            "Runs a tool. Status 403 and `tool_authorization_required` ask for a consent.",
        )
        .body::<execute::ExecuteTool>(schemas)
        .answer::<ExecuteAnswer>(ok, schemas)
        .answer::<ConsentRequired>(StatusCode::FORBIDDEN, schemas)
        .errors(&[StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY]),
        operation(
            Method::POST,
            requirements::PATH,
            "askRequirements",
            "Tells which consents several tools still need.",
        )
        .body::<requirements::RequirementsQuestion>(schemas)
        .answer::<requirements::RequirementsAnswer>(ok, schemas)
        .errors(&[StatusCode::NOT_FOUND]),
    ]
}

fn consents(schemas: &mut Schemas) -> Vec<Operation> {
    let ok = StatusCode::OK;
    vec![
        operation(
            Method::POST,
            authorize::TOOL_PATH,
            "authorizeTool",
            "Asks for the consent that a tool needs.",
        )
        .body::<authorize::AuthorizeTool>(schemas)
        .answer::<AuthorizationAnswer>(ok, schemas)
        .errors(&[StatusCode::NOT_FOUND]),
        operation(
            Method::POST,
            authorize::PROVIDER_PATH,
            "authorize",
            "Asks for a consent to scopes of a provider.",
        )
        .body::<authorize::Authorize>(schemas)
        .answer::<AuthorizationAnswer>(ok, schemas)
        .errors(&[StatusCode::NOT_FOUND]),
        operation(Method::GET, status::PATH, "authorizationStatus", "Tells how far a consent is.")
            .required_query(
                "id",
                json!({ "type": "string", "minLength": 1 }),
                "Id of the authorization.",
            )
            .query(
                "wait",
                json!({ "type": "integer", "minimum": 0, "maximum": 59 }),
                "Seconds to wait for the user.",
            )
            .answer::<AuthorizationAnswer>(ok, schemas)
            .errors(&[StatusCode::NOT_FOUND]),
        operation(
            Method::POST,
            confirm_user::PATH,
            "confirmUser",
            "Tells which user sits at a browser.",
        )
        .body::<confirm_user::ConfirmUser>(schemas)
        .answer::<confirm_user::ConfirmedUser>(ok, schemas),
    ]
}

fn moving_in(schemas: &mut Schemas) -> Vec<Operation> {
    vec![
        operation(
            Method::POST,
            deposits::PATH,
            "depositConnection",
            "Moves tokens in that a user has consented to elsewhere.",
        )
        .body::<deposits::ConnectionToDeposit>(schemas)
        .answer::<deposits::DepositAnswer>(StatusCode::CREATED, schemas)
        .answer::<deposits::DepositAnswer>(StatusCode::OK, schemas)
        .errors(&[
            StatusCode::NOT_FOUND,
            StatusCode::CONFLICT,
            StatusCode::UNPROCESSABLE_ENTITY,
        ]),
        operation(
            Method::POST,
            token::PATH,
            "getToken",
            "Returns an access token. Status 403 and `tool_authorization_required` ask for a consent.",
        )
        .body::<token::TokenQuestion>(schemas)
        .answer::<token::TokenAnswer>(StatusCode::OK, schemas)
        .answer::<ConsentRequired>(StatusCode::FORBIDDEN, schemas)
        .errors(&[StatusCode::NOT_FOUND]),
    ]
}

fn administration(schemas: &mut Schemas) -> Vec<Operation> {
    let user_id = json!({ "type": "string", "minLength": 1, "maxLength": 256 });
    let of_provider = |operation: Operation| {
        operation.query("provider_id", json!({ "type": "string" }), "Only of this provider.")
    };
    let collection = user_connections::COLLECTION_PATH;
    vec![
        paged(of_provider(
            operation(
                Method::GET,
                collection,
                "listConnections",
                "Lists the accounts that users have connected.",
            )
            .query("user_id", user_id.clone(), "Only this user's."),
        ))
        .answer::<Page<user_connections::UserConnection>>(StatusCode::OK, schemas),
        of_provider(
            operation(
                Method::DELETE,
                collection,
                "endConnections",
                "Ends a user's connections, and deletes what is stored about them.",
            )
            .required_query("user_id", user_id, "The user."),
        )
        .answer::<user_connections::EndedConnections>(StatusCode::OK, schemas),
        operation(
            Method::DELETE,
            user_connections::ITEM_PATH,
            "endConnection",
            "Ends a connection.",
        )
        .empty(StatusCode::NO_CONTENT),
    ]
}

fn settings(schemas: &mut Schemas) -> Vec<Operation> {
    let ok = StatusCode::OK;
    vec![
        paged(operation(
            Method::GET,
            secrets::COLLECTION_PATH,
            "listSecrets",
            "Lists the secrets of the key, without their values.",
        ))
        .answer::<Page<secrets::SecretAnswer>>(ok, schemas),
        operation(Method::POST, secrets::ITEM_PATH, "storeSecret", "Stores a secret of the key.")
            .variable("key", secrets::KEY)
            .body::<secrets::SecretToPut>(schemas)
            .answer::<secrets::SecretAnswer>(ok, schemas),
        operation(Method::DELETE, secrets::ITEM_PATH, "deleteSecret", "Deletes a secret.")
            .empty(StatusCode::NO_CONTENT),
        operation(
            Method::GET,
            settings::PATH,
            "readSessionVerification",
            "Returns the page that tells users apart.",
        )
        .answer::<settings::SessionVerification>(ok, schemas),
        operation(
            Method::PUT,
            settings::PATH,
            "changeSessionVerification",
            "Refuses every value but the present one, which is in tools.toml.",
        )
        .body::<settings::WrittenSessionVerification>(schemas)
        .answer::<settings::SessionVerification>(ok, schemas),
    ]
}

fn auth_providers(schemas: &mut Schemas) -> Vec<Operation> {
    use auth_providers::{
        AuthProviderAnswer, AuthProviderChange, AuthProviderToMake, COLLECTION_PATH, ITEM_PATH,
    };
    let ok = StatusCode::OK;
    vec![
        paged(operation(
            Method::GET,
            COLLECTION_PATH,
            "listAuthProviders",
            "Lists the providers of the key and those of tools.toml, without their secrets.",
        ))
        .answer::<Page<AuthProviderAnswer>>(ok, schemas),
        operation(
            Method::POST,
            COLLECTION_PATH,
            "makeAuthProvider",
            "Makes a provider for the users of the key.",
        )
        .body::<AuthProviderToMake>(schemas)
        .answer::<AuthProviderAnswer>(StatusCode::CREATED, schemas),
        operation(Method::GET, ITEM_PATH, "readAuthProvider", "Returns a provider.")
            .answer::<AuthProviderAnswer>(ok, schemas),
        operation(
            Method::PATCH,
            ITEM_PATH,
            "changeAuthProvider",
            "Changes a provider of the key. What is absent stays as it is.",
        )
        .body::<AuthProviderChange>(schemas)
        .answer::<AuthProviderAnswer>(ok, schemas),
        operation(
            Method::DELETE,
            ITEM_PATH,
            "deleteAuthProvider",
            "Deletes a provider of the key, and ends its links and its users' connections.",
        )
        .answer::<AuthProviderAnswer>(ok, schemas),
    ]
}

fn scheduled(schemas: &mut Schemas) -> Vec<Operation> {
    let ok = StatusCode::OK;
    vec![
        paged(operation(
            Method::GET,
            scheduled::COLLECTION_PATH,
            "listScheduledTools",
            "Lists the scheduled calls of the key; the latest come first.",
        ))
        .answer::<Page<scheduled::ToolExecution>>(ok, schemas),
        operation(
            Method::GET,
            scheduled::ITEM_PATH,
            "getScheduledTool",
            "Returns a scheduled call, and what has come of it.",
        )
        .answer::<scheduled::ScheduledAnswer>(ok, schemas),
    ]
}

/// Adds the parameters of lists of tools.
fn filtered(operation: Operation) -> Operation {
    paged(of_user(operation))
        .query("toolkit", json!({ "type": "string" }), "Only tools of this toolkit.")
        .json_in_query("filter", filter(), "What the tools do.")
}

fn of_user(operation: Operation) -> Operation {
    operation.query("user_id", json!({ "type": "string" }), "The user whose consents count.")
}

fn paged(operation: Operation) -> Operation {
    let number = json!({ "type": "integer", "minimum": 0 });
    operation
        .query("limit", number.clone(), "Most items; 25 without it, at least 1 and at most 100.")
        .query("offset", number, "Number of items to leave out.")
}

/// Schema of the filter of a list of tools.
fn filter() -> Value {
    let list = json!({ "type": "array", "items": { "type": "string" } });
    let rule = json!({
        "type": "object",
        "properties": { "any_of": list, "all_of": list, "none_of": list },
    });
    let words = json!({ "anyOf": [list, rule, { "type": "null" }] });
    let is = json!({ "type": ["boolean", "null"] });
    json!({
        "type": "object",
        "properties": {
            "service_domains": words,
            "operations": words,
            "read_only": is,
            "destructive": is,
            "idempotent": is,
            "open_world": is,
            "extras": { "type": ["object", "null"] },
        },
    })
}

/// A list in the query. An empty one is written as one empty text, which counts for nothing.
fn formats() -> Value {
    json!({ "type": "array", "items": { "type": "string", "enum": ["", "arcade", "openai", "anthropic"] } })
}

fn one_format() -> Value {
    json!({ "type": "string", "enum": ["arcade", "openai", "anthropic"] })
}
