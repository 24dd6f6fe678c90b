//! Requests of an OAuth flow in the shape of Arcade's contract, as settings of ours.
//!
//! Parameters that every client of OAuth sends are left out, since each request has them anyway. All
//! others are read or refused: without one that is ignored, the provider would refuse the consent.

use std::collections::BTreeMap;

use crate::model::rest_provider::{OAuthApp, OAuthRequest};

/// Parameters of an authorization request that it has anyway.
const AUTHORIZE_PARAMS: [(&str, &str); 5] = [
    ("client_id", "{{client_id}}"),
    ("redirect_uri", "{{redirect_uri}}"),
    ("state", "{{state}}"),
    ("response_type", "code"),
    ("code_challenge_method", "S256"),
];
/// Parameters of a token request that it has anyway.
const TOKEN_PARAMS: [(&str, &str); 6] = [
    ("client_id", "{{client_id}}"),
    ("client_secret", "{{client_secret}}"),
    ("redirect_uri", "{{redirect_uri}}"),
    ("code", "{{code}}"),
    ("code_verifier", "{{code_verifier}}"),
    ("grant_type", "authorization_code"),
];
/// Parameters of a refresh that it has anyway.
const REFRESH_PARAMS: [(&str, &str); 4] = [
    ("client_id", "{{client_id}}"),
    ("client_secret", "{{client_secret}}"),
    ("refresh_token", "{{refresh_token}}"),
    ("grant_type", "refresh_token"),
];
/// Values of a parameter that carries the scopes.
const SCOPES: [&str; 3] =
    ["{{scopes}}", "{{scopes}} {{existing_scopes}}", "{{existing_scopes}} {{scopes}}"];

/// A field that cannot be used. Its message holds no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {message}")]
pub struct UnfitField {
    pub field: String,
    pub message: String,
}

impl UnfitField {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The requests that are named.
pub(super) struct Requests {
    pub(super) authorize: Option<Authorize>,
    pub(super) token: Option<Token>,
    pub(super) refresh: Option<Refresh>,
    pub(super) user_info: Option<UserInfo>,
}

pub(super) struct Authorize {
    pub(super) endpoint: String,
    /// Parameter that carries the scopes, if it is not `scope`.
    pub(super) scope_parameter: Option<String>,
    pub(super) params: BTreeMap<String, String>,
}

pub(super) struct Token {
    pub(super) endpoint: String,
    /// `token_auth`
    pub(super) auth: Option<&'static str>,
    /// `token_body`
    pub(super) body: Option<&'static str>,
    /// `token_object`
    pub(super) object: Option<String>,
    pub(super) params: BTreeMap<String, String>,
}

pub(super) struct Refresh {
    pub(super) endpoint: String,
}

pub(super) struct UserInfo {
    pub(super) endpoint: String,
    pub(super) method: String,
    /// JSON pointer to the account's id.
    pub(super) id: String,
    /// JSON pointers to its label.
    pub(super) label: Vec<String>,
}

/// A request, with its name for messages.
#[derive(Clone, Copy)]
struct Written<'a> {
    name: &'static str,
    request: &'a OAuthRequest,
}

impl Requests {
    /// Reads the requests of an app.
    ///
    /// # Errors
    /// [`UnfitField`] for the first field that has no counterpart here.
    pub(super) fn read(app: &OAuthApp) -> Result<Self, UnfitField> {
        let written = |name, request| Some(Written { name, request: Option::as_ref(request)? });
        let authorize = written("authorize_request", &app.authorize_request);
        let token = written("token_request", &app.token_request);
        let token = token.map(Written::token).transpose()?;
        let refresh = written("refresh_request", &app.refresh_request);
        let user_info = written("user_info_request", &app.user_info_request);
        Ok(Self {
            authorize: authorize.map(Written::authorize).transpose()?,
            refresh: match refresh {
                Some(refresh) => refresh.refresh(token.as_ref())?,
                None => None,
            },
            user_info: user_info.map(Written::user_info).transpose()?,
            token,
        })
    }

    /// Returns every endpoint with its field.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            (
                "oauth2.authorize_request.endpoint",
                self.authorize.as_ref().map(|it| it.endpoint.as_str()),
            ),
            ("oauth2.token_request.endpoint", self.token.as_ref().map(|it| it.endpoint.as_str())),
            (
                "oauth2.refresh_request.endpoint",
                self.refresh.as_ref().map(|it| it.endpoint.as_str()),
            ),
            (
                "oauth2.user_info_request.endpoint",
                self.user_info.as_ref().map(|it| it.endpoint.as_str()),
            ),
        ]
        .into_iter()
        .filter_map(|(field, endpoint)| Some((field, endpoint?)))
    }
}

impl Written<'_> {
    fn authorize(self) -> Result<Authorize, UnfitField> {
        self.check_method(&["GET"])?;
        self.check_auth(&[])?;
        let (scopes, others): (Vec<_>, Vec<_>) =
            self.params(&AUTHORIZE_PARAMS)?.into_iter().partition(|(_, value)| is_scopes(value));
        let mut scopes = scopes.into_iter().map(|(name, _)| name);
        let scope_parameter = scopes.next().filter(|name| name != "scope");
        if scopes.next().is_some() {
            return Err(self.unfit("params", "has the scopes in two parameters"));
        }
        Ok(Authorize {
            endpoint: self.endpoint()?,
            scope_parameter,
            params: self.without_templates(others)?,
        })
    }

    fn token(self) -> Result<Token, UnfitField> {
        self.check_method(&["POST"])?;
        let has_secret =
            self.request.params.as_ref().is_some_and(|params| params.contains_key("client_secret"));
        let auth = match self.request.auth_method.as_deref() {
            None | Some("") => has_secret.then_some("post"),
            Some("client_secret_basic") => Some("basic"),
            Some("client_secret_post") => Some("post"),
            Some(_) => return Err(self.unfit_auth()),
        };
        let body = match self.request.request_content_type.as_deref() {
            None | Some("" | "application/x-www-form-urlencoded") => None,
            Some("application/json") => Some("json"),
            Some(_) => {
                let message = "must be `application/x-www-form-urlencoded` or `application/json`";
                return Err(self.unfit("request_content_type", message));
            }
        };
        self.check_response_type()?;
        Ok(Token {
            endpoint: self.endpoint()?,
            auth,
            body,
            object: self.token_object()?,
            params: self.without_templates(self.params(&TOKEN_PARAMS)?)?,
        })
    }

    /// Returns `None` where a refresh is a request to the token endpoint.
    fn refresh(self, token: Option<&Token>) -> Result<Option<Refresh>, UnfitField> {
        self.check_method(&["POST"])?;
        self.check_response_type()?;
        let as_for_a_code = |field| self.unfit(field, "must be as in `oauth2.token_request`");
        let auth = match self.request.auth_method.as_deref() {
            None | Some("") => None,
            Some("client_secret_basic") => Some("basic"),
            Some("client_secret_post") => Some("post"),
            Some(_) => return Err(self.unfit_auth()),
        };
        if auth.is_some() && token.is_some_and(|token| token.auth != auth) {
            return Err(as_for_a_code("auth_method"));
        }
        let params = self.without_templates(
            self.params(&REFRESH_PARAMS)?.into_iter().filter(|(_, value)| !is_scopes(value)),
        )?;
        let is_sent = |(name, value): (&String, &String)| {
            token.is_some_and(|token| token.params.get(name) == Some(value))
        };
        if !params.iter().all(is_sent) {
            return Err(as_for_a_code("params"));
        }
        if token.is_some_and(|token| self.token_object().as_ref() != Ok(&token.object))
            && self.request.response_map.is_some()
        {
            return Err(as_for_a_code("response_map"));
        }
        let endpoint = self.endpoint()?;
        let is_same = token.is_some_and(|token| token.endpoint == endpoint);
        Ok((!is_same).then_some(Refresh { endpoint }))
    }

    fn user_info(self) -> Result<UserInfo, UnfitField> {
        self.check_method(&["GET", "POST"])?;
        self.check_auth(&["bearer_access_token"])?;
        if !self.params(&[])?.is_empty() {
            return Err(self.unfit("params", "are not sent to this endpoint"));
        }
        let format = self.request.auth_header_value_format.as_deref();
        if !matches!(format, None | Some("" | "Bearer {{access_token}}")) {
            let message = "must be `Bearer {{access_token}}`";
            return Err(self.unfit("auth_header_value_format", message));
        }
        let mut id = None;
        let mut label = Vec::new();
        for (name, path) in self.request.response_map.iter().flatten() {
            let Some(pointer) = pointer(path) else {
                let message = format!("has `{name}` at no `$.name`");
                return Err(self.unfit("response_map", message));
            };
            match name.as_str() {
                "sub" | "id" | "user_id" => id = Some(pointer),
                _ => label.push(pointer),
            }
        }
        if label.is_empty() {
            label = ["/email", "/preferred_username", "/name"].map(str::to_owned).to_vec();
        }
        let method = self.request.method.as_deref().filter(|method| !method.is_empty());
        Ok(UserInfo {
            endpoint: self.endpoint()?,
            method: method.unwrap_or("GET").to_ascii_uppercase(),
            id: id.unwrap_or_else(|| "/sub".to_owned()),
            label,
        })
    }

    fn endpoint(self) -> Result<String, UnfitField> {
        let endpoint = self.request.endpoint.clone().filter(|endpoint| !endpoint.is_empty());
        endpoint.ok_or_else(|| self.unfit("endpoint", "is missing"))
    }

    fn check_method(self, methods: &[&str]) -> Result<(), UnfitField> {
        let method = self.request.method.as_deref().filter(|method| !method.is_empty());
        match method {
            Some(method) if !methods.iter().any(|it| it.eq_ignore_ascii_case(method)) => {
                Err(self.unfit("method", format!("must be {}", methods.join(" or "))))
            }
            _ => Ok(()),
        }
    }

    fn check_auth(self, methods: &[&str]) -> Result<(), UnfitField> {
        let method = self.request.auth_method.as_deref().filter(|method| !method.is_empty());
        match method {
            Some(method) if !methods.contains(&method) => Err(self.unfit_auth()),
            _ => Ok(()),
        }
    }

    fn check_response_type(self) -> Result<(), UnfitField> {
        match self.request.response_content_type.as_deref() {
            None | Some("" | "application/json" | "application/x-www-form-urlencoded") => Ok(()),
            Some(_) => {
                let message = "must be `application/json` or `application/x-www-form-urlencoded`";
                Err(self.unfit("response_content_type", message))
            }
        }
    }

    /// Returns the parameters without those that the request has anyway.
    fn params(self, own: &[(&str, &str)]) -> Result<Vec<(String, String)>, UnfitField> {
        let is_own = |name: &str, value: &str| {
            own.iter().any(|(own, as_usual)| *own == name && *as_usual == value)
        };
        let params = self.request.params.iter().flatten();
        let params = params.filter(|(name, value)| !is_own(name, value));
        let params: Vec<_> = params.map(|(name, value)| (name.clone(), value.clone())).collect();
        // As it is, it would be sent to the provider beside the text that it stands for.
        match params.iter().find(|(name, _)| own.iter().any(|(own, _)| own == name)) {
            Some((name, _)) => {
                Err(self.unfit("params", format!("has another `{name}` than is sent")))
            }
            None => Ok(params),
        }
    }

    fn without_templates(
        self,
        params: impl IntoIterator<Item = (String, String)>,
    ) -> Result<BTreeMap<String, String>, UnfitField> {
        let params: BTreeMap<_, _> = params.into_iter().collect();
        match params.iter().find(|(_, value)| value.contains("{{")) {
            Some((name, _)) => {
                let message = format!("has a template in `{name}` that is not known here");
                Err(self.unfit("params", message))
            }
            None => Ok(params),
        }
    }

    /// Returns the object of the response that holds the token; `None` if the response itself does.
    fn token_object(self) -> Result<Option<String>, UnfitField> {
        let mut objects = Vec::new();
        for (name, path) in self.request.response_map.iter().flatten() {
            let inside = path.strip_prefix("$.").and_then(|it| it.strip_suffix(name.as_str()));
            let object = if inside == Some("") {
                None
            } else {
                let object = inside.and_then(|it| it.strip_suffix('.')).filter(|it| is_name(it));
                Some(object.ok_or_else(|| {
                    let message =
                        format!("has `{name}` at neither `$.{name}` nor `$.object.{name}`");
                    self.unfit("response_map", message)
                })?)
            };
            objects.push(object);
        }
        objects.dedup();
        match *objects {
            [] => Ok(None),
            [object] => Ok(object.map(str::to_owned)),
            _ => Err(self.unfit("response_map", "has values in several objects")),
        }
    }

    fn unfit_auth(self) -> UnfitField {
        let message = if self.name == "user_info_request" {
            "must be `bearer_access_token`"
        } else if self.name == "authorize_request" {
            "is not for this request"
        } else {
            "must be `client_secret_basic` or `client_secret_post`"
        };
        self.unfit("auth_method", message)
    }

    fn unfit(self, field: &str, message: impl Into<String>) -> UnfitField {
        UnfitField::new(format!("oauth2.{}.{field}", self.name), message)
    }
}

fn is_scopes(value: &str) -> bool {
    SCOPES.contains(&value)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// Returns the JSON pointer of `$.a.b`.
fn pointer(path: &str) -> Option<String> {
    let names: Vec<&str> = path.strip_prefix("$.")?.split('.').collect();
    names.iter().all(|name| is_name(name)).then(|| format!("/{}", names.join("/")))
}
