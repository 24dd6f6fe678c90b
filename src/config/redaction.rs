//! Redacts the literal secrets of a source text, so that rendering a problem, or one on an adjacent
//! line, cannot print them.

use std::borrow::Cow;

use super::span::Span;

/// Replacement for a secret in the source text that is shown.
const REDACTED: &str = "•••";

/// A source text and its secrets.
pub(super) struct Redaction<'s> {
    source: &'s str,
    /// Positions of the secrets, in order and apart from each other.
    secrets: Vec<Span>,
}

impl<'s> Redaction<'s> {
    pub(super) fn new(source: &'s str, mut spans: Vec<Span>) -> Self {
        spans.sort_by_key(|span| span.start);
        let mut secrets: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match secrets.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => secrets.push(span),
            }
        }
        Self { source, secrets }
    }

    /// Returns the text without its secrets.
    pub(super) fn text(&self) -> Cow<'s, str> {
        if self.secrets.is_empty() {
            return Cow::Borrowed(self.source);
        }
        let mut shown = String::with_capacity(self.source.len());
        let mut from = 0;
        for span in &self.secrets {
            shown.push_str(self.source.get(from..span.start).unwrap_or_default());
            shown.push_str(&self.replacement(span));
            from = span.end;
        }
        shown.push_str(self.source.get(from..).unwrap_or_default());
        Cow::Owned(shown)
    }

    /// Converts an offset in the source to one in the redacted text.
    pub(super) fn moved(&self, offset: usize) -> usize {
        let mut added = 0;
        let mut removed = 0;
        for span in self.secrets.iter().take_while(|span| span.start < offset) {
            let replacement = self.replacement(span).len();
            if offset < span.end {
                return span.start + added - removed + replacement;
            }
            added += replacement;
            removed += span.len();
        }
        offset + added - removed
    }

    /// Returns the replacement for one secret. It keeps line breaks, so that line numbers stay
    /// correct.
    fn replacement(&self, secret: &Span) -> String {
        let hidden = self.source.get(secret.clone()).unwrap_or_default();
        format!("{REDACTED}{}", "\n".repeat(hidden.matches('\n').count()))
    }
}
