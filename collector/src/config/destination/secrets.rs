//! The three ways to give a secret: in the configuration, in a file of its own, or in the environment.
//! Promises that exactly one is used, and that no error repeats a value. Deliberately does not know what a secret is for.

use std::{fs, io::Read as _, path::PathBuf};

use crate::config::Secret;

/// Most bytes of a file that has a secret: a key of Google's, the longest in use, has less than 3 KiB.
const FILE_BYTES: u64 = 16 * 1024;

/// What a file says of one secret: `token`, `token_file`, `token_env`.
pub(super) struct Ways {
    pub(super) key: &'static str,
    pub(super) here: Option<Secret<String>>,
    pub(super) file: Option<PathBuf>,
    pub(super) env: Option<String>,
}

impl Ways {
    /// The secret, or nothing if none of the three is there.
    pub(super) fn read(self) -> Result<Option<Secret<String>>, String> {
        let Self { key, here, file, env } = self;
        match (here, file, env) {
            (None, None, None) => Ok(None),
            (Some(secret), None, None) => Ok(Some(secret)),
            (None, Some(path), None) => {
                let text = read_file(&path).map_err(|cause| {
                    format!("`{key}_file`: cannot read {}: {cause}", path.display())
                })?;
                Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())))
            }
            (None, None, Some(name)) => match std::env::var(&name) {
                Ok(value) => Ok(Some(Secret::new(value))),
                Err(std::env::VarError::NotPresent) => {
                    Err(format!("`{key}_env`: the variable `{name}` is not set"))
                }
                Err(_) => Err(format!("`{key}_env`: the variable `{name}` is no text")),
            },
            _ => Err(format!(
                "`{key}`, `{key}_file` and `{key}_env` are ways to give one secret; use one of the three"
            )),
        }
    }

    /// The secret, which has to be there and to be one visible word.
    pub(super) fn require(self, about: &str) -> Result<Secret<String>, String> {
        let key = self.key;
        let secret = self.read()?;
        secret.map(|secret| visible(key, secret)).unwrap_or_else(|| {
            Err(format!("the key `{key}` is missing: {about} (or `{key}_file`, `{key}_env`)"))
        })
    }
}

/// One word that can stand in a header.
pub(super) fn visible(key: &str, secret: Secret<String>) -> Result<Secret<String>, String> {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain(secret.expose()) {
        return Ok(secret);
    }
    Err(format!("`{key}` is one word of visible characters; copy it as it is shown"))
}

fn read_file(path: &std::path::Path) -> Result<String, std::io::Error> {
    // A pipe or a device would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(std::io::Error::other("it has more than 16 KiB, so it is no secret's"));
    }
    Ok(text)
}
