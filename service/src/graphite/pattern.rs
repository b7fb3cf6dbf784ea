//! Graphite's globs over dotted names: `*`, `?`, `[a-z]`, `[!a-z]` and `{a,b}`.
//!
//! The catalog of names ([`super::catalog`]) matches every name against one. A pattern is split at its dots into nodes, and
//! each node matches one node of a name: no wildcard ever reaches across a dot. A backslash takes the meaning from the
//! character after it.
//!
//! Invariants: compiling and matching never panic; both are bounded by [`MAX_PATTERN_BYTES`] and [`MAX_ALTERNATIVES`], and
//! matching one glob takes at most the product of both lengths.
//!
//! Source: graphite-web's `finders` (Python's `fnmatch` after its braces are expanded).
//! Departures: a brace or a bracket without its end stands for itself also where graphite-web's grammar refuses it; `**` is
//! two stars, not any number of nodes.

use crate::operations::OperationError;

/// Longest pattern.
pub(crate) const MAX_PATTERN_BYTES: usize = 65_536;
/// Most globs that the braces of one node may stand for.
const MAX_ALTERNATIVES: usize = 10_000;

/// One node of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodePattern {
    /// One of them must match.
    globs: Vec<Vec<Token>>,
    /// The only text that matches, if there is just one.
    literal: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Literal(char),
    AnyOne,
    AnyMany,
    Class { is_negated: bool, ranges: Vec<(char, char)> },
}

impl NodePattern {
    /// Reads one node.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] when its braces stand for more than [`MAX_ALTERNATIVES`] globs.
    pub(crate) fn new(text: &str) -> Result<Self, OperationError> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(OperationError::invalid(format!(
                "a pattern of {} bytes; at most {MAX_PATTERN_BYTES} are taken: ask for fewer names at once",
                text.len()
            )));
        }
        let globs: Vec<Vec<Token>> =
            expanded(&read(text), text)?.into_iter().map(|characters| tokens(&characters)).collect();
        let literal = match globs.as_slice() {
            [glob] => literal_of(glob),
            _ => None,
        };
        Ok(Self { globs, literal })
    }

    /// Whether this text matches as a whole.
    pub(crate) fn matches(&self, text: &str) -> bool {
        if let Some(literal) = &self.literal {
            return literal == text;
        }
        let characters: Vec<char> = text.chars().collect();
        self.globs.iter().any(|glob| glob_matches(glob, &characters))
    }
}

/// The parts between the dots of a pattern. Dots after a backslash and in braces do not separate.
pub(crate) fn nodes(pattern: &str) -> Vec<&str> {
    let mut nodes = Vec::new();
    let mut start = 0;
    let mut depth = 0_usize;
    let mut characters = pattern.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '.' if depth == 0 => {
                nodes.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        // A brace that never ends is a character like any other.
        return pattern.split('.').collect();
    }
    nodes.push(&pattern[start..]);
    nodes
}

/// Whether a text has anything in it that a name could not match by being equal.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

/// A character, and whether a backslash took its meaning away.
type Character = (char, bool);

fn read(text: &str) -> Vec<Character> {
    let mut read = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('\\', Some(escaped)) => {
                characters.next();
                read.push((escaped, true));
            }
            _ => read.push((character, false)),
        }
    }
    read
}

/// What the braces stand for, innermost first.
fn expanded(characters: &[Character], shown: &str) -> Result<Vec<Vec<Character>>, OperationError> {
    let mut done = Vec::new();
    let mut left = vec![characters.to_vec()];
    while let Some(next) = left.pop() {
        let Some((open, close)) = innermost_braces(&next) else {
            done.push(next);
            continue;
        };
        let inner = &next[open + 1..close];
        // Last first, as the list is worked off from its end.
        for part in inner.split(|character| *character == (',', false)).rev() {
            let parts = [&next[..open], part, &next[close + 1..]];
            left.push(parts.concat());
        }
        if done.len() + left.len() > MAX_ALTERNATIVES {
            let head: String = shown.chars().take(60).collect();
            return Err(OperationError::invalid(format!(
                "the braces in `{head}` stand for more than {MAX_ALTERNATIVES} names; ask for fewer at once"
            )));
        }
    }
    Ok(done)
}

fn innermost_braces(characters: &[Character]) -> Option<(usize, usize)> {
    let mut open = None;
    for (at, character) in characters.iter().enumerate() {
        match (character, open) {
            (('{', false), _) => open = Some(at),
            (('}', false), Some(open)) => return Some((open, at)),
            _ => {}
        }
    }
    None
}

fn tokens(characters: &[Character]) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(characters.len());
    let mut at = 0;
    while let Some(&(character, is_escaped)) = characters.get(at) {
        at += 1;
        tokens.push(match character {
            _ if is_escaped => Token::Literal(character),
            '?' => Token::AnyOne,
            '*' => {
                if tokens.last() == Some(&Token::AnyMany) {
                    continue;
                }
                Token::AnyMany
            }
            '[' => match class(&characters[at..]) {
                Some((class, length)) => {
                    at += length;
                    class
                }
                None => Token::Literal('['),
            },
            _ => Token::Literal(character),
        });
    }
    tokens
}

/// A class without its opening bracket, and how many characters it takes up to and with its closing one.
fn class(characters: &[Character]) -> Option<(Token, usize)> {
    let is_negated = characters.first() == Some(&('!', false));
    let first = usize::from(is_negated);
    // A bracket that comes first is a member.
    let length = characters.iter().skip(first + 1).position(|character| *character == (']', false))? + 1;
    let members = &characters[first..first + length];
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&(low, _)) = members.get(at) {
        let to = members.get(at + 2).filter(|_| members[at + 1] == ('-', false));
        ranges.push((low, to.map_or(low, |(high, _)| *high)));
        at += if to.is_some() { 3 } else { 1 };
    }
    Some((Token::Class { is_negated, ranges }, first + length + 1))
}

fn literal_of(glob: &[Token]) -> Option<String> {
    glob.iter()
        .map(|token| if let Token::Literal(character) = token { Some(*character) } else { None })
        .collect()
}

fn glob_matches(glob: &[Token], text: &[char]) -> bool {
    let (mut token, mut at) = (0, 0);
    // Where to go on if what follows the last star does not fit: only the last star ever needs to give way.
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match glob.get(token) {
            Some(Token::AnyMany) => {
                retry = Some((token + 1, at));
                token += 1;
            }
            Some(one) if one_matches(one, text[at]) => {
                token += 1;
                at += 1;
            }
            _ => {
                let Some((after_star, begin)) = retry else { return false };
                retry = Some((after_star, begin + 1));
                (token, at) = (after_star, begin + 1);
            }
        }
    }
    glob[token..].iter().all(|token| *token == Token::AnyMany)
}

fn one_matches(token: &Token, character: char) -> bool {
    match token {
        Token::Literal(literal) => *literal == character,
        Token::AnyOne => true,
        Token::AnyMany => false,
        Token::Class { is_negated, ranges } => {
            ranges.iter().any(|(low, high)| (low..=high).contains(&&character)) != *is_negated
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        NodePattern::new(pattern).expect("few alternatives").matches(text)
    }

    #[test]
    fn wildcards_match_as_in_graphite() {
        for (pattern, yes, no) in [
            ("cpu", &["cpu"][..], &["cpu0", "CPU", ""][..]),
            ("*", &["", "a", "a.b"], &[]),
            ("cpu*", &["cpu", "cpu12"], &["acpu"]),
            ("c?u", &["cpu", "c*u"], &["cu", "cppu"]),
            ("cpu[0-9]", &["cpu0", "cpu9"], &["cpua", "cpu", "cpu10"]),
            ("cpu[!0-9]", &["cpua"], &["cpu0"]),
            ("[]a]", &["]", "a"], &["b"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("{cpu,mem}.x", &["cpu.x", "mem.x"], &["cpu,mem.x"]),
            ("{a,{b,c}d}e", &["ae", "bde", "cde"], &["abde"]),
            ("a{,b}", &["a", "ab"], &["b"]),
            ("*a*b*c", &["abc", "xaxbxc", "aabbcc"], &["abcd", "acb"]),
            ("a[b", &["a[b"], &["ab"]),
            ("a{b", &["a{b"], &["ab"]),
            (r"a\*", &["a*"], &["ab"]),
            (r"\{a,b\}", &["{a,b}"], &["a"]),
            ("stra\u{df}e*", &["stra\u{df}e 1"], &["strasse"]),
        ] {
            for text in yes {
                assert!(matches(pattern, text), "{pattern} {text}");
            }
            for text in no {
                assert!(!matches(pattern, text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn dots_separate_outside_of_braces() {
        assert_eq!(nodes("a.b*.{c,d}"), ["a", "b*", "{c,d}"]);
        assert_eq!(nodes("a.{b.c,d}.e"), ["a", "{b.c,d}", "e"]);
        assert_eq!(nodes(r"a\.b.c"), [r"a\.b", "c"]);
        assert_eq!(nodes("a.{b.c"), ["a", "{b", "c"]);
        assert_eq!(nodes(""), [""]);
    }

    #[test]
    fn braces_have_a_bound() {
        let many = "{a,b,c,d,e,f,g,h,i,j}".repeat(5);
        let error = NodePattern::new(&many).expect_err("100,000 names").to_string();
        assert!(error.contains("10000"), "{error}");
        assert!(NodePattern::new(&"a".repeat(MAX_PATTERN_BYTES + 1)).is_err());
    }

    /// Matching as one would define it, in exponential time.
    fn naive(glob: &[Token], text: &[char]) -> bool {
        match (glob.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some((Token::AnyMany, rest)), None) => naive(rest, text),
            (Some((Token::AnyMany, rest)), Some((_, tail))) => naive(rest, text) || naive(glob, tail),
            (Some(_), None) => false,
            (Some((token, rest)), Some((first, tail))) => one_matches(token, *first) && naive(rest, tail),
        }
    }

    proptest! {
        #[test]
        fn globs_match_what_the_naive_matcher_matches(pattern in "[ab*?\\[\\]!-]{0,8}", text in "[ab-]{0,8}") {
            let glob = tokens(&read(&pattern));
            let characters: Vec<char> = text.chars().collect();
            prop_assert_eq!(glob_matches(&glob, &characters), naive(&glob, &characters));
        }

        #[test]
        fn no_pattern_panics(pattern in "\\PC{0,40}", text in "\\PC{0,20}") {
            let _ = nodes(&pattern);
            if let Ok(compiled) = NodePattern::new(&pattern) {
                let _ = compiled.matches(&text);
            }
        }
    }
}
