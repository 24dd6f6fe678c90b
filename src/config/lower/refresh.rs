//! How refresh tokens end: `refresh_ended` and `refresh_life` of `[providers.*.oauth]`.

use super::super::file::{RefreshEndedTable, RefreshLifeTable};
use super::super::findings::Findings;
use super::super::span::Text;
use super::choice;
use crate::model::oauth::RefreshEnded;
use crate::model::refresh_life::{LifeFrom, RefreshLife};

const FROMS: [(&str, LifeFrom); 2] =
    [("renewal", LifeFrom::Renewal), ("consent", LifeFrom::Consent)];
/// Longest life of a refresh token in days; more is an error.
const MAX_LIFETIME_DAYS: u32 = 3650;

/// Reads when refresh tokens end.
pub(super) fn life(table: RefreshLifeTable, find: &mut Findings<'_>) -> Option<RefreshLife> {
    let Some(days) = table.days else {
        find.missing(&table.span, "days", "write after how many days refresh tokens end");
        return None;
    };
    let Some(count) =
        u32::try_from(days.value).ok().filter(|days| (1..=MAX_LIFETIME_DAYS).contains(days))
    else {
        find.error(
            "oauth::refresh_life",
            &days.span,
            format!("`days` is from 1 to {MAX_LIFETIME_DAYS}"),
        )
        .hint("write a whole number of days");
        return None;
    };
    let from = table.from.as_ref().and_then(|from| choice(from, &FROMS, find));
    let text = |text: Option<Text>| text.map(|text| text.value);
    Some(RefreshLife {
        days: count,
        from: from.unwrap_or(LifeFrom::Renewal),
        when: text(table.when),
        remedy: text(table.remedy),
    })
}

/// Reads the answers to a refresh that mean that the refresh token has ended.
pub(super) fn ended(tables: Vec<RefreshEndedTable>, find: &mut Findings<'_>) -> Vec<RefreshEnded> {
    tables.into_iter().filter_map(|table| answer(table, find)).collect()
}

fn answer(table: RefreshEndedTable, find: &mut Findings<'_>) -> Option<RefreshEnded> {
    let code = table.status.as_ref().map(|status| u16::try_from(status.value).unwrap_or_default());
    let is_about_the_grant =
        |code: u16| code == 200 || ((400..500).contains(&code) && !matches!(code, 408 | 429));
    if let (Some(status), Some(code)) = (&table.status, code)
        && !is_about_the_grant(code)
    {
        // Other statuses say nothing about the grant.
        find.error(
            "oauth::refresh_ended",
            &status.span,
            format!("a status {} says nothing about a refresh token", status.value),
        )
        .hint("write 200 or a 4xx other than 408 and 429, or leave it out");
        return None;
    }
    if table.error.is_none() && table.says.is_none() {
        find.error("oauth::refresh_ended", &table.span, "a status alone says too little")
            .hint("add the answer's `error`, or a text that it `says`");
        return None;
    }
    let text = |text: Option<Text>| text.map(|text| text.value);
    Some(RefreshEnded { status: code, error: text(table.error), says: text(table.says) })
}
