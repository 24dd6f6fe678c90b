//! Reads a file of connections.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::cli::report::{Hint, Missing};
use crate::cli::store_options::expanded;

/// Largest file; about 20,000 connections with long tokens.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Returns the text of a file, or of standard input for `-`, without a byte order mark.
pub(super) fn text(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read =
        |from: &mut dyn Read, bytes: &mut Vec<u8>| from.take(MAX_FILE_BYTES + 1).read_to_end(bytes);
    if path == Path::new("-") {
        read(&mut io::stdin().lock(), &mut bytes)
    } else {
        let path = expanded(path)?;
        let mut file = File::open(&path)
            .map_err(|error| Missing(format!("`{}` cannot be read: {error}", path.display())))?;
        read(&mut file, &mut bytes)
    }
    .with_context(|| format!("`{}` cannot be read", path.display()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let hint = "split it: every part can be imported by itself";
        bail!(anyhow!("`{}` is larger than 64 MiB", path.display()).context(Hint(hint.into())));
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    // The error holds no part of the file.
    let text = std::str::from_utf8(text).map_err(|error| {
        let line = 1 + text.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
        anyhow!("`{}` is not UTF-8 (line {line})", path.display())
            .context(Hint("save it as UTF-8".into()))
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads JSON: a list, an object with the list under `key`, or one object per line.
pub(super) fn json_entries(text: &str, key: &str) -> anyhow::Result<Vec<Value>> {
    let mut entries = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        // The error holds no part of the file.
        let value = value.map_err(|error| {
            anyhow!("it is no JSON (line {}, column {})", error.line(), error.column())
        })?;
        match value {
            Value::Array(list) => entries.extend(list),
            Value::Object(mut object) => match object.remove(key) {
                Some(Value::Array(list)) => entries.extend(list),
                Some(other) => {
                    object.insert(key.to_owned(), other);
                    entries.push(Value::Object(object));
                }
                None => entries.push(Value::Object(object)),
            },
            _ => bail!("it is no list of connections"),
        }
    }
    Ok(entries)
}
