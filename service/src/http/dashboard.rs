//! The dashboard: the files of the folder `web`, as they are in the program, at `/` and below `/assets/`.
//!
//! Nothing is built and nothing is read from disk, so a program serves the pages that it was compiled with. The pages know
//! the API only, and hold no data: where a key is set, `access.rs` asks for it before them as before everything else.
//!
//! Invariants: every file of the folder is served, under its own path (a test compares); what is served may load from this
//! address only, runs no inline script, and cannot be framed; a browser asks each time whether its copy is still right,
//! and is told so without being sent it again.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha1::{Digest, Sha1};

use super::answer::no_such_route;
use super::shared::Shared;

/// The only document.
const INDEX: &str = "index.html";
/// Only what comes from here is loaded, shown and sent to; nothing inline runs; nobody frames it.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// The files at these paths below `web`, each with its bytes.
macro_rules! files_of_web {
    ($($path:literal,)*) => {
        [$(($path, include_bytes!(concat!("../../../web/", $path)).as_slice()),)*]
    };
}

/// Every file of the folder.
const FILES: &[(&str, &[u8])] = &files_of_web![
    "icon.svg",
    "index.html",
    "script/api.js",
    "script/app.js",
    "script/chart.js",
    "script/chart_data.js",
    "script/chart_marks.js",
    "script/detection_scale.js",
    "script/dom.js",
    "script/early_theme.js",
    "script/format.js",
    "script/kept.js",
    "script/live.js",
    "script/page/alerts.js",
    "script/page/compare.js",
    "script/page/heat.js",
    "script/page/investigate.js",
    "script/page/metric.js",
    "script/page/metrics.js",
    "script/page/overview.js",
    "script/page/rejects.js",
    "script/page/settings.js",
    "script/part/explanation.js",
    "script/part/heat_grid.js",
    "script/part/metric_actions.js",
    "script/part/metric_charts.js",
    "script/part/navigator.js",
    "script/part/ranked.js",
    "script/part/sparkline.js",
    "script/part/states.js",
    "script/part/window_picker.js",
    "script/route.js",
    "script/theme.js",
    "script/time_window.js",
    "script/time_zone.js",
    "style/base.css",
    "style/charts.css",
    "style/parts.css",
    "style/shell.css",
    "vendor/uplot/LICENSE",
    "vendor/uplot/uPlot.iife.min.js",
    "vendor/uplot/uPlot.min.css",
];

/// A file, ready to be sent.
struct Asset {
    media_type: &'static str,
    bytes: &'static [u8],
    etag: HeaderValue,
}

static ASSETS: LazyLock<BTreeMap<&'static str, Asset>> =
    LazyLock::new(|| FILES.iter().filter_map(|(path, bytes)| Some((*path, asset(path, bytes)?))).collect());

/// `None` never: a digest in hexadecimal digits is a header's value.
fn asset(path: &str, bytes: &'static [u8]) -> Option<Asset> {
    // Weak, since what is compressed on the way is the same to whoever reads it.
    let etag = HeaderValue::from_str(&format!("W/\"{:x}\"", Sha1::digest(bytes))).ok()?;
    Some(Asset { media_type: media_type(path), bytes, etag })
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/", get(|headers: HeaderMap| async move { answer(INDEX, &headers).await })).route(
        "/assets/{*path}",
        get(|Path(path): Path<String>, headers: HeaderMap| async move { answer(&path, &headers).await }),
    )
}

/// The file, or that the copy at hand is still right.
async fn answer(path: &str, headers: &HeaderMap) -> Response {
    let Some(asset) = ASSETS.get(path) else { return no_such_route().await.into_response() };
    let about: [(HeaderName, HeaderValue); 3] = [
        (header::ETAG, asset.etag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    if has_copy(headers, &asset.etag) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    let media_type = HeaderValue::from_static(asset.media_type);
    (about, [(header::CONTENT_TYPE, media_type)], asset.bytes).into_response()
}

fn has_copy(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let copies = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut copies = copies.flat_map(|value| value.split(',')).map(str::trim);
    copies.any(|copy| copy == "*" || etag.to_str().is_ok_and(|etag| etag == copy))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn web() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../web")
    }

    fn paths_below(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let entry = entry.expect("a readable entry");
            let path = format!("{prefix}{}", entry.file_name().to_str().expect("a name of text"));
            if entry.file_type().expect("a type").is_dir() {
                paths_below(&entry.path(), &format!("{path}/"), found);
            } else {
                found.insert(path);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let mut there = BTreeSet::new();
        paths_below(&web(), "", &mut there);
        let served: BTreeSet<String> = ASSETS.keys().map(|path| (*path).to_owned()).collect();
        assert_eq!(served, there, "the list in this file, and the folder `web`");
    }

    #[test]
    fn the_document_asks_for_every_module_at_once_and_runs_nothing_inline() {
        let index = str::from_utf8(ASSETS[INDEX].bytes).expect("text");
        let started = ["script/app.js", "script/early_theme.js"];
        for path in ASSETS.keys().filter(|path| path.starts_with("script/") && !started.contains(path)) {
            let link = format!("<link rel=\"modulepreload\" href=\"assets/{path}\">");
            assert!(index.contains(&link), "{INDEX} lacks {link}");
        }
        let scripts = index.matches("<script").count();
        assert_eq!(scripts, index.matches("<script ").count(), "a script without a source");
        assert_eq!(scripts, index.matches("src=\"assets/").count() - index.matches("<img src=").count());
        for inline in [" style=", " onload=", " onclick=", "<style"] {
            assert!(!index.contains(inline), "{inline} in {INDEX}");
        }
    }

    #[tokio::test]
    async fn a_copy_that_is_still_right_is_not_sent_again() {
        let fresh = answer("script/app.js", &HeaderMap::new()).await;
        let header = |response: &Response, name| response.headers().get(name).cloned().expect("a header");
        assert_eq!(fresh.status(), StatusCode::OK);
        assert_eq!(header(&fresh, header::CONTENT_TYPE), "text/javascript; charset=utf-8");
        let etag = header(&fresh, header::ETAG);
        let mut headers = HeaderMap::new();
        let known = format!("\"other\", {}", etag.to_str().expect("text"));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&known).expect("a value"));
        let again = answer("script/app.js", &headers).await;
        assert_eq!((again.status(), header(&again, header::ETAG)), (StatusCode::NOT_MODIFIED, etag));
        assert_eq!(answer("script/other.js", &headers).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(answer("../Cargo.toml", &headers).await.status(), StatusCode::NOT_FOUND);
    }
}
