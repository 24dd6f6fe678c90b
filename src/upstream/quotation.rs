//! Texts from outside, quoted so that they cannot pass for our own words.

/// Returns a text between “ and ”, see [`quotable`].
pub(super) fn quoted(text: &str, most: usize) -> String {
    format!("“{}”", quotable(text, most))
}

/// Returns a text on one line, cut to `most` characters. Quotation marks become plain ones and
/// white space a single space, so that untrusted text cannot end its quotation and continue as our
/// own words.
pub(super) fn quotable(text: &str, most: usize) -> String {
    let mut fit = String::new();
    let mut is_blank = false;
    for (at, c) in text.trim().chars().enumerate() {
        if at == most {
            fit.push('…');
            break;
        }
        match c {
            c if c.is_whitespace() => {
                if !is_blank {
                    fit.push(' ');
                }
            }
            '“' | '”' | '„' | '‟' => fit.push('"'),
            c => fit.push(c),
        }
        is_blank = c.is_whitespace();
    }
    fit
}
