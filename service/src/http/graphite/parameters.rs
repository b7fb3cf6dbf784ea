//! Parameters of the query and of a form together: both may repeat a name, and clients use either.
//!
//! Source: graphite-web takes the query's first, then the form's; of a repeated name that is wanted once, the last counts.

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use jiff::tz::TimeZone;

use crate::graphite::time::zone;
use crate::http::answer::ApiError;
use crate::http::extract::Whole;

/// Most parameters of one request.
const MAX_PARAMETERS: usize = 2_000;
const FORM: &str = "application/x-www-form-urlencoded";

/// Names and values, decoded, in their order.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let mut all = Vec::new();
        read(request.uri().query().unwrap_or_default().as_bytes(), &mut all)?;
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_form = media_type.is_none_or(|value| value.to_ascii_lowercase().starts_with(FORM));
        let body = Whole::of(request).await?.0;
        if !body.is_empty() && !is_form {
            let message = format!("the body has another content type; expected {FORM}");
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "ValueError", &message));
        }
        read(&body, &mut all)?;
        let parameters = Self(all);
        if parameters.one("jsonp").is_some() {
            return Err(ApiError::bad_request("jsonp is not served; leave it out and read the JSON"));
        }
        Ok(parameters)
    }
}

impl Parameters {
    /// The last value of a name.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name, or, if there are none, of the name with `[]` after it.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let of = |wanted: &str| -> Vec<String> {
            self.0.iter().filter(|(found, _)| found == wanted).map(|(_, value)| value.clone()).collect()
        };
        let found = of(name);
        if found.is_empty() { of(&format!("{name}[]")) } else { found }
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 for anything else.
    pub(super) fn count(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let read = |text: &str| {
            text.trim().parse().map_err(|_| {
                let shown: String = text.chars().take(60).collect();
                let shown = shown.escape_debug();
                ApiError::bad_request(&format!("{name} is `{shown}`; expected a whole number, 0 or above"))
            })
        };
        self.one(name).filter(|text| !text.is_empty()).map(read).transpose()
    }

    /// Whether it is `1` or `true`.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.one(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    /// The time zone that times of day are meant in; UTC without one.
    ///
    /// # Errors
    /// 400 for an unknown one.
    pub(super) fn zone(&self) -> Result<TimeZone, ApiError> {
        match self.one("tz").filter(|name| !name.is_empty()) {
            None => Ok(TimeZone::UTC),
            Some(name) => Ok(zone(name)?),
        }
    }
}

fn read(text: &[u8], all: &mut Vec<(String, String)>) -> Result<(), ApiError> {
    for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if all.len() == MAX_PARAMETERS {
            let message = format!("more than {MAX_PARAMETERS} parameters; split the request");
            return Err(ApiError::bad_request(&message));
        }
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let value = pair.get(at + 1..).unwrap_or_default();
        let (Some(name), Some(value)) = (decoded(&pair[..at]), decoded(value)) else {
            return Err(ApiError::bad_request("a parameter is not UTF-8 text"));
        };
        all.push((name, value));
    }
    Ok(())
}

/// A form's text: `+` is a blank, `%xx` a byte; a `%` that no two digits follow stands for itself.
fn decoded(text: &[u8]) -> Option<String> {
    let digit = |at: usize| {
        text.get(at).and_then(|byte| char::from(*byte).to_digit(16)).and_then(|d| u8::try_from(d).ok())
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let escaped = if text[at] == b'%' { digit(at + 1).zip(digit(at + 2)) } else { None };
        let plain = if text[at] == b'+' { b' ' } else { text[at] };
        bytes.push(escaped.map_or(plain, |(high, low)| high * 16 + low));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_repeat_and_are_decoded() {
        let mut all = Vec::new();
        read(b"target=a.b&target=f(c%2C'1+h')&from=-1h&&flag&x=%zz%4&expr[]=a%3Db", &mut all).expect("text");
        let parameters = Parameters(all);
        assert_eq!(parameters.all("target"), ["a.b", "f(c,'1 h')"]);
        assert_eq!(parameters.all("expr"), ["a=b"]);
        assert_eq!((parameters.one("from"), parameters.one("flag")), (Some("-1h"), Some("")));
        assert_eq!((parameters.one("x"), parameters.one("y")), (Some("%zz%4"), None));
        assert!(read(b"a=%ff", &mut Vec::new()).is_err());
        assert!(read("a&".repeat(MAX_PARAMETERS + 1).as_bytes(), &mut Vec::new()).is_err());
    }
}
