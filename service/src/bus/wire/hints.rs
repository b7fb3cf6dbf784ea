//! Hints to the scheduler: the model id as a JSON string, as in htmengine, or `{"model": id, "changed": true}`.
//!
//! A hint that says nothing of a change is written in the old form. It has no properties at all: hints may be lost.

use htm_core::ids::ModelId;
use serde::Deserialize;

use super::Unreadable;
use crate::bus::message::ModelHint;

const EXPECTED: &str = "a model id as a JSON string, or {\"model\": id, \"changed\": true}";

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Id(String),
    Object {
        model: String,
        #[serde(default)]
        changed: bool,
    },
}

/// The body of a message.
pub fn to_bytes(hint: &ModelHint) -> Vec<u8> {
    let id = hint.model_id.as_str();
    // An id needs no escapes.
    let text = if hint.is_changed {
        format!("{{\"model\": \"{id}\", \"changed\": true}}")
    } else {
        format!("\"{id}\"")
    };
    text.into_bytes()
}

/// Reads a body.
///
/// # Errors
/// [`Unreadable`] if it is none of the two forms, or its id can be none.
pub fn from_bytes(body: &[u8]) -> Result<ModelHint, Unreadable> {
    let read: Body = serde_json::from_slice(body).map_err(|error| Unreadable::json(EXPECTED, &error))?;
    let (id, is_changed) = match read {
        Body::Id(id) => (id, false),
        Body::Object { model, changed } => (model, changed),
    };
    Ok(ModelHint { model_id: model_id(&id)?, is_changed })
}

/// The id that this text is.
pub(super) fn model_id(text: &str) -> Result<ModelId, Unreadable> {
    ModelId::new(text).ok_or_else(|| {
        Unreadable::new(format!(
            "`{}` is no model id: expected 1 to 40 letters, digits, `-` or `_`",
            text.escape_debug()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_written_and_read() {
        let model_id = ModelId::new("3f1abba3f4874e588d5a2d937ee78e19").expect("an id");
        let plain = ModelHint { model_id: model_id.clone(), is_changed: false };
        assert_eq!(to_bytes(&plain), b"\"3f1abba3f4874e588d5a2d937ee78e19\"");
        assert_eq!(from_bytes(&to_bytes(&plain)), Ok(plain));
        let changed = ModelHint { model_id, is_changed: true };
        assert_eq!(from_bytes(&to_bytes(&changed)), Ok(changed));
    }

    #[test]
    fn everything_else_is_refused() {
        for body in
            [&b""[..], b"7", b"\"\"", b"\"a b\"", b"{\"changed\": true}", b"{\"model\": 7}", b"abc", b"\xff"]
        {
            assert!(from_bytes(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
