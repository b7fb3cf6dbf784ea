//! Rust source without its comments and without the contents of its literals, so that a rule about code can be
//! checked by looking for words.
//!
//! Not a parser: it knows line and nested block comments, strings, raw strings and character literals, which is
//! all that can hide or fake a word. Everything blanked out becomes spaces; line ends stay, so line numbers do too.

/// `source` with comments and the contents of literals blanked out.
pub fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let hidden = hidden_prefix(rest, code.chars().next_back());
        if hidden > 0 {
            code.extend(rest[..hidden].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[hidden..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// The numbers (from 1) of the lines of `code` that contain `word` with no identifier character beside it.
pub fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let contains = |line: &str| {
        line.match_indices(word).any(|(start, _)| {
            !line[..start].ends_with(is_part) && !line[start + word.len()..].starts_with(is_part)
        })
    };
    (1..).zip(code.lines()).filter(|(_, line)| contains(line)).map(|(number, _)| number).collect()
}

/// Length in bytes of the comment or literal that `rest` starts with; 0 if it starts with code.
fn hidden_prefix(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"').unwrap_or(rest.len());
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    let is_word_start = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    if is_word_start { raw_string(rest) } else { 0 }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Length of a literal between two `quote`s, backslashes escaping; `None` if it has no end.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !is_escaped {
            return Some(at + 1);
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    None
}

/// A character literal is one character or one escape; otherwise the quote starts a lifetime, which is code.
fn character(rest: &str) -> usize {
    let mut chars = rest.chars().skip(1);
    let (first, second) = (chars.next(), chars.next());
    if first == Some('\\') || second == Some('\'') { quoted(rest, '\'').unwrap_or(0) } else { 0 }
}

fn raw_string(rest: &str) -> usize {
    let Some(after_r) = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')) else { return 0 };
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    let Some(body) = after_r[hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - body.len();
    body.find(&end).map_or(rest.len(), |at| start + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_code_and_blanks_the_rest() {
        for (source, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x \" y") + 'z' + '\''"#, "f(        ) +     +     "),
            (r##"let r = r#"a " b"#;"##, "let r =           ;"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("br\"x\" + bar", "      + bar"),
            ("\"// no comment\" x", "                x"),
        ] {
            assert_eq!(code_of(source), code, "{source}");
        }
    }

    #[test]
    fn finds_whole_words_only() {
        assert_eq!(lines_with_word("unsound\nun sound\nsound_x\nsound!", "sound"), [2, 4]);
        assert_eq!(lines_with_word("a::b::c()\na::bc", "a::b"), [1]);
    }
}
