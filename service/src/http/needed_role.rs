//! What a request needs a key for: every route with its methods and the role that a key must have for them.
//!
//! Who may read sees everything there is to see; who may write sends samples, and makes what samples need; whatever takes
//! something away, changes what is there or sends messages to others needs an admin.
//!
//! Invariant: a route or method that is not listed needs an admin, so that one which somebody forgets is shut. Tests compare
//! the list with the routes in the sources, with `openapi.json`, and with what the server answers.

use axum::http::Method;

use crate::api_key::KeyRole::{self, Admin, Read, Write};

/// Paths of the API as the routes have them, each with methods and the role for them; HEAD goes with GET. Those of Graphite
/// are also there with a slash at the end, and all of them below [`GRAPHITE_PREFIX`].
pub const API_ROUTES: &[(&str, &[(&str, KeyRole)])] = &[
    ("/", &[("GET", Read)]),
    ("/assets/{*path}", &[("GET", Read)]),
    ("/readyz", &[("GET", Read)]),
    ("/metrics", &[("GET", Read)]),
    ("/api/v1/openapi.json", &[("GET", Read)]),
    ("/api/v1/overview", &[("GET", Read)]),
    ("/api/v1/instances", &[("GET", Read)]),
    ("/api/v1/rejects", &[("GET", Read)]),
    ("/api/v1/settings", &[("GET", Read)]),
    ("/api/v1/stats/display_value", &[("GET", Read)]),
    ("/api/v1/ingest", &[("POST", Write)]),
    ("/api/v1/metrics", &[("GET", Read)]),
    ("/api/v1/metrics/{metric}", &[("GET", Read), ("PUT", Write), ("DELETE", Admin)]),
    ("/api/v1/metrics/{metric}/range", &[("PUT", Admin)]),
    ("/api/v1/metrics/{metric}/data", &[("GET", Read)]),
    ("/api/v1/metrics/{metric}/series", &[("GET", Read)]),
    ("/api/v1/metrics/{metric}/explain", &[("GET", Read)]),
    ("/api/v1/metrics/{metric}/stats", &[("GET", Read)]),
    ("/api/v1/metrics/{metric}/signals", &[("GET", Read)]),
    ("/api/v1/metrics/{metric}/samples", &[("POST", Write)]),
    ("/api/v1/models", &[("GET", Read), ("POST", Write)]),
    ("/api/v1/models/import", &[("POST", Write)]),
    ("/api/v1/models/{metric}", &[("GET", Read), ("DELETE", Admin)]),
    ("/api/v1/models/{metric}/activate", &[("POST", Write)]),
    ("/api/v1/models/{metric}/export", &[("GET", Read)]),
    ("/api/v1/anomalies", &[("GET", Read)]),
    ("/api/v1/heat", &[("GET", Read)]),
    ("/api/v1/stream", &[("GET", Read)]),
    ("/api/v1/alerts", &[("GET", Read)]),
    ("/api/v1/alerts/rules", &[("GET", Read)]),
    ("/api/v1/alerts/test", &[("POST", Admin)]),
    ("/_metrics", &[("GET", Read)]),
    ("/_metrics/datasources", &[("GET", Read)]),
    ("/_metrics/custom", &[("GET", Read)]),
    ("/_metrics/custom/{metric}", &[("DELETE", Admin)]),
    ("/_models", &[("GET", Read), ("POST", Write), ("PUT", Write)]),
    ("/_models/data/stats", &[("GET", Read)]),
    ("/_models/export", &[("GET", Read)]),
    ("/_models/{metric}", &[("GET", Read), ("DELETE", Admin)]),
    ("/_models/{metric}/data", &[("GET", Read)]),
    ("/_models/{metric}/export", &[("GET", Read)]),
    ("/_instances", &[("GET", Read), ("DELETE", Admin)]),
    ("/render", &[("GET", Read), ("POST", Read)]),
    ("/metrics/find", &[("GET", Read), ("POST", Read)]),
    ("/metrics/expand", &[("GET", Read), ("POST", Read)]),
    ("/metrics/index.json", &[("GET", Read), ("POST", Read)]),
    ("/tags", &[("GET", Read), ("POST", Read)]),
    ("/tags/findSeries", &[("GET", Read), ("POST", Read)]),
    ("/tags/autoComplete/tags", &[("GET", Read), ("POST", Read)]),
    ("/tags/autoComplete/values", &[("GET", Read), ("POST", Read)]),
    ("/tags/{tag}", &[("GET", Read), ("POST", Read)]),
    ("/functions", &[("GET", Read)]),
    ("/functions/{function}", &[("GET", Read)]),
    ("/events/get_data", &[("GET", Read), ("POST", Read)]),
    ("/version", &[("GET", Read)]),
];

/// Where all of Graphite's paths are once more.
pub const GRAPHITE_PREFIX: &str = "/graphite";

/// Paths that need no key: whether the process is there is no secret.
pub const OPEN_PATHS: [&str; 1] = ["/healthz"];

/// What a request needs; `None` for no key at all. `path` is the matched route's, `None` where there is no such route.
pub(super) type NeededRole = fn(path: Option<&str>, method: &Method) -> Option<KeyRole>;

/// Of the API's routes.
pub(super) fn of_api(path: Option<&str>, method: &Method) -> Option<KeyRole> {
    // That there is nothing here may be told to whoever has a key.
    let Some(path) = path else { return Some(Read) };
    if OPEN_PATHS.contains(&path) {
        return None;
    }
    let listed =
        |path: &str| API_ROUTES.iter().find(|(listed, _)| *listed == path).map(|(_, methods)| *methods);
    let of_graphite = || {
        let path = path.strip_prefix(GRAPHITE_PREFIX).unwrap_or(path);
        listed(path.strip_suffix('/').unwrap_or(path))
    };
    let methods = listed(path).or_else(of_graphite).unwrap_or_default();
    let method = if method == Method::HEAD { Method::GET.as_str() } else { method.as_str() };
    let role = methods.iter().find(|(listed, _)| *listed == method).map(|(_, role)| *role);
    Some(role.unwrap_or(Admin))
}

/// Of the skeleton web application's and the traffic tutorial's, where every path is a metric.
#[expect(clippy::unnecessary_wraps, reason = "as a `NeededRole` is")]
pub(super) fn of_web_app(_: Option<&str>, method: &Method) -> Option<KeyRole> {
    Some(match *method {
        Method::GET | Method::HEAD => Read,
        // PUT starts a model, POST sends samples.
        Method::PUT | Method::POST => Write,
        _ => Admin,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use regex::Regex;

    use super::*;

    /// Files whose routes are the web application's.
    const WEB_APP: [&str; 3] = ["web_app.rs", "traffic_app.rs", "needed_role.rs"];

    fn routes_in_sources(folder: &Path, found: &mut BTreeSet<String>) {
        let route = Regex::new(r#"\.route\(\s*"([^"]+)"|\("(/[^"]+)", get\("#).expect("an expression");
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            if path.is_dir() {
                routes_in_sources(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") && !WEB_APP.contains(&name) {
                let text = fs::read_to_string(&path).expect("a source");
                let served = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
                let paths = route.captures_iter(served).filter_map(|it| it.get(1).or(it.get(2)));
                found.extend(paths.map(|path| path.as_str().to_owned()));
            }
        }
    }

    #[test]
    fn every_route_of_the_sources_is_listed_and_no_other() {
        let mut there = BTreeSet::new();
        routes_in_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut there);
        let listed = API_ROUTES.iter().map(|(path, _)| *path).chain(OPEN_PATHS).map(str::to_owned);
        assert_eq!(listed.collect::<BTreeSet<_>>(), there);
    }

    #[test]
    fn what_is_not_listed_needs_an_admin() {
        let of = |method: &Method, path| of_api(Some(path), method);
        assert_eq!(of(&Method::HEAD, "/api/v1/metrics"), Some(Read));
        assert_eq!(of(&Method::DELETE, "/api/v1/metrics/{metric}"), Some(Admin));
        assert_eq!(of(&Method::POST, "/graphite/render/"), Some(Read));
        assert_eq!(of(&Method::PATCH, "/api/v1/metrics"), Some(Admin));
        assert_eq!(of(&Method::GET, "/new"), Some(Admin));
        assert_eq!(of(&Method::GET, "/healthz"), None);
        assert_eq!(of_api(None, &Method::POST), Some(Read));
        assert_eq!(of_web_app(None, &Method::DELETE), Some(Admin));
    }
}
