//! A minimal browser: keeps cookies, sends a page's form with its hidden fields, and follows no
//! redirect on its own.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::StatusCode;
use reqwest::header::{
    ACCEPT, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, SET_COOKIE,
};
use url::Url;

use crate::support::http::client;
use crate::support::pages;

/// One browser, with cookies of its own.
pub(crate) struct Browser {
    http: reqwest::Client,
    /// Cookies by name; there is only one host.
    jar: Mutex<BTreeMap<String, String>>,
    /// Hidden `csrf` values of the pages seen, by form action.
    tokens: Mutex<BTreeMap<String, String>>,
    /// A public origin, and the address behind it.
    proxied: Option<(String, String)>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let http = client().redirect(reqwest::redirect::Policy::none());
        let accept = HeaderValue::from_static("text/html,application/xhtml+xml,*/*;q=0.8");
        let http = http.default_headers(HeaderMap::from_iter([(ACCEPT, accept)]));
        Self {
            http: http.build().unwrap(),
            jar: Mutex::default(),
            tokens: Mutex::default(),
            proxied: None,
        }
    }

    /// A browser that reaches `origin` at `address`, as behind a proxy that passes `Host` on.
    pub(crate) fn behind(origin: &str, address: &str) -> Self {
        Self { proxied: Some((origin.to_owned(), address.to_owned())), ..Self::new() }
    }

    pub(crate) async fn get(&self, url: &str) -> Page {
        self.get_with(url, &[]).await
    }

    /// Also sends these headers; a `Cookie` among them follows the jar's own.
    pub(crate) async fn get_with(&self, url: &str, headers: &[(HeaderName, &str)]) -> Page {
        let page = self.send(reqwest::Method::GET, url, headers, None).await;
        self.remember(url, &page);
        page
    }

    /// Sends a form with the `csrf` of the page that it belongs to. Opens that page first if the
    /// browser has not seen it.
    pub(crate) async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Page {
        let known = |this: &Self| this.tokens.lock().unwrap().get(url).cloned();
        if known(self).is_none() {
            self.get(url).await;
        }
        let token = known(self).unwrap_or_default();
        self.post_bare(url, &[&[("csrf", token.as_str())], fields].concat()).await
    }

    /// Sends a form with exactly these fields.
    pub(crate) async fn post_bare(&self, url: &str, fields: &[(&str, &str)]) -> Page {
        self.post_with(url, &[], fields).await
    }

    pub(crate) async fn post_with(
        &self,
        url: &str,
        headers: &[(HeaderName, &str)],
        fields: &[(&str, &str)],
    ) -> Page {
        let body =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let page = self.send(reqwest::Method::POST, url, headers, Some(body)).await;
        self.remember(url, &page);
        page
    }

    pub(crate) async fn head(&self, url: &str) -> Page {
        self.send(reqwest::Method::HEAD, url, &[], None).await
    }

    async fn send(
        &self,
        method: reqwest::Method,
        url: &str,
        headers: &[(HeaderName, &str)],
        form: Option<String>,
    ) -> Page {
        let mut all = HeaderMap::new();
        let address = match &self.proxied {
            Some((origin, address)) => {
                let host = origin.split_once("://").unwrap().1;
                all.insert(HOST, HeaderValue::try_from(host).unwrap());
                url.replacen(origin, address, 1)
            }
            None => url.to_owned(),
        };
        let mut cookies: Vec<String> = self.cookies();
        for (name, value) in headers {
            if name == COOKIE {
                cookies.push((*value).to_owned());
            } else {
                all.append(name.clone(), HeaderValue::try_from(*value).unwrap());
            }
        }
        if !cookies.is_empty() {
            all.insert(COOKIE, HeaderValue::try_from(cookies.join("; ")).unwrap());
        }
        let mut request = self.http.request(method, address).headers(all);
        if let Some(form) = form {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        }
        let page = Page::of(request.send().await.unwrap()).await;
        for cookie in &page.cookies {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.set(name, value);
        }
        page
    }

    fn remember(&self, url: &str, page: &Page) {
        let hidden = page.hidden("csrf");
        if hidden.is_empty() {
            return;
        }
        let action = page.text.split_once(r#"action=""#).and_then(|(_, rest)| rest.split_once('"'));
        let leads = match action {
            Some((path, _)) => Url::parse(url).unwrap().join(path).unwrap().to_string(),
            None => url.to_owned(),
        };
        self.tokens.lock().unwrap().insert(leads, hidden.to_owned());
    }

    /// Returns `name=value` of each cookie.
    pub(crate) fn cookies(&self) -> Vec<String> {
        self.jar.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.jar.lock().unwrap().get(name).cloned()
    }

    pub(crate) fn set(&self, name: &str, value: &str) {
        let before = self.jar.lock().unwrap().insert(name.to_owned(), value.to_owned());
        if before.is_some_and(|before| before != value) {
            // Pages opened with the old cookie are out of date.
            self.tokens.lock().unwrap().clear();
        }
    }
}

/// A response to the browser.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    pub(crate) headers: HeaderMap,
    /// The `Set-Cookie` values, verbatim.
    pub(crate) cookies: Vec<String>,
}

impl Page {
    async fn of(response: reqwest::Response) -> Self {
        let headers = response.headers().clone();
        let cookies = headers.get_all(SET_COOKIE).iter();
        let cookies = cookies.map(|value| value.to_str().unwrap().to_owned()).collect();
        let (status, text) = (response.status(), response.text().await.unwrap());
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        // The answer to a HEAD is empty.
        if !text.is_empty() && kind.is_some_and(|kind| kind.starts_with("text/html")) {
            pages::hold(&text);
        }
        Self { status, text, headers, cookies }
    }

    /// Value of a hidden field; empty if the page has none.
    pub(crate) fn hidden(&self, name: &str) -> &str {
        let found = self.text.split_once(&format!(r#"name="{name}" value=""#));
        found.and_then(|(_, rest)| rest.split_once('"')).map_or("", |(value, _)| value)
    }

    /// Digest in the page's form; empty if the page has none.
    pub(crate) fn shown(&self) -> &str {
        self.hidden("shown")
    }

    pub(crate) fn location(&self) -> &str {
        self.headers.get(LOCATION).expect("a redirect").to_str().unwrap()
    }

    /// Returns a parameter of the authorization request that the page redirects to.
    pub(crate) fn parameter(&self, name: &str) -> String {
        let url = Url::parse(self.location()).unwrap();
        let found = url.query_pairs().find(|(found, _)| found == name);
        found.unwrap_or_else(|| panic!("no `{name}`")).1.into_owned()
    }

    /// Returns the only cookie that the page sets, as `name=value`.
    pub(crate) fn cookie(&self) -> &str {
        assert_eq!(self.cookies.len(), 1, "{:?}", self.cookies);
        self.cookies[0].split(';').next().unwrap()
    }
}
