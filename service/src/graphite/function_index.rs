//! The table of functions as JSON, for query editors.
//!
//! Source: the shape of graphite-web's `/functions`. Departure: a default of infinity is left out, as JSON has none.

use serde_json::{Map, Value, json};

use super::consolidation::AGGREGATES;
use super::functions::{Function, Kind, Parameter, all, function};

/// All functions by name, or those of one group; grouped by their groups if asked for.
pub(crate) fn index(group: Option<&str>, is_grouped: bool) -> Value {
    let mut index = Map::new();
    for function in all().filter(|function| group.is_none_or(|group| group == function.group)) {
        let entry = (function.name.to_owned(), shown(function));
        if is_grouped {
            let group = index.entry(function.group).or_insert_with(|| Value::Object(Map::new()));
            if let Some(group) = group.as_object_mut() {
                group.extend([entry]);
            }
        } else {
            index.extend([entry]);
        }
    }
    index.into()
}

/// One function.
pub(crate) fn entry(name: &str) -> Option<Value> {
    function(name).map(shown)
}

fn shown(function: &Function) -> Value {
    let signature: Vec<String> = function
        .parameters
        .iter()
        .map(|parameter| match parameter {
            Parameter { is_repeated: true, name, .. } => format!("*{name}"),
            Parameter { is_required: true, name, .. } => (*name).to_owned(),
            Parameter { name, default, .. } => format!("{name}={}", default.unwrap_or("None")),
        })
        .collect();
    json!({
        "name": function.name,
        "function": format!("{}({})", function.name, signature.join(", ")),
        "description": function.description,
        "module": "graphite.render.functions",
        "group": function.group,
        "params": function.parameters.iter().map(parameter).collect::<Vec<_>>(),
    })
}

fn parameter(parameter: &Parameter) -> Value {
    let mut shown = json!({"name": parameter.name, "type": parameter.kind.name()});
    if parameter.is_required {
        shown["required"] = true.into();
    }
    if parameter.is_repeated {
        shown["multiple"] = true.into();
    }
    if let Some(default) = parameter.default.and_then(|json| serde_json::from_str::<Value>(json).ok()) {
        shown["default"] = default;
    }
    let options: Vec<&str> = if parameter.kind == Kind::Aggregate {
        AGGREGATES.iter().map(|(name, _)| *name).collect()
    } else {
        parameter.options.to_vec()
    };
    if !options.is_empty() {
        shown["options"] = options.into();
    }
    if !parameter.suggestions.is_empty() {
        shown["suggestions"] = parameter.suggestions.into();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_shown_as_editors_read_them() {
        let summarize = entry("summarize").expect("known");
        assert_eq!(
            summarize["function"],
            "summarize(seriesList, intervalString, func=\"sum\", alignToFrom=false)"
        );
        assert_eq!(summarize["group"], "Transform");
        assert_eq!(
            summarize["params"][0],
            json!({"name": "seriesList", "type": "seriesList", "required": true})
        );
        assert_eq!(summarize["params"][2]["default"], "sum");
        assert!(summarize["params"][2]["options"].as_array().is_some_and(|options| options.len() == 16));
        assert_eq!(entry("nothing"), None);
        let all = index(None, false);
        assert!(all.as_object().is_some_and(|all| all.len() > 30 && all.contains_key("seriesByTag")));
        let grouped = index(Some("Alias"), true);
        assert_eq!(grouped.as_object().map(Map::len), Some(1));
        assert_eq!(grouped["Alias"].as_object().map(Map::len), Some(5));
    }
}
