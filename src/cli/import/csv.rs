//! A table with a line of headings. Every product with an API can be brought into this form.

use anyhow::{anyhow, bail};
use csv::{ReaderBuilder, StringRecord, Trim};

use super::entry::{Defaults, Entry, Written};
use crate::cli::report::Hint;
use crate::model::text::{label, nearest};

/// Columns that are read.
const COLUMNS: [&str; 11] = [
    "user_id",
    "provider",
    "client_id",
    "refresh_token",
    "access_token",
    "token_type",
    "expires_at",
    "scopes",
    "account",
    "connection_id",
    "away",
];

/// Reads a table.
pub(super) fn entries(text: &str, defaults: &Defaults) -> anyhow::Result<Vec<Entry>> {
    let first = text.lines().next().unwrap_or_default();
    let delimiter = match first {
        line if line.contains(',') => b',',
        // As spreadsheets write it where the comma separates decimals.
        line if line.contains(';') => b';',
        line if line.contains('\t') => b'\t',
        _ => b',',
    };
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .trim(Trim::All)
        .from_reader(text.as_bytes());
    let user = defaults.user.as_deref().unwrap_or("user_id");
    let headings =
        reader.headers().map_err(|_| anyhow!("its first line is no line of headings"))?;
    let headings: Vec<String> = headings.iter().map(str::to_ascii_lowercase).collect();
    check(&headings, user)?;
    let mut entries = Vec::new();
    for record in reader.records() {
        // The error may hold a part of the file.
        let record = record.map_err(|_| anyhow!("a line of the table cannot be read"))?;
        let line = record.position().map_or(0, csv::Position::line);
        entries.push(entry(line, &headings, user, &record, defaults));
    }
    Ok(entries)
}

/// Checks the headings: a mistyped one would silently leave its column out.
fn check(headings: &[String], user: &str) -> anyhow::Result<()> {
    for (at, heading) in headings.iter().enumerate() {
        if headings.iter().take(at).any(|other| other == heading) {
            bail!("it has two columns {}", label(heading));
        }
        if heading != user && !COLUMNS.contains(&heading.as_str()) {
            let hint = match nearest(heading, COLUMNS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("remove it; the columns are {}", COLUMNS.join(", ")),
            };
            bail!(anyhow!("{} is no column", label(heading)).context(Hint(hint)));
        }
    }
    let has = |heading: &str| headings.iter().any(|it| it == heading);
    if !has(user) {
        let hint = "write the column of the user id with `--user-column`";
        bail!(anyhow!("it has no column {}", label(user)).context(Hint(hint.into())));
    }
    if !has("refresh_token") && !has("access_token") {
        let hint = "write the tokens into one of these columns, or into both";
        bail!(
            anyhow!("it has neither a column `refresh_token` nor `access_token`")
                .context(Hint(hint.into()))
        );
    }
    Ok(())
}

fn entry(
    line: u64,
    headings: &[String],
    user: &str,
    record: &StringRecord,
    defaults: &Defaults,
) -> Entry {
    let field = |name: &str| {
        let at = headings.iter().position(|heading| heading == name)?;
        record.get(at).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let away = field("away").unwrap_or_default().to_ascii_lowercase();
    let written = Written {
        user: field(user),
        provider: field("provider"),
        client_id: field("client_id"),
        access: field("access_token").map(Into::into),
        refresh: field("refresh_token").map(Into::into),
        token_type: field("token_type"),
        expires_at: field("expires_at"),
        scopes: field("scopes"),
        account: field("account"),
        connection_id: field("connection_id"),
        away: away == "true",
    };
    let at = format!("line {line}");
    // A quote in the wrong place takes tokens, or the lines that follow, into the field of a name.
    let nameless = Written::default();
    if record.iter().any(|text| text.contains(['\n', '\r'])) {
        let help = "close the quote; the lines that follow may be missing in this report";
        return Entry::unusable(at, &nameless, "a field has a line break", help);
    }
    if record.len() != headings.len() {
        let why = format!("it has {} fields, and the table {}", record.len(), headings.len());
        return Entry::unusable(at, &nameless, &why, "quote fields that hold the separator");
    }
    if !matches!(&*away, "" | "true" | "false") {
        return Entry::unusable(at, &written, "its `away` is neither true nor false", "correct it");
    }
    Entry::new(at, written, defaults)
}
