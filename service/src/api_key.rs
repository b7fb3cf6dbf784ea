//! Keys of the HTTP interface: what the holder of one may do, and how a key is known again without being kept.
//!
//! A key is drawn, not chosen: 32 random bytes, written as text that begins with `htm_`. The settings file has
//! its SHA-256 only, so whoever reads the file has no key. A fast hash without a salt is right for such keys: slow ones
//! protect passwords, of which the likely ones can be tried; of 2^256 keys nobody finds one by trying.
//!
//! Invariant: a key is compared by its hash, with all keys that there are, in the same time wherever they differ.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use toml::Spanned;

use crate::monitoring::RandomBytes;

/// Keys at most: each request that shows one is compared with all of them.
pub const MAX_KEYS: usize = 256;
/// Characters in a name at most.
pub const MAX_NAME_CHARS: usize = 64;
/// What the one key of the setting `http_key` is called.
pub const PLAIN_KEY_NAME: &str = "http_key";
/// Random bytes in a key.
const KEY_BYTES: usize = 32;
/// Begins every key, so that tools which look for leaked secrets can tell one.
const PREFIX: &str = "htm_";
/// Begins every hash.
const ALGORITHM: &str = "sha256:";
const DIGEST_BYTES: usize = 32;

/// What the holder of a key may do; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyRole {
    /// Look at everything.
    Read,
    /// Send samples, and make what samples need: metrics and models.
    Write,
    /// Everything: take away what is there, too, and send messages to others.
    Admin,
}

impl KeyRole {
    /// As settings and messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// A key that is known, without the key.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    name: String,
    role: KeyRole,
    digest: [u8; DIGEST_BYTES],
}

/// One `[[api_key]]` of a settings file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyStanza {
    name: Spanned<String>,
    role: KeyRole,
    hash: String,
}

impl ApiKey {
    /// Of a key in plain text.
    pub fn of_plain(name: &str, role: KeyRole, key: &str) -> Self {
        Self { name: name.to_owned(), role, digest: digest(key) }
    }

    /// From a settings file; `place` shows where a part of it is.
    ///
    /// # Errors
    /// Everything that is wrong, one a line; never what stands where a hash should, as it may be a key.
    pub fn from_file(
        stanzas: &[KeyStanza],
        place: &dyn Fn(Range<usize>) -> String,
    ) -> Result<Vec<Self>, String> {
        let mut keys: Vec<Self> = Vec::new();
        let mut problems = Vec::new();
        for KeyStanza { name, role, hash } in stanzas {
            let place = place(name.span());
            let name = name.get_ref();
            if let Err(problem) = check_name(name) {
                problems.push(format!("api_key '{name}' ({place}): {problem}"));
            } else if keys.iter().any(|key| &key.name == name) {
                problems.push(format!("api_key '{name}' ({place}) is there twice; give one another name"));
            }
            match read_hash(hash) {
                Some(digest) => keys.push(Self { name: name.clone(), role: *role, digest }),
                None => problems.push(format!(
                    "api_key '{name}' ({place}): its hash is none (not shown, as it may be the key itself); expected \
                     {ALGORITHM} and 64 hexadecimal digits, as `htmengine key new` prints it"
                )),
            }
        }
        if stanzas.len() > MAX_KEYS {
            problems.push(format!("{} keys as [[api_key]]; expected at most {MAX_KEYS}", stanzas.len()));
        }
        if problems.is_empty() { Ok(keys) } else { Err(problems.join("\n")) }
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its holder may do.
    pub fn role(&self) -> KeyRole {
        self.role
    }

    /// Which of `keys` the text `given` is, if it is one.
    pub fn find<'a>(keys: &'a [Self], given: &str) -> Option<&'a Self> {
        let given = digest(given);
        let mut found = None;
        for key in keys {
            let is_equal: Choice = key.digest.ct_eq(&given);
            if is_equal.into() {
                found = Some(key);
            }
        }
        found
    }
}

impl fmt::Debug for ApiKey {
    /// Without the hash.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl fmt::Display for ApiKey {
    /// Name and role.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.name, self.role.name())
    }
}

/// Whether a key may be called so.
///
/// # Errors
/// What is expected.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.chars().all(is_plain) {
        return Err(format!("expected a name of 1 to {MAX_NAME_CHARS} letters, digits, '.', '_' or '-'"));
    }
    if name == PLAIN_KEY_NAME {
        return Err(
            "that is what the key of the setting `http_key` is called; expected another name".to_owned()
        );
    }
    Ok(())
}

/// A key that was just drawn, and the only time that it is there in plain text.
pub struct NewKey {
    /// For whoever is to use it.
    pub key: String,
    /// For the settings file.
    pub hash: String,
}

impl NewKey {
    /// Draws one.
    pub fn draw(random: &dyn RandomBytes) -> Self {
        let mut bytes = [0; KEY_BYTES];
        for part in bytes.chunks_mut(16) {
            part.copy_from_slice(&random.random_bytes());
        }
        let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let digits = digest(&key).map(|byte| format!("{byte:02x}"));
        let hash = format!("{ALGORITHM}{}", digits.concat());
        Self { key, hash }
    }
}

fn digest(key: &str) -> [u8; DIGEST_BYTES] {
    Sha256::digest(key.as_bytes()).into()
}

fn read_hash(text: &str) -> Option<[u8; DIGEST_BYTES]> {
    let digits = text.strip_prefix(ALGORITHM)?.as_bytes();
    let mut digest = [0; DIGEST_BYTES];
    if digits.len() != 2 * DIGEST_BYTES {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::SystemRandom;

    fn stanzas(text: &str) -> Result<Vec<ApiKey>, String> {
        #[derive(Deserialize)]
        struct File {
            api_key: Vec<KeyStanza>,
        }
        let file: File = toml::from_str(text).expect("TOML");
        ApiKey::from_file(&file.api_key, &|_| "here".to_owned())
    }

    #[test]
    fn a_drawn_key_is_known_by_its_hash_alone() {
        let random = SystemRandom::open().expect("randomness");
        let (one, other) = (NewKey::draw(&random), NewKey::draw(&random));
        assert!(one.key.starts_with(PREFIX) && one.key.len() == PREFIX.len() + 43);
        assert_ne!(one.key, other.key);
        let text = format!("[[api_key]]\nname = \"a\"\nrole = \"write\"\nhash = \"{}\"\n", one.hash);
        let keys = stanzas(&text).expect("valid");
        let found = ApiKey::find(&keys, &one.key).expect("known");
        assert_eq!((found.name(), found.role()), ("a", KeyRole::Write));
        for wrong in [other.key.as_str(), one.hash.as_str(), "", &one.key[1..], &one.key.to_lowercase()] {
            assert_eq!(ApiKey::find(&keys, wrong), None, "{wrong}");
        }
        assert!(!format!("{keys:?}").contains(&one.hash[10..20]));
    }

    #[test]
    fn the_hash_is_sha_256() {
        // The standard's own example.
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(read_hash(known), Some(digest("abc")));
    }

    #[test]
    fn what_is_wrong_with_a_stanza_is_told_without_its_hash() {
        let good = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let short = &good[..good.len() - 1];
        for (name, hash, part) in [
            ("a", "htm_geheim", "its hash is none"),
            ("a", short, "its hash is none"),
            ("a b", good, "expected a name"),
            ("", good, "expected a name"),
            (PLAIN_KEY_NAME, good, "expected another name"),
        ] {
            let text = format!("[[api_key]]\nname = \"{name}\"\nrole = \"read\"\nhash = \"{hash}\"\n");
            let error = stanzas(&text).expect_err("refused");
            assert!(error.contains(part) && !error.contains("geheim"), "{error}");
        }
        let one = format!("[[api_key]]\nname = \"a\"\nrole = \"read\"\nhash = \"{good}\"\n");
        assert!(stanzas(&one.repeat(2)).expect_err("refused").contains("twice"));
    }

    #[test]
    fn each_role_may_do_what_those_before_it_may() {
        assert!(KeyRole::Admin > KeyRole::Write && KeyRole::Write > KeyRole::Read);
    }
}
