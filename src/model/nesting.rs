//! Depth of JSON.

/// Returns how deeply lists and objects of a JSON text are nested; 0 for a text or number alone.
///
/// `serde_json` reads 128 levels and writes any number: what is written one level deeper than it was
/// read may be unreadable.
pub fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut is_escaped) = (false, false);
    for &byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_and_objects_count() {
        for (json, depth) in [
            ("1", 0),
            (r#""[[[""#, 0),
            (r#""\"[[""#, 0),
            (r#"["\\",[1]]"#, 2),
            (r#"{"a":[{"b":"}"}],"c":[]}"#, 3),
            ("[[],[],[]]", 2),
        ] {
            assert_eq!(nesting(json.as_bytes()), depth, "{json}");
        }
    }
}
