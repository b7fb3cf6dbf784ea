//! The grammar of targets: `alias(summarize(htm.cpu.value, '1h', func='max'), 'hourly')`.
//!
//! From text to an [`Expression`]; [`super::evaluation`] computes it. A path is any run of characters but `( ) , ' " |`
//! and blanks, braces around commas included; a backslash takes the meaning from the character after it. `a | f(1)` is
//! `f(a, 1)`.
//!
//! Invariants: never panics; depth is at most [`MAX_DEPTH`], length at most [`MAX_TARGET_BYTES`]; every error names its
//! position, counted in characters from 1.
//!
//! Source: graphite-web's `render/grammar`.
//! Departure: `template(...)` is not known.

use super::number::Number;
use super::pattern::MAX_PATTERN_BYTES;
use crate::operations::OperationError;

/// Longest target.
pub(crate) const MAX_TARGET_BYTES: usize = MAX_PATTERN_BYTES;
/// Deepest nesting of calls.
pub(crate) const MAX_DEPTH: usize = 32;

/// What a target says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    /// A pattern of names.
    Path(String),
    /// A function's call.
    Call(Call),
    /// A number.
    Number(Number),
    /// A text without its quotes, backslashes kept.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
    /// `None`.
    Nothing,
    /// `inf`.
    Infinity,
}

/// The call of a function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// The function.
    pub(crate) name: String,
    /// In order; what is piped in comes first.
    pub(crate) arguments: Vec<Expression>,
    /// `name=value`, after the others.
    pub(crate) named: Vec<(String, Expression)>,
    /// As it was written, without what is piped in.
    pub(crate) text: String,
}

/// Reads a target.
///
/// # Errors
/// [`OperationError::InvalidArgument`] says what was found where, and what was expected.
pub(crate) fn parse(target: &str) -> Result<Expression, OperationError> {
    if target.len() > MAX_TARGET_BYTES {
        return Err(OperationError::invalid(format!(
            "a target of {} bytes; at most {MAX_TARGET_BYTES} are taken: use wildcards, or several targets",
            target.len()
        )));
    }
    let mut parser = Parser { text: target, at: 0 };
    let expression = parser.piped(0)?;
    parser.skip_blanks();
    match parser.peek() {
        None => Ok(expression),
        Some(_) => Err(parser.unexpected("the end of the target or `|`")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset of the next character.
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn take_if(&mut self, expected: char) -> bool {
        let is_next = self.peek() == Some(expected);
        if is_next {
            self.at += expected.len_utf8();
        }
        is_next
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.take();
        }
    }

    fn unexpected(&self, expected: &str) -> OperationError {
        let position = self.text[..self.at].chars().count() + 1;
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(character) => format!("`{}`", character.escape_debug()),
        };
        let head: String = self.text.chars().take(80).collect();
        OperationError::invalid(format!(
            "target `{}` at character {position}: found {found}, expected {expected}",
            head.escape_debug()
        ))
    }

    /// An expression and what it is piped into.
    fn piped(&mut self, depth: usize) -> Result<Expression, OperationError> {
        self.skip_blanks();
        let mut expression = self.call_or_path(depth)?;
        let mut pipes = depth;
        loop {
            let before = self.at;
            self.skip_blanks();
            if !self.take_if('|') {
                self.at = before;
                return Ok(expression);
            }
            self.skip_blanks();
            pipes += 1;
            let Some(mut call) = self.call(pipes)? else {
                return Err(self.unexpected("a function after `|`"));
            };
            call.arguments.insert(0, expression);
            expression = Expression::Call(call);
        }
    }

    fn call_or_path(&mut self, depth: usize) -> Result<Expression, OperationError> {
        match self.call(depth)? {
            Some(call) => Ok(Expression::Call(call)),
            None => self.path(),
        }
    }

    /// A call, if a name and an opening parenthesis come next.
    fn call(&mut self, depth: usize) -> Result<Option<Call>, OperationError> {
        let start = self.at;
        let name = self.word().to_owned();
        if name.is_empty() || !self.rest()[name.len()..].trim_start().starts_with('(') {
            return Ok(None);
        }
        if depth >= MAX_DEPTH {
            return Err(self.unexpected(&format!("at most {MAX_DEPTH} functions within each other")));
        }
        self.at += name.len();
        self.skip_blanks();
        self.take();
        let mut call = Call { name, arguments: Vec::new(), named: Vec::new(), text: String::new() };
        self.skip_blanks();
        if !self.take_if(')') {
            loop {
                self.argument(&mut call, depth)?;
                self.skip_blanks();
                if self.take_if(')') {
                    break;
                }
                if !self.take_if(',') {
                    return Err(self.unexpected("`,` or `)`"));
                }
            }
        }
        self.text[start..self.at].clone_into(&mut call.text);
        Ok(Some(call))
    }

    /// The word that comes next, without taking it.
    fn word(&self) -> &str {
        let rest = self.rest();
        let is_first = |character: char| character.is_ascii_alphabetic() || character == '_';
        let is_more = |character: char| character.is_ascii_alphanumeric() || character == '_';
        if !rest.starts_with(is_first) {
            return "";
        }
        let length = rest.find(|character| !is_more(character)).unwrap_or(rest.len());
        &rest[..length]
    }

    fn argument(&mut self, call: &mut Call, depth: usize) -> Result<(), OperationError> {
        self.skip_blanks();
        let word = self.word().to_owned();
        let is_named = !word.is_empty() && self.rest()[word.len()..].trim_start().starts_with('=');
        if is_named {
            self.at += word.len();
            self.skip_blanks();
            self.take();
            let value = self.value(depth)?;
            call.named.push((word, value));
        } else if call.named.is_empty() {
            call.arguments.push(self.value(depth)?);
        } else {
            return Err(
                self.unexpected("`name=value`, as after the first argument of this form all must have it")
            );
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Expression, OperationError> {
        self.skip_blanks();
        if let Some(quote @ ('\'' | '"')) = self.peek() {
            return self.quoted(quote);
        }
        let word = self.word().to_ascii_lowercase();
        let constant = match word.as_str() {
            "true" => Some(Expression::Boolean(true)),
            "false" => Some(Expression::Boolean(false)),
            "none" => Some(Expression::Nothing),
            "inf" => Some(Expression::Infinity),
            _ => None,
        };
        if let Some(constant) = constant.filter(|_| self.ends_after(word.len())) {
            self.at += word.len();
            return Ok(constant);
        }
        if let Some((number, length)) = self.number() {
            self.at += length;
            return Ok(Expression::Number(number));
        }
        self.piped(depth + 1)
    }

    /// Whether an argument ends after so many bytes.
    fn ends_after(&self, length: usize) -> bool {
        let after = self.rest()[length..].trim_start();
        after.is_empty() || after.starts_with([',', ')'])
    }

    fn number(&self) -> Option<(Number, usize)> {
        let rest = self.rest();
        let is_part = |character: char| character.is_ascii_digit() || "+-.eE".contains(character);
        let length = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
        let number = Number::parse(&rest[..length])?;
        self.ends_after(length).then_some((number, length))
    }

    fn quoted(&mut self, quote: char) -> Result<Expression, OperationError> {
        self.take();
        let start = self.at;
        loop {
            match self.peek() {
                None => return Err(self.unexpected(&format!("the closing quote `{quote}`"))),
                Some('\\') => {
                    self.take();
                }
                Some(character) if character == quote => break,
                Some(_) => {}
            }
            self.take();
        }
        let text = self.text[start..self.at].to_owned();
        self.take();
        Ok(Expression::Text(text))
    }

    fn path(&mut self) -> Result<Expression, OperationError> {
        let start = self.at;
        let mut depth = 0_usize;
        while let Some(character) = self.peek() {
            match character {
                '\\' => {
                    self.take();
                }
                '{' => depth += 1,
                '}' => {
                    if depth == 0 {
                        return Err(self.unexpected("`{` before it"));
                    }
                    depth -= 1;
                }
                '.' if depth > 0 => return Err(self.unexpected("`}`; braces never reach across dots")),
                ',' if depth > 0 => {}
                ',' | '(' | ')' | '\'' | '"' | '|' => break,
                blank if blank.is_whitespace() || blank.is_control() => break,
                _ => {}
            }
            self.take();
        }
        if depth > 0 {
            return Err(self.unexpected("`}`"));
        }
        if self.at == start {
            return Err(self.unexpected("a metric, a function, a number or a text in quotes"));
        }
        Ok(Expression::Path(self.text[start..self.at].to_owned()))
    }
}

/// The first path in a series' name such as `scale(a.b,2)`, as it was asked for; `None` if the name is no call.
pub(crate) fn first_path(name: &str) -> Option<String> {
    let mut expression = parse(name).ok()?;
    loop {
        match expression {
            Expression::Path(path) => return Some(path),
            Expression::Call(call) => expression = call.arguments.into_iter().next()?,
            Expression::Number(_)
            | Expression::Text(_)
            | Expression::Boolean(_)
            | Expression::Nothing
            | Expression::Infinity => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> Expression {
        Expression::Path(text.to_owned())
    }

    fn text(text: &str) -> Expression {
        Expression::Text(text.to_owned())
    }

    fn call(
        name: &str,
        arguments: Vec<Expression>,
        named: Vec<(&str, Expression)>,
        text: &str,
    ) -> Expression {
        let named = named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Expression::Call(Call { name: name.to_owned(), arguments, named, text: text.to_owned() })
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        for target in [
            "a",
            "htm.cpu.load.value",
            "a.{b,c}.*[0-9]?",
            "cpu;host=a;dc=b",
            "123.abc",
            "a:b/c%d#e-f_g",
            "true.x",
            r"a\(b\)",
            "{a,b}.c",
            "-1",
            "x=1",
            "\u{e4}.\u{4e2d}",
        ] {
            assert_eq!(parse(target).map_err(|e| e.to_string()), Ok(path(target)), "{target}");
        }
        assert_eq!(parse(" a.b \n"), Ok(path("a.b")));
    }

    #[test]
    fn calls_nest_and_take_every_kind_of_argument() {
        let source = "f(a.b, 1, -2.5, 1e3, 'x,)', \"it's\", TRUE, none, inf, g(c), k='v', d = 4)";
        let arguments = vec![
            path("a.b"),
            Expression::Number(Number::Integer(1)),
            Expression::Number(Number::Float(-2.5)),
            Expression::Number(Number::Float(1000.0)),
            text("x,)"),
            text("it's"),
            Expression::Boolean(true),
            Expression::Nothing,
            Expression::Infinity,
            call("g", vec![path("c")], vec![], "g(c)"),
        ];
        let named = vec![("k", text("v")), ("d", Expression::Number(Number::Integer(4)))];
        assert_eq!(parse(source), Ok(call("f", arguments, named, source)));
        assert_eq!(parse("f()"), Ok(call("f", vec![], vec![], "f()")));
        let piped = call("g", vec![call("f", vec![path("a")], vec![], "f()"), text("b")], vec![], "g('b')");
        assert_eq!(parse("a | f()|g('b')"), Ok(piped));
        assert_eq!(parse(r"f('a\'b\1')"), Ok(call("f", vec![text(r"a\'b\1")], vec![], r"f('a\'b\1')")));
    }

    #[test]
    fn errors_name_their_place() {
        for (target, position, expected) in [
            ("", 1, "a metric"),
            ("f(a", 4, "`,` or `)`"),
            ("f(a))", 5, "the end of the target"),
            ("f(a b)", 5, "`,` or `)`"),
            ("f('a)", 6, "closing quote"),
            ("f(a,,b)", 5, "a metric"),
            ("f(k=1, a)", 8, "name=value"),
            ("a|b", 3, "a function after"),
            ("a.{b,c", 7, "`}`"),
            ("a.{b.c}", 5, "never reach across dots"),
            ("a}", 2, "before it"),
            ("\u{e4}(", 2, "the end of the target"),
        ] {
            let error = parse(target).expect_err(target).to_string();
            assert!(error.contains(&format!("at character {position}:")), "{target}: {error}");
            assert!(error.contains(expected), "{target}: {error}");
        }
    }

    #[test]
    fn depth_and_length_have_bounds() {
        let nested = |depth: usize| format!("{}a{}", "f(".repeat(depth), ")".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(parse(&nested(MAX_DEPTH + 1)).expect_err("too deep").to_string().contains("at most 32"));
        assert!(parse(&format!("a{}", "|f()".repeat(1_000))).is_err());
        assert!(parse(&"a".repeat(MAX_TARGET_BYTES + 1)).is_err());
    }

    #[test]
    fn the_first_path_of_a_name_is_found() {
        assert_eq!(first_path("scale(sumSeries(a.b,c.d),2)").as_deref(), Some("a.b"));
        assert_eq!(first_path("a.b").as_deref(), Some("a.b"));
        assert_eq!(first_path("f(1)"), None);
        assert_eq!(first_path("a) (b"), None);
    }

    proptest! {
        #[test]
        fn no_target_panics(target in "[a-z0-9(){},.'\"|=\\\\ *-]{0,60}|\\PC{0,40}") {
            let _ = parse(&target);
        }
    }
}
