//! `tools.toml` as written: every table and key of the language.
//!
//! Editors show the descriptions of the keys; `countersign schema` prints them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;
use toml::de::DeValue;

use super::findings::Findings;
use super::read::{Named, Read, Tree, table};
use super::span::{At, Text};
use super::syntax::Value;
use face::{ArgNamesTable, IdsTable, ReturnsTable, ToolNames, ToolkitEntry};
use server::{ServerTable, StoreTable};
use webhook::WebhookTable;

pub mod face;
pub mod server;
pub mod webhook;

table! {
    /// Tools for an MCP host, and the providers that authorize them.
    File {
        /// The server as a whole.
        "server" => server: ServerTable,
        /// The store for grants.
        "store" => store: StoreTable,
        /// Services that grant access. A built-in provider needs no table if NAME_CLIENT_ID and NAME_CLIENT_SECRET are set.
        "providers" => providers: Named<ProviderTable>,
        /// One table for each tool.
        "tools" => tools: Named<Box<ToolTable>>,
        /// Tools that are built in, by toolkit: a list of names, or `"*"` for all of a toolkit.
        "toolkits" => toolkits: Named<ToolkitEntry>,
        /// Named lists of tools: a server with HTTP serves the list `sales` at `/mcp/sales`.
        "gateways" => gateways: Named<ToolNames>,
        /// Receivers of signed events about the connections of an application's users, by name.
        "webhooks" => webhooks: Named<WebhookTable>,
        /// Imported OpenAPI operations: not supported by this version yet.
        #[schemars(skip)]
        "openapi" => openapi: Later,
        /// Upstream MCP servers: not supported by this version yet.
        #[schemars(skip)]
        "mcp" => mcp: Later,
    }
}

table! {
    /// A service that grants access. For a built-in provider, each entry overrides a single value.
    ProviderTable {
        /// Display name, e.g. `GitHub`.
        "title" => title: Text,
        /// URL to which the relative `request` of a tool is appended.
        "base_url" => base_url: Text,
        /// The OAuth app's id, or a reference to it (`env:NAME`).
        "client_id" => client_id: Text,
        /// A reference to the OAuth app's secret: `env:NAME`, `keyring:NAME`, `file:/path` or `cmd:program args`.
        "client_secret" => client_secret: Text,
        /// Scopes requested on every connection, besides those of the tool.
        "scopes" => scopes: Vec<Text>,
        /// The only hosts (`host` or `host:port`, a leading `*.` for subdomains) that receive the credential. Default: the host of `base_url`.
        "hosts" => hosts: Vec<Text>,
        /// Fixed headers of every request.
        "headers" => headers: Named<Text>,
        /// A key in a query parameter or header of its own, instead of OAuth.
        "api_key" => api_key: ApiKeyTable,
        /// A token in `Authorization: Bearer`, instead of OAuth: a reference to one for all users, or what to ask each user for.
        "bearer" => bearer: BearerEntry,
        /// User and password (RFC 7617), instead of OAuth: one pair for all users, or each user is asked.
        "basic" => basic: BasicTable,
        /// OAuth settings; a built-in provider needs none.
        "oauth" => oauth: OAuthTable,
        /// How this API reports that a call failed.
        "failure" => failure: FailureTable,
        /// Descriptions of scopes, for connect pages.
        "scope_words" => scope_words: Named<Text>,
        /// Microsoft: the directory, e.g. `contoso.onmicrosoft.com`. Default: `common`.
        "tenant" => tenant: Text,
        /// The host of a self-hosted provider. Default for gitlab: `gitlab.com`.
        "host" => host: Text,
        /// Shopify: the shop, e.g. `acme` of acme.myshopify.com.
        "shop" => shop: Text,
        /// Zendesk: the part before `.zendesk.com`.
        "subdomain" => subdomain: Text,
        /// The account's region: Zoho's domain, e.g. `eu`; Mailchimp's data centre, e.g. `us19`.
        "region" => region: Text,
        /// Keycloak: the realm.
        "realm" => realm: Text,
        /// Page where the OAuth app is registered.
        "console_url" => console_url: Text,
        /// Whether a user may connect several accounts; tools then get an optional parameter `account`. Default: false.
        "accounts" => accounts: At<bool>,
        /// Like `retention` of the table `store`, for this provider.
        #[schemars(extend("enum" = ["refresh", "no_refresh", "use_once"]))]
        "retention" => retention: Text,
        /// Texts that `countersign providers show` prints.
        "guide" => guide: GuideTable,
    }
}

table! {
    /// A key: one for all users (`value`), or each user's own (`ask` and `test`). Exactly one of `query` and `header` says where it goes.
    ApiKeyTable {
        /// The name of the query parameter that carries the key.
        "query" => query: Text,
        /// The name of the header that carries the key.
        "header" => header: Text,
        /// Text before the key in the header, e.g. `Bearer `.
        "prefix" => prefix: Text,
        /// A reference to the key: `env:NAME`, `keyring:NAME`, `file:/path` or `cmd:program args`.
        "value" => value: Text,
        /// Tells each user what to paste on this server's page, and where to find it.
        "ask" => ask: Text,
        /// A request that must succeed with a pasted key before the key is kept: `GET /me`. GET, HEAD, or POST without a body.
        "test" => test: Text,
    }
}

table! {
    /// A token that each user pastes on this server's page.
    AskTable {
        /// Tells each user what to paste, and where to find it.
        #[schemars(required)]
        "ask" => ask: Text,
        /// A request that must succeed with a pasted token before the token is kept: `GET /me`. GET, HEAD, or POST without a body.
        #[schemars(required)]
        "test" => test: Text,
    }
}

table! {
    /// User and password: one pair for all users, or each user's own (`ask` and `test`).
    BasicTable {
        /// The user name, or a reference to it. With `ask`: the same for all users, so that each is only asked for a password.
        "user" => user: Text,
        /// A reference to the password: `env:NAME`, `keyring:NAME`, `file:/path` or `cmd:program args`.
        "password" => password: Text,
        /// Tells each user what to type on this server's page, and where to find it.
        "ask" => ask: Text,
        /// A request that must succeed with the typed credentials before they are kept: `GET /me`. GET, HEAD, or POST without a body.
        "test" => test: Text,
    }
}

/// A bearer token: a reference to one for all users, or how each user is asked for one.
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
    /// An OAuth 2 server. With an `issuer`, the other settings are discovered.
    OAuthTable {
        /// The issuer, from which settings that are not given are discovered (RFC 8414 or OpenID Connect discovery).
        "issuer" => issuer: Text,
        "authorize_url" => authorize_url: Text,
        "token_url" => token_url: Text,
        "revoke_url" => revoke_url: Text,
        /// How `revoke_url` is called: `rfc7009` (default), `access-token` (the same, but never for the refresh token), `bearer` or `delete` (POST or DELETE, the access token as Bearer) or `github`.
        #[schemars(extend("enum" = ["rfc7009", "access-token", "bearer", "delete", "github"]))]
        "revoke" => revoke: Text,
        /// The request posted to `revoke_url`, if no kind of `revoke` fits.
        "revoke_request" => revoke_request: RevokeRequestTable,
        /// URL at which tokens are refreshed, if not `token_url`.
        "refresh_url" => refresh_url: Text,
        "device_url" => device_url: Text,
        /// OpenID Connect's userinfo endpoint: `identity` with `sub` as id, and email or name as label.
        "userinfo_url" => userinfo_url: Text,
        /// How to ask which account a token belongs to, if there is no `userinfo_url`.
        "identity" => identity: IdentityTable,
        /// How the client authenticates: `basic`, `post`, `bearer` (the secret as a bearer token) or `none` (a public client).
        #[schemars(extend("enum" = ["basic", "post", "bearer", "none"]))]
        "token_auth" => token_auth: Text,
        /// Format of requests to the token endpoint: `form` (default) or `json`.
        #[schemars(extend("enum" = ["form", "json"]))]
        "token_body" => token_body: Text,
        /// Extra parameters of every token request, e.g. `audience` or `resource`.
        "token_params" => token_params: Named<Text>,
        /// The object of the token response that holds the user's token, e.g. Slack's `authed_user`.
        "token_object" => token_object: Text,
        /// Answers to a refresh that mean that the refresh token has ended, if they are not RFC 6749's `invalid_grant`.
        "refresh_ended" => refresh_ended: Vec<RefreshEndedTable>,
        /// When refresh tokens end, regardless of the token response.
        "refresh_life" => refresh_life: RefreshLifeTable,
        /// Whether `prompt=consent` is sent with the scope `offline_access` if `params` has no `prompt`, as OpenID Connect requires. Default: true.
        "offline_prompt" => offline_prompt: At<bool>,
        /// The header that carries the bare access token. Default: `Authorization: Bearer …`.
        "token_header" => token_header: Text,
        /// Separator of scopes in the authorization request. Default: a space.
        "scope_separator" => scope_separator: Text,
        /// The parameter of the authorization request that carries the scopes. Default: `scope`.
        "scope_parameter" => scope_parameter: Text,
        /// Prefix of every scope that is not a URL and not among `plain_scopes`.
        "scope_prefix" => scope_prefix: Text,
        /// Scopes that get no prefix.
        "plain_scopes" => plain_scopes: Vec<Text>,
        /// Scopes that a wider scope contains.
        "implied" => implied: Named<Vec<Text>>,
        /// Whether to use PKCE (RFC 7636). Default: true.
        "pkce" => pkce: At<bool>,
        /// Extra parameters of the authorization request.
        "params" => params: Named<Text>,
        /// Which loopback redirect URIs are accepted: `any-port`, `exact`, `localhost-any-port`, `localhost-exact` or `refused`.
        #[schemars(extend("enum" = ["any-port", "exact", "localhost-any-port", "localhost-exact", "refused"]))]
        "loopback" => loopback: Text,
        /// How the grant is obtained: `code` (default), by each user's consent; `client_credentials` or `jwt_bearer`, one grant for the whole server.
        #[schemars(extend("enum" = ["code", "client_credentials", "jwt_bearer"]))]
        "grant" => grant: Text,
        /// The assertion and its key, with `grant = "jwt_bearer"`.
        "assertion" => assertion: AssertionTable,
    }
}

table! {
    /// An assertion that takes the place of a consent (RFC 7523 §2.1).
    AssertionTable {
        /// A reference to a Google service account's JSON file, which contains key, key id and issuer.
        "service_account" => service_account: Text,
        /// A reference to a PEM file with the private key, e.g. `file:/run/secrets/acme.pem`.
        "private_key" => private_key: Text,
        /// Signature algorithm. Default: `RS256`.
        #[schemars(extend("enum" = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]))]
        "algorithm" => algorithm: Text,
        /// `kid`: the key with which the authorization server checks the signature.
        "key_id" => key_id: Text,
        /// `iss`, or a reference to it. Default: the client id.
        "issuer" => issuer: Text,
        /// `sub`, or a reference to it: the account to act for. Default: same as `issuer`.
        "subject" => subject: Text,
        /// `aud`. Default: `token_url` if it is written, else `issuer` of [providers.….oauth].
        "audience" => audience: Text,
        /// Seconds, 30 to 3600. Default: 300.
        "lifetime" => lifetime: At<i64>,
        /// Further claims, e.g. `box_sub_type`.
        "claims" => claims: Named<Text>,
    }
}

table! {
    /// An answer to a refresh that means that the refresh token has ended. All entries must match.
    RefreshEndedTable {
        /// The HTTP status.
        "status" => status: At<i64>,
        /// The answer's `error`, a string or a number.
        "error" => error: Text,
        /// Text that a string of the answer contains, ignoring case.
        "says" => says: Text,
    }
}

table! {
    /// When a provider ends refresh tokens; users are told beforehand.
    RefreshLifeTable {
        /// Days after which a refresh token ends, 1 to 3650.
        #[schemars(required)]
        "days" => days: At<i64>,
        /// Start of the count: `renewal` (default), so that use prolongs a token's life, or `consent`.
        #[schemars(extend("enum" = ["renewal", "consent"]))]
        "from" => from: Text,
        /// The condition, if tokens do not always end: a clause such as `your app is in status "Testing"`.
        "when" => when: Text,
        /// Remedy for the operator: a clause such as `publish the app`.
        "remedy" => remedy: Text,
    }
}

table! {
    /// A POST that ends a consent. `{client_id}`, `{client_secret}` and `{access_token}` are replaced by their values.
    RevokeRequestTable {
        /// The `Authorization` header, e.g. `Bearer {access_token}`.
        "authorization" => authorization: Text,
        /// The body as JSON.
        "body" => body: Named<Text>,
        /// The body as application/x-www-form-urlencoded, instead of `body`.
        "form" => form: Named<Text>,
    }
}

table! {
    /// How to ask which account a token belongs to. `id` and `label` are JSON pointers (RFC 6901).
    IdentityTable {
        /// Method and whole URL, or method and a path below `base_url`: `GET /user`.
        #[schemars(required)]
        "request" => request: Text,
        /// Headers of this request only.
        "headers" => headers: Named<Text>,
        /// The JSON body, e.g. a GraphQL query.
        "body" => body: Tree,
        /// Pointer to the account's id, which never changes.
        #[schemars(required)]
        "id" => id: Text,
        /// Pointers to a name that people know the account by; the first string or number found is used.
        "label" => label: Vec<Text>,
    }
}

table! {
    /// Texts that `countersign providers show` prints, in whole sentences.
    GuideTable {
        /// The service, in a few words.
        "about" => about: Text,
        /// How to register an app.
        "register" => register: Text,
        /// How long its tokens live.
        "tokens" => tokens: Text,
        /// Surprising behaviour.
        "notes" => notes: Vec<Text>,
        /// How long lists are paged, if all of them are paged alike.
        "paginate" => paginate: PaginateTable,
    }
}

table! {
    /// How an API pages long lists: `link`, `page`, or `cursor` with `next`.
    PaginateTable {
        /// Whether the `Link` header (RFC 8288) leads to the next page.
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
    /// How an API reports that a call failed. `message`, `ok`, `errors`, `code` and `needed` are JSON pointers (RFC 6901).
    FailureTable {
        /// Pointers to an error's message; the first string found is used.
        "message" => message: Vec<Text>,
        /// A boolean that is `false` when a 200 is a failure.
        "ok" => ok: Text,
        /// A value that only failures have, even with status 200: GraphQL's `/errors`.
        "errors" => errors: Text,
        /// The failure's code, a string or a number.
        "code" => code: Text,
        /// Codes that mean that the token is no longer accepted.
        "expired" => expired: Vec<Text>,
        /// Codes that mean that a scope is missing.
        "missing_scope" => missing_scope: Vec<Text>,
        /// Codes that mean too many requests, so that the model waits and calls again. Codes that say so in words need no entry.
        "rate_limited" => rate_limited: Vec<Text>,
        /// The scopes that the call would have needed.
        "needed" => needed: Text,
    }
}

table! {
    /// A tool: one HTTP request that the model can make.
    ToolTable {
        /// Tells the model what the tool does.
        #[schemars(required)]
        "description" => description: Text,
        /// Display name. Default: made from the name.
        "title" => title: Text,
        /// The provider whose credential the request carries. Default: no credential.
        "provider" => provider: Text,
        /// Scopes that this tool needs, requested at its first call.
        "scopes" => scopes: Vec<Text>,
        /// Method and path, or method and whole URL: `GET /repos/{owner}/{repo}`.
        #[schemars(required)]
        "request" => request: Text,
        /// Parameters that the model fills in.
        "params" => params: Named<ParamEntry>,
        /// Fixed query parameters.
        "query" => query: Named<Tree>,
        /// Headers of the request.
        "headers" => headers: Named<Text>,
        /// The JSON body; a string that is one placeholder keeps its argument's type.
        "body" => body: Tree,
        /// The body as application/x-www-form-urlencoded, instead of `body`.
        "form" => form: Named<Tree>,
        /// A jq filter over the answer.
        "select" => select: Text,
        /// A jq filter over the answer; a string result makes the call fail with that message.
        "error" => error: Text,
        /// A fixed answer for requests that return nothing worth reading.
        "reply" => reply: Text,
        /// How much a call may change: `read`, `write` or `destroy`. Default: GET and HEAD read, everything else may destroy.
        #[schemars(extend("enum" = ["read", "write", "destroy"]))]
        "effect" => effect: Text,
        /// Timeout in seconds, 1 to 120. Default: 30.
        "timeout" => timeout: At<i64>,
        /// Longest output in characters. Default: that of the server.
        "max_chars" => max_chars: At<i64>,
        /// Whether the tool is left out. Default: false.
        "disabled" => disabled: At<bool>,
        /// Callers that see and may call the tool, with [server.auth]: `group:NAME` and `user:ID`. Default: all callers.
        "allow" => allow: At<Vec<Text>>,
        /// JSON Schema of the result, which is then also structured content.
        "output" => output: Tree,
        /// Further ids of the tool, for clients of other products.
        "ids" => ids: IdsTable,
        /// Names that clients of other products use for parameters.
        "args" => args: ArgNamesTable,
        /// Whether Portia's clients summarize a long result. Default: false.
        "should_summarize" => should_summarize: At<bool>,
        /// Type and description of the result, for Portia's clients. Default: made from `output`.
        "returns" => returns: ReturnsTable,
        /// Example calls, with conditions on their results.
        "tests" => tests: Vec<TestTable>,
    }
    later { "paginate", "each", "confirm" }
}

impl ToolTable {
    /// Whether the tool is declared and not served.
    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled.as_ref().is_some_and(|disabled| disabled.value)
    }
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
        /// The API's name for the parameter.
        "as" => wire: Text,
        /// Tells the model what the parameter means.
        "description" => description: Text,
        /// `string` (default), `integer`, `number`, `boolean`, `object` or `array`.
        #[schemars(extend("enum" = ["string", "integer", "number", "boolean", "object", "array"]))]
        "type" => kind: Text,
        /// Type of a list's items: `string` (default), `integer`, `number`, `boolean` or `object`.
        #[schemars(extend("enum" = ["string", "integer", "number", "boolean", "object"]))]
        "items" => items: Text,
        /// Allowed strings.
        "enum" => choices: At<Vec<Text>>,
        /// Whether the model may leave the parameter out.
        "optional" => optional: At<bool>,
        /// Value that is sent if the model leaves the parameter out.
        "default" => default: Tree,
        /// Minimum of a number, of a string's length in characters, or of a list's number of items.
        "min" => min: At<f64>,
        /// Maximum of a number, of a string's length in characters, or of a list's number of items.
        "max" => max: At<f64>,
    }
}

/// A parameter: a table, or just the description of a required string.
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

/// Names and positions of tables that a later version will read.
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

/// Returns the JSON Schema of `tools.toml`, in draft 7, which TOML editors read.
pub fn schema() -> Json {
    let settings = schemars::generate::SchemaSettings::draft07();
    let mut schema = settings.into_generator().into_root_schema_for::<File>().to_value();
    without_null(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), "tools.toml".into());
    }
    schema
}

/// Removes `null` from a schema: TOML has none, and an optional key is left out instead.
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
