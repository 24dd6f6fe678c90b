//! `tools.toml` as it is written: every table and key of the language.
//!
//! The descriptions of the keys are what editors show; `countersign schema` prints them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;
use toml::de::DeValue;

use super::problem::Findings;
use super::read::{At, Named, Read, Text, Tree, table};
use super::syntax::Value;
use server::{ServerTable, StoreTable};

pub mod server;

table! {
    /// Tools for an MCP host, and the providers that authorize them.
    File {
        /// The server as a whole.
        "server" => server: ServerTable,
        /// Where grants are kept.
        "store" => store: StoreTable,
        /// Who grants access. Built-in ones need no table when NAME_CLIENT_ID and NAME_CLIENT_SECRET are set.
        "providers" => providers: Named<ProviderTable>,
        /// One table for each tool.
        "tools" => tools: Named<Box<ToolTable>>,
        /// Imported OpenAPI operations: not supported by this version yet.
        #[schemars(skip)]
        "openapi" => openapi: Later,
        /// Upstream MCP servers: not supported by this version yet.
        #[schemars(skip)]
        "mcp" => mcp: Later,
    }
}

table! {
    /// Who grants access. For a built-in provider every entry overrides a single value.
    ProviderTable {
        /// For people, e.g. `GitHub`.
        "title" => title: Text,
        /// What the relative `request` of a tool is appended to.
        "base_url" => base_url: Text,
        /// The OAuth app's id, or a reference to it (`env:NAME`).
        "client_id" => client_id: Text,
        /// A reference to the OAuth app's secret: `env:NAME`, `keyring:NAME`, `file:/path` or `cmd:program args`.
        "client_secret" => client_secret: Text,
        /// Asked for on every connection, besides those of the tool.
        "scopes" => scopes: Vec<Text>,
        /// The only hosts (`host` or `host:port`, a leading `*.` for subdomains) that receive the credential. Default: that of base_url.
        "hosts" => hosts: Vec<Text>,
        /// Fixed headers of every request.
        "headers" => headers: Named<Text>,
        /// A key in a query parameter or header of its own, instead of OAuth.
        "api_key" => api_key: ApiKeyTable,
        /// A token in `Authorization: Bearer`, instead of OAuth: a reference to one for everybody, or what to ask each person for.
        "bearer" => bearer: BearerEntry,
        /// User and password (RFC 7617), instead of OAuth: for everybody, or asked of each person.
        "basic" => basic: BasicTable,
        /// How OAuth differs here; a built-in provider needs none of it.
        "oauth" => oauth: OAuthTable,
        /// How this API says that a call failed.
        "failure" => failure: FailureTable,
        /// Scopes in words, for connect pages.
        "scope_words" => scope_words: Named<Text>,
        /// Microsoft: the directory, e.g. `contoso.onmicrosoft.com`. Default: `common`.
        "tenant" => tenant: Text,
        /// The host of a provider that people run themselves. Default for gitlab: `gitlab.com`.
        "host" => host: Text,
        /// Shopify: the shop, e.g. `acme` of acme.myshopify.com.
        "shop" => shop: Text,
        /// Zendesk: what stands before .zendesk.com.
        "subdomain" => subdomain: Text,
        /// Where the account is kept: zoho's domain, e.g. `eu`; mailchimp's data centre, e.g. `us19`.
        "region" => region: Text,
        /// Keycloak: the realm.
        "realm" => realm: Text,
        /// Where the OAuth app is registered.
        "console_url" => console_url: Text,
        /// Whether a person may connect several accounts: tools then get an optional parameter `account`. Default: false.
        "accounts" => accounts: At<bool>,
        /// As `retention` of the table `store`, for this provider.
        #[schemars(extend("enum" = ["refresh", "no_refresh", "use_once"]))]
        "retention" => retention: Text,
        /// What `countersign providers show` says.
        "guide" => guide: GuideTable,
    }
}

table! {
    /// A key: everybody's by `value`, or each person's own by `ask` and `test`. Exactly one of `query` and `header` says where it goes.
    ApiKeyTable {
        /// The name of the query parameter that carries the key.
        "query" => query: Text,
        /// The name of the header that carries the key.
        "header" => header: Text,
        /// What stands before the key in the header, e.g. `Bearer `.
        "prefix" => prefix: Text,
        /// A reference to the key: `env:NAME`, `keyring:NAME`, `file:/path` or `cmd:program args`.
        "value" => value: Text,
        /// What each person is asked to paste on our page, and where to find it.
        "ask" => ask: Text,
        /// A request that a pasted key must pass before it is kept: `GET /me`. GET, HEAD, or POST without a body.
        "test" => test: Text,
    }
}

table! {
    /// A token that each person pastes on our page.
    AskTable {
        /// What to paste, and where to find it.
        #[schemars(required)]
        "ask" => ask: Text,
        /// A request that a pasted token must pass before it is kept: `GET /me`. GET, HEAD, or POST without a body.
        #[schemars(required)]
        "test" => test: Text,
    }
}

table! {
    /// User and password: everybody's, or by `ask` and `test` each person's own.
    BasicTable {
        /// The user, or a reference to it. With `ask`: everybody's user, so that only the password is asked for.
        "user" => user: Text,
        /// A reference to the password: `env:NAME`, `keyring:NAME`, `file:/path` or `cmd:program args`.
        "password" => password: Text,
        /// What each person is asked to type on our page, and where to find it.
        "ask" => ask: Text,
        /// A request that what was typed must pass before it is kept: `GET /me`. GET, HEAD, or POST without a body.
        "test" => test: Text,
    }
}

/// A bearer token: a reference to everybody's, or how each person is asked for one.
#[derive(Clone, Debug)]
pub enum BearerEntry {
    Reference(Text),
    Ask(Box<AskTable>),
}

impl Read for BearerEntry {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => {
                AskTable::read(value, find).map(|table| Self::Ask(Box::new(table)))
            }
            _ => Text::read(value, find).map(Self::Reference),
        }
    }
}

impl JsonSchema for BearerEntry {
    fn schema_name() -> Cow<'static, str> {
        "Bearer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<AskTable>();
        json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}

table! {
    /// An OAuth 2 server. With an `issuer` the rest is discovered.
    OAuthTable {
        /// Source of whatever is not given, by RFC 8414 or OpenID Connect discovery.
        "issuer" => issuer: Text,
        "authorize_url" => authorize_url: Text,
        "token_url" => token_url: Text,
        "revoke_url" => revoke_url: Text,
        /// How `revoke_url` is called: `rfc7009` (default), `access-token` (the same, but never for the refresh token), `bearer` or `delete` (POST or DELETE, the access token as Bearer) or `github`.
        #[schemars(extend("enum" = ["rfc7009", "access-token", "bearer", "delete", "github"]))]
        "revoke" => revoke: Text,
        /// What is posted to `revoke_url`, where that is nothing of `revoke`.
        "revoke_request" => revoke_request: RevokeRequestTable,
        /// Where tokens are refreshed, if not at `token_url`.
        "refresh_url" => refresh_url: Text,
        "device_url" => device_url: Text,
        /// OpenID Connect's userinfo endpoint: `identity` with `sub` as id, and email or name as label.
        "userinfo_url" => userinfo_url: Text,
        /// How to ask whose token it is, where there is no `userinfo_url`.
        "identity" => identity: IdentityTable,
        /// How the client shows who it is: `basic`, `post`, `bearer` (the secret as a bearer token) or `none` (a public client).
        #[schemars(extend("enum" = ["basic", "post", "bearer", "none"]))]
        "token_auth" => token_auth: Text,
        /// What is sent to the token endpoint: `form` (default) or `json`.
        #[schemars(extend("enum" = ["form", "json"]))]
        "token_body" => token_body: Text,
        /// Extra parameters of every token request, e.g. `audience` or `resource`.
        "token_params" => token_params: Named<Text>,
        /// The object of the token response that holds the person's token, e.g. Slack's `authed_user`.
        "token_object" => token_object: Text,
        /// Answers to a refresh that mean that the refresh token has ended, where those are not RFC 6749's `invalid_grant`.
        "refresh_ended" => refresh_ended: Vec<RefreshEndedTable>,
        /// When refresh tokens end, whatever their answer says.
        "refresh_life" => refresh_life: RefreshLifeTable,
        /// Whether `prompt=consent` is sent with the scope `offline_access` where `params` has no `prompt`, as OpenID Connect demands. Default: true.
        "offline_prompt" => offline_prompt: At<bool>,
        /// The header that carries the bare access token. Default: `Authorization: Bearer …`.
        "token_header" => token_header: Text,
        /// What stands between scopes in the authorization request. Default: a space.
        "scope_separator" => scope_separator: Text,
        /// The parameter of the authorization request that carries the scopes. Default: `scope`.
        "scope_parameter" => scope_parameter: Text,
        /// Put before every scope that is not a URL and not among `plain_scopes`.
        "scope_prefix" => scope_prefix: Text,
        /// Scopes that get no prefix.
        "plain_scopes" => plain_scopes: Vec<Text>,
        /// Which scopes a wider scope contains.
        "implied" => implied: Named<Vec<Text>>,
        /// RFC 7636. Default: true.
        "pkce" => pkce: At<bool>,
        /// Extra parameters of the authorization request.
        "params" => params: Named<Text>,
        /// Which loopback redirect URIs are accepted: `any-port`, `exact`, `localhost-any-port`, `localhost-exact` or `refused`.
        #[schemars(extend("enum" = ["any-port", "exact", "localhost-any-port", "localhost-exact", "refused"]))]
        "loopback" => loopback: Text,
        /// How the grant is had: `code` (default), by each person's consent; `client_credentials` or `jwt_bearer`, one grant for the whole server.
        #[schemars(extend("enum" = ["code", "client_credentials", "jwt_bearer"]))]
        "grant" => grant: Text,
        /// What is asserted, and who signs it; with `grant = "jwt_bearer"`.
        "assertion" => assertion: AssertionTable,
    }
}

table! {
    /// An assertion that takes the place of a consent (RFC 7523 §2.1).
    AssertionTable {
        /// A reference to a Google service account's JSON file; it brings key, key id and issuer.
        "service_account" => service_account: Text,
        /// A reference to a PEM file with the private key, e.g. `file:/run/secrets/acme.pem`.
        "private_key" => private_key: Text,
        /// Default: `RS256`.
        #[schemars(extend("enum" = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]))]
        "algorithm" => algorithm: Text,
        /// `kid`: which of our keys the server is to check it with.
        "key_id" => key_id: Text,
        /// `iss`, or a reference to it. Default: the client id.
        "issuer" => issuer: Text,
        /// `sub`, or a reference to it: on whose behalf. Default: as `issuer`.
        "subject" => subject: Text,
        /// `aud`. Default: `token_url` where it is written, else `issuer` of [providers.….oauth].
        "audience" => audience: Text,
        /// Seconds, 30 to 3600. Default: 300.
        "lifetime" => lifetime: At<i64>,
        /// Further claims, e.g. `box_sub_type`.
        "claims" => claims: Named<Text>,
    }
}

table! {
    /// An answer to a refresh that means: the refresh token has ended. All that is written must hold.
    RefreshEndedTable {
        /// The HTTP status.
        "status" => status: At<i64>,
        /// The answer's `error`, a text or a number.
        "error" => error: Text,
        /// Contained in some text of the answer, in whichever case.
        "says" => says: Text,
    }
}

table! {
    /// When a provider ends refresh tokens: people are told beforehand.
    RefreshLifeTable {
        /// After how many days, 1 to 3650.
        #[schemars(required)]
        "days" => days: At<i64>,
        /// From when they count: `renewal` (default), so that use prolongs it, or `consent`.
        #[schemars(extend("enum" = ["renewal", "consent"]))]
        "from" => from: Text,
        /// In which case, where not always: a clause such as `your app is in status "Testing"`.
        "when" => when: Text,
        /// What the operator can do about it: a clause such as `publish the app`.
        "remedy" => remedy: Text,
    }
}

table! {
    /// A POST that ends a consent. `{client_id}`, `{client_secret}` and `{access_token}` stand for what they name.
    RevokeRequestTable {
        /// The header of that name, e.g. `Bearer {access_token}`.
        "authorization" => authorization: Text,
        /// The body as JSON.
        "body" => body: Named<Text>,
        /// The body as application/x-www-form-urlencoded, instead of `body`.
        "form" => form: Named<Text>,
    }
}

table! {
    /// How to ask whose token it is. Places are JSON pointers (RFC 6901).
    IdentityTable {
        /// Method and whole URL, or method and a path below `base_url`: `GET /user`.
        #[schemars(required)]
        "request" => request: Text,
        /// Headers of this request only.
        "headers" => headers: Named<Text>,
        /// The JSON body, e.g. a GraphQL query.
        "body" => body: Tree,
        /// Where the account's id stands that never changes.
        #[schemars(required)]
        "id" => id: Text,
        /// Where that stands what people know the account by; the first text or number found is it.
        "label" => label: Vec<Text>,
    }
}

table! {
    /// What `countersign providers show` says, in whole sentences.
    GuideTable {
        /// What it is, in a few words.
        "about" => about: Text,
        /// How to register an app.
        "register" => register: Text,
        /// How long its tokens live.
        "tokens" => tokens: Text,
        /// What surprises.
        "notes" => notes: Vec<Text>,
        /// How long lists are handed out, where all of them are alike.
        "paginate" => paginate: PaginateTable,
    }
}

table! {
    /// How an API hands out long lists: `link`, `page`, or `cursor` with `next`.
    PaginateTable {
        /// By the `Link` header (RFC 8288).
        "link" => link: At<bool>,
        /// The query parameter that takes a page's number.
        "page" => page: Text,
        /// The query parameter that takes a cursor.
        "cursor" => cursor: Text,
        /// The jq path to the next cursor in an answer: `.nextPageToken`.
        "next" => next: Text,
    }
}

table! {
    /// How an API says that a call failed. Places are JSON pointers (RFC 6901).
    FailureTable {
        /// Where an error's message may stand; the first text found is it.
        "message" => message: Vec<Text>,
        /// A boolean that is `false` when a 200 is a failure.
        "ok" => ok: Text,
        /// What stands in failures only, even with status 200: GraphQL's `/errors`.
        "errors" => errors: Text,
        /// The failure's code, a text or a number.
        "code" => code: Text,
        /// Codes that mean: the token is not accepted any more.
        "expired" => expired: Vec<Text>,
        /// Codes that mean: a scope is missing.
        "missing_scope" => missing_scope: Vec<Text>,
        /// Codes that mean: too many requests, so that the model waits and calls again. What says so
        /// in words is understood without.
        "rate_limited" => rate_limited: Vec<Text>,
        /// The scopes that would have been needed.
        "needed" => needed: Text,
    }
}

table! {
    /// A tool: one HTTP request that the model can make.
    ToolTable {
        /// What it does, for the model.
        #[schemars(required)]
        "description" => description: Text,
        /// For people. Default: made from the name.
        "title" => title: Text,
        /// Whose credential the request carries. None: the request carries none.
        "provider" => provider: Text,
        /// Scopes that this tool needs, asked for at its first call.
        "scopes" => scopes: Vec<Text>,
        /// Method and path, or method and whole URL: `GET /repos/{owner}/{repo}`.
        #[schemars(required)]
        "request" => request: Text,
        /// What the model fills in.
        "params" => params: Named<ParamEntry>,
        /// Fixed query parameters.
        "query" => query: Named<Tree>,
        /// Headers of the request.
        "headers" => headers: Named<Text>,
        /// The JSON body; a text that is one placeholder keeps its argument's type.
        "body" => body: Tree,
        /// The body as application/x-www-form-urlencoded, instead of `body`.
        "form" => form: Named<Tree>,
        /// A jq filter over the answer.
        "select" => select: Text,
        /// A jq filter over the answer; a text makes the call a failure with that message.
        "error" => error: Text,
        /// A fixed answer for requests that return nothing worth reading.
        "reply" => reply: Text,
        /// How much a call may change: `read`, `write` or `destroy`. Default: GET and HEAD read, everything else may destroy.
        #[schemars(extend("enum" = ["read", "write", "destroy"]))]
        "effect" => effect: Text,
        /// Seconds, 1 to 120. Default: 30.
        "timeout" => timeout: At<i64>,
        /// Longest output in characters. Default: that of the server.
        "max_chars" => max_chars: At<i64>,
        /// Not offered.
        "disabled" => disabled: At<bool>,
        /// Who sees and calls it, where callers are told apart: `group:NAME` and `user:ID`. Default: everybody.
        "allow" => allow: At<Vec<Text>>,
        /// JSON Schema of the result; then the result is also structured content.
        "output" => output: Tree,
        /// Example calls and what must hold for their results.
        "tests" => tests: Vec<TestTable>,
    }
    later { "paginate", "each", "confirm" }
}

table! {
    /// An example call of a tool.
    TestTable {
        /// The arguments, by name.
        "args" => args: Tree,
        /// A jq filter over the result that must be true.
        #[schemars(required)]
        "expect" => expect: Text,
    }
}

table! {
    /// A parameter of a tool.
    ParamTable {
        /// The name that the API gives to it.
        "as" => wire: Text,
        /// What it means, for the model.
        "description" => description: Text,
        /// `string` (default), `integer`, `number`, `boolean`, `object` or `array`.
        #[schemars(extend("enum" = ["string", "integer", "number", "boolean", "object", "array"]))]
        "type" => kind: Text,
        /// What a list holds: `string` (default), `integer`, `number`, `boolean` or `object`.
        #[schemars(extend("enum" = ["string", "integer", "number", "boolean", "object"]))]
        "items" => items: Text,
        /// Allowed texts.
        "enum" => choices: At<Vec<Text>>,
        /// Whether it may be left out.
        "optional" => optional: At<bool>,
        /// What is sent when it is left out.
        "default" => default: Tree,
        /// Least value of a number, length of a text, count of a list.
        "min" => min: At<f64>,
        /// Greatest value of a number, length of a text, count of a list.
        "max" => max: At<f64>,
    }
}

/// A parameter: a table, or just the description of a required text.
#[derive(Clone, Debug)]
pub enum ParamEntry {
    Description(Text),
    Table(Box<ParamTable>),
}

impl Read for ParamEntry {
    fn read(value: &Value<'_>, find: &mut Findings<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => {
                ParamTable::read(value, find).map(|table| Self::Table(Box::new(table)))
            }
            _ => Text::read(value, find).map(Self::Description),
        }
    }
}

impl JsonSchema for ParamEntry {
    fn schema_name() -> Cow<'static, str> {
        "Param".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<ParamTable>();
        json_schema!({
            "description": "What the model fills in: a table, or just the description of a required text.",
            "anyOf": [{ "type": "string" }, table],
        })
    }
}

/// Named tables that a later version will read: where each begins.
#[derive(Clone, Debug, Default)]
pub struct Later(pub Vec<Text>);

impl Read for Later {
    fn read(value: &Value<'_>, _: &mut Findings<'_>) -> Option<Self> {
        let names = match value.get_ref() {
            DeValue::Table(table) if !table.is_empty() => table
                .iter()
                .map(|(key, value)| At::new(key.get_ref().to_string(), value.span()))
                .collect(),
            _ => vec![At::new(String::new(), value.span())],
        };
        Some(Self(names))
    }
}

/// The JSON Schema of `tools.toml`, draft 7: what TOML editors read.
pub fn schema() -> Json {
    let settings = schemars::generate::SchemaSettings::draft07();
    let mut schema = settings.into_generator().into_root_schema_for::<File>().to_value();
    without_null(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), "tools.toml".into());
    }
    schema
}

/// TOML has no null: what may be left out is left out.
fn without_null(schema: &mut Json) {
    match schema {
        Json::Array(items) => items.iter_mut().for_each(without_null),
        Json::Object(keys) => {
            if let Some(Json::Array(types)) = keys.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    keys.insert("type".into(), only);
                }
            }
            if let Some(Json::Array(any)) = keys.get_mut("anyOf") {
                any.retain(|one| one.get("type").is_none_or(|kind| kind != "null"));
                if let [Json::Object(only)] = any.as_slice() {
                    let only = only.clone();
                    keys.remove("anyOf");
                    keys.extend(only);
                }
            }
            // `int64` means nothing to an editor.
            if keys.get("format").is_some_and(Json::is_string) {
                keys.remove("format");
            }
            keys.values_mut().for_each(without_null);
        }
        _ => {}
    }
}
