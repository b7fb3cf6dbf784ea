//! The environment variables that are settings, taken once, so that tests need not change the process's own.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Users of the original name its configuration folder here.
pub const OLD_CONFIG_VARIABLE: &str = "APPLICATION_CONFIG_PATH";
/// The database's address.
pub const DATABASE_VARIABLE: &str = "HTMENGINE_DATABASE";
/// The broker's address.
pub const BROKER_VARIABLE: &str = "HTMENGINE_BROKER";
/// What requests to the HTTP interface must show.
pub const HTTP_KEY_VARIABLE: &str = "HTMENGINE_HTTP_KEY";
/// The folder of the original's `rabbitmq.conf`, which lay in another package than the rest.
pub const RABBITMQ_CONF_VARIABLE: &str = "HTMENGINE_RABBITMQ_CONF_PATH";
/// Begins the variables that hide options of the original's files.
pub const OLD_OPTION_PREFIX: &str = "_NTA_UTILS_CONFIG__";

/// Variables and their values.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// That of this process. Bytes that are no UTF-8 are replaced.
    pub fn of_process() -> Self {
        Self::new(
            std::env::vars_os().map(|(name, value)| {
                (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
            }),
        )
    }

    /// Of these variables.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { variables: variables.into_iter().collect() }
    }

    /// A variable, if it is set, even if to nothing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A variable that is set to something.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Names that begin with `prefix`, in order.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.variables.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }

    /// `text` as a shell user writes a path: `~` for the home folder, `$NAME` and `${NAME}` for variables; those that are not
    /// set stand for themselves.
    pub fn expanded(&self, text: &str) -> PathBuf {
        let mut path = String::with_capacity(text.len());
        let mut rest = text;
        if let Some(after) = rest.strip_prefix('~')
            && (after.is_empty() || after.starts_with('/'))
            && let Some(home) = self.non_empty("HOME")
        {
            path.push_str(home.trim_end_matches('/'));
            rest = after;
        }
        while let Some((before, after)) = rest.split_once('$') {
            path.push_str(before);
            let (name, following) = if let Some(inner) = after.strip_prefix('{') {
                inner.split_once('}').unwrap_or(("", after))
            } else {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !is_part(c)).unwrap_or(after.len()))
            };
            match self.get(name) {
                Some(value) => path.push_str(value),
                None => path.extend(["$", &after[..after.len() - following.len()]]),
            }
            rest = following;
        }
        path.push_str(rest);
        PathBuf::from(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_expanded_as_a_shell_would() {
        let variables = [("HOME", "/home/me/"), ("A", "x"), ("A_1", "y")];
        let environment =
            Environment::new(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (text, expected) in [
            ("/plain", "/plain"),
            ("~", "/home/me"),
            ("~/a", "/home/me/a"),
            ("~other/a", "~other/a"),
            ("/b/~", "/b/~"),
            ("$A/$A_1/${A}b", "x/y/xb"),
            ("/$NONE/${NONE}/$/${A", "/$NONE/${NONE}/$/${A"),
        ] {
            assert_eq!(environment.expanded(text), PathBuf::from(expected), "{text}");
        }
    }
}
