//! What the program is built from: licences, sources, banned packages and versions, as `deny.toml` lists them.
//!
//! `cargo deny check` reads the same file and looks at texts of licences and at advisories too. The suite does not run it:
//! building it takes longer than the whole suite may, what package registries have ready-made is years old, and its database
//! of advisories is fetched from a place that a machine which tests may not reach. What it would say of the lock file and the
//! packages' own words, this test says, from what cargo has on this machine.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;

use htm_tests::source_tree::{read, root};
use serde_json::Value;

/// Texts of a list in `deny.toml`, which is written one a line.
fn listed(text: &str, start: &str) -> Vec<String> {
    let list = text.split(start).nth(1).and_then(|rest| rest.split("\n]").next()).expect("a list");
    list.lines().filter_map(|line| Some(line.split('"').nth(1)?.to_owned())).collect()
}

fn packages() -> Vec<Value> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--locked", "--offline", "--format-version", "1"];
    // Packages for other systems are locked too, and perhaps not here.
    let compiler = Command::new("rustc").current_dir(root()).arg("-vV").output().expect("rustc");
    let compiler = String::from_utf8(compiler.stdout).expect("text");
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let mut metadata = Command::new(cargo);
    metadata.current_dir(root()).args(arguments).args(["--filter-platform", host]);
    let output = metadata.output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("a list").clone()
}

/// Whether an SPDX expression can be met with these licences: `AND` binds before `OR`, an old `/` is `OR`.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = expression.split_whitespace().peekable();
    let met = any_of(&mut words, allowed);
    assert!(words.next().is_none(), "`{expression}` is no expression");
    met
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let word = words.next().expect("a licence");
    if word == "(" {
        let met = any_of(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return met;
    }
    let mut licence = word.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{word} WITH {}", words.next().expect("an exception"));
    }
    allowed.contains(&licence)
}

#[test]
fn licences_are_read_as_expressions() {
    let allowed = ["MIT", "Zlib", "A WITH B"].map(str::to_owned);
    for met in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "MIT AND Zlib",
        "(X OR MIT) AND Zlib",
        "A WITH B",
        "X AND Y OR MIT",
    ] {
        assert!(is_met(met, &allowed), "{met}");
    }
    for unmet in ["GPL-3.0", "MIT AND GPL-3.0", "A", "(MIT OR X) AND Y", "MIT WITH B"] {
        assert!(!is_met(unmet, &allowed), "{unmet}");
    }
}

#[test]
fn every_dependency_has_a_licence_and_a_source_that_are_allowed() {
    let text = read("deny.toml");
    let licences = listed(&text, "\nallow = [");
    let (banned, sources) = (listed(&text, "\ndeny = ["), "https://github.com/rust-lang/crates.io-index");
    assert!(licences.len() > 5 && banned.len() > 2 && text.contains(sources), "{licences:?} {banned:?}");
    let packages = packages();
    assert!(packages.len() > 100, "{} packages", packages.len());
    let text_of = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let mut violations = BTreeSet::new();
    for package in &packages {
        let name = text_of(package, "name");
        let licence = text_of(package, "license");
        if licence.is_empty() || !is_met(&licence, &licences) {
            violations.insert(format!("{name} has the licence `{licence}`"));
        }
        if banned.contains(&name) {
            violations.insert(format!("{name} is banned"));
        }
        match package["source"].as_str() {
            Some(source) if source == format!("registry+{sources}") => {}
            Some(source) => _ = violations.insert(format!("{name} comes from {source}")),
            // Our own: no version of theirs may be whatever comes.
            None => {
                let wild = package["dependencies"].as_array().expect("a list").iter();
                let wild = wild.filter(|it| it["req"] == "*" && it["path"].is_null());
                violations.extend(wild.map(|it| format!("{name} takes any version of {}", it["name"])));
            }
        }
    }
    assert!(violations.is_empty(), "{violations:#?}\ndeny.toml says what is allowed, and why");
}
