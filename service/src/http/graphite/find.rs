//! `/metrics/find`, `/metrics/expand`, `/metrics/index.json`: the tree of names.

use std::collections::{BTreeMap, BTreeSet};

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::{Room, answer, body_answer};
use crate::graphite::catalog::FoundNode;
use crate::graphite::pattern::nodes;
use crate::graphite::render::{MSGPACK_MEDIA_TYPE, packed};
use crate::graphite::time::parse_time;
use crate::http::answer::ApiError;
use crate::http::shared::Shared;
use crate::operations::OperationError;
use crate::sample::DEFAULT_MAX_FUTURE_SECONDS;

/// How far ahead of the clock samples are taken by default.
const AHEAD_S: i64 = DEFAULT_MAX_FUTURE_SECONDS;
/// Most queries of one `/metrics/expand`.
const MAX_QUERIES: usize = 500;

#[derive(Clone, Copy, PartialEq, Eq)]
enum FindFormat {
    TreeJson,
    Completer,
    NodeList,
    MsgPack,
}

/// `GET` and `POST /metrics/find`.
pub(super) async fn find(
    State(shared): State<Shared>,
    Extension(room): Extension<Room>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let format = match parameters.one("format").unwrap_or("treejson") {
        "treejson" => FindFormat::TreeJson,
        "completer" => FindFormat::Completer,
        "nodelist" => FindFormat::NodeList,
        "msgpack" => FindFormat::MsgPack,
        other => {
            let shown: String = other.chars().take(60).collect();
            let shown = shown.escape_debug();
            let message = format!("format is `{shown}`; expected treejson, completer, nodelist or msgpack");
            return Err(ApiError::bad_request(&message));
        }
    };
    let Some(query) = parameters.one("query").filter(|query| !query.is_empty()) else {
        return Err(ApiError::bad_request("query is missing; expected a pattern such as * or htm.*"));
    };
    let mut query = query.to_owned();
    if format == FindFormat::Completer {
        query = query.replace("..", "*.");
        if !query.ends_with('*') {
            query.push('*');
        }
    }
    let zone = parameters.zone()?;
    let (leaves_only, has_wildcard) = (parameters.is_set("leavesOnly"), parameters.is_set("wildcards"));
    let position = parameters.one("position").and_then(|position| position.parse::<i64>().ok());
    let body = room
        .run(&shared, move |operations, catalog| {
            for time in ["from", "until"].into_iter().filter_map(|name| parameters.one(name)) {
                if time != "-1" {
                    parse_time(time, &zone, operations.now())?;
                }
            }
            let mut found: Vec<FoundNode> = catalog.find(&query)?.into_iter().collect();
            found.retain(|node| node.is_leaf || !leaves_only);
            let value = match format {
                FindFormat::TreeJson => tree_json(&query, &found, has_wildcard),
                FindFormat::Completer => completer(&found, has_wildcard),
                FindFormat::NodeList => node_list(&found, position.unwrap_or(-1)),
                FindFormat::MsgPack => return packed(&for_peers(&found, operations.now())),
            };
            Ok(value.to_string().into_bytes())
        })
        .await?;
    let media_type = if format == FindFormat::MsgPack { MSGPACK_MEDIA_TYPE } else { "application/json" };
    Ok(body_answer(body, media_type))
}

/// What a graphite-web that has this engine in its cluster reads. A series is said to have points up to a while from now:
/// which it really has, its points tell.
fn for_peers(found: &[FoundNode], now: i64) -> Value {
    let shown = |node: &FoundNode| {
        let intervals = if node.is_leaf { vec![[0, now.saturating_add(AHEAD_S)]] } else { Vec::new() };
        json!({"path": node.path, "is_leaf": node.is_leaf, "intervals": intervals})
    };
    found.iter().map(shown).collect()
}

/// Folders first, then series, each by name and once.
fn tree_json(query: &str, found: &[FoundNode], has_wildcard: bool) -> Value {
    let last = nodes(query).last().map_or(0, |last| last.len());
    let base = &query[..query.len() - last];
    let shown = |name: &str, is_leaf: bool| {
        let is_folder = i64::from(!is_leaf);
        json!({
            "text": name,
            "id": format!("{base}{name}"),
            "leaf": i64::from(is_leaf),
            "expandable": is_folder,
            "allowChildren": is_folder,
        })
    };
    let mut entries = Vec::new();
    if has_wildcard && found.len() > 1 {
        entries.push(shown("*", found.iter().all(|node| node.is_leaf)));
    }
    for is_leaf in [false, true] {
        let names: BTreeSet<&str> =
            found.iter().filter(|node| node.is_leaf == is_leaf).map(FoundNode::name).collect();
        entries.extend(names.into_iter().map(|name| shown(name, is_leaf)));
    }
    entries.into()
}

fn completer(found: &[FoundNode], has_wildcard: bool) -> Value {
    let shown = |node: &FoundNode| {
        let end = if node.is_leaf { "" } else { "." };
        let is_leaf = i64::from(node.is_leaf).to_string();
        json!({"path": format!("{}{end}", node.path), "name": node.name(), "is_leaf": is_leaf})
    };
    let mut list: Vec<Value> = found.iter().map(shown).collect();
    if has_wildcard && list.len() > 1 {
        list.push(json!({"name": "*"}));
    }
    json!({ "metrics": list })
}

/// The nodes at one place of the paths, from the end if it is negative.
fn node_list(found: &[FoundNode], position: i64) -> Value {
    let at = |path: &str| {
        let nodes: Vec<&str> = path.split('.').collect();
        let count = i64::try_from(nodes.len()).unwrap_or(i64::MAX);
        let place = if position < 0 { count.saturating_add(position) } else { position };
        usize::try_from(place).ok().and_then(|place| nodes.get(place).map(|node| (*node).to_owned()))
    };
    let names: BTreeSet<String> = found.iter().filter_map(|node| at(&node.path)).collect();
    json!({ "nodes": names })
}

/// `GET` and `POST /metrics/expand`.
pub(super) async fn expand(
    State(shared): State<Shared>,
    Extension(room): Extension<Room>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let queries = parameters.all("query");
    if queries.is_empty() || queries.len() > MAX_QUERIES {
        let found = queries.len();
        return Err(ApiError::bad_request(&format!(
            "{found} times query; expected 1 to {MAX_QUERIES} patterns"
        )));
    }
    let (is_grouped, leaves_only) = (parameters.is_set("groupByExpr"), parameters.is_set("leavesOnly"));
    let value = room
        .run(&shared, move |_, catalog| {
            let mut of_query: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for query in queries {
                let found = catalog.find(&query)?.into_iter().filter(|node| node.is_leaf || !leaves_only);
                of_query.insert(query, found.map(|node| node.path).collect());
            }
            let results = if is_grouped {
                json!(of_query)
            } else {
                json!(of_query.into_values().flatten().collect::<BTreeSet<String>>())
            };
            Ok::<_, OperationError>(json!({ "results": results }))
        })
        .await?;
    Ok(answer(&value))
}

/// `GET` and `POST /metrics/index.json`: every path.
pub(super) async fn index(
    State(shared): State<Shared>,
    Extension(room): Extension<Room>,
    _: Parameters,
) -> Result<Response, ApiError> {
    let text = room.run(&shared, |_, catalog| Ok(json!(catalog.index()).to_string())).await?;
    Ok(body_answer(text, "application/json"))
}
