//! `guide`: what `countersign providers show` says.

use super::super::file::{GuideTable, PaginateTable};
use super::super::findings::Findings;
use super::super::span::Text;
use crate::model::guide::{Guide, Paginate};

pub(super) fn guide(table: GuideTable, find: &mut Findings<'_>) -> Guide {
    let words = |text: Option<Text>| text.map(|text| text.value).unwrap_or_default();
    Guide {
        about: words(table.about),
        register: words(table.register),
        tokens: words(table.tokens),
        notes: table.notes.unwrap_or_default().into_iter().map(|note| note.value).collect(),
        paginate: table.paginate.and_then(|paginate| self::paginate(paginate, find)),
    }
}

fn paginate(table: PaginateTable, find: &mut Findings<'_>) -> Option<Paginate> {
    let link = table.link.is_some_and(|link| link.value);
    match (link, table.page, table.cursor, table.next) {
        (true, None, None, None) => Some(Paginate::Link),
        (false, Some(page), None, None) => Some(Paginate::Page(page.value)),
        (false, None, Some(cursor), Some(next)) if next.value.starts_with('.') => {
            Some(Paginate::Cursor { param: cursor.value, next: next.value })
        }
        _ => {
            find.error("provider::paginate", &table.span, "how are lists paged?").hint(
                "write `link = true`, `page = \"page\"`, or `cursor = \"cursor\", next = \".next\"`",
            );
            None
        }
    }
}
