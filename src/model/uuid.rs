//! UUIDs made from names (RFC 9562 §5.8), for contracts whose ids are UUIDs.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Lengths of the groups of hexadecimal digits, which hyphens separate.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// Returns the UUID of these parts, in lower case: the same for the same parts, and another one for
/// parts that differ or are divided otherwise.
pub fn of(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // The length first: ["ab", "c"] and ["a", "bc"] are different parts.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let digest: [u8; 32] = digest.finalize().into();
    let [bytes @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest;
    let bits = u128::from_be_bytes(bytes);
    // Version 8, "custom", and the variant of RFC 9562 §4.1.
    let bits = bits & !(0xf << 76) | 0x8 << 76;
    let bits = bits & !(0x3 << 62) | 0x2 << 62;
    let mut text = String::with_capacity(36);
    let mut left = 32;
    for (at, digits) in GROUPS.into_iter().enumerate() {
        if at > 0 {
            text.push('-');
        }
        left -= digits;
        let group = bits >> (4 * left) & ((1 << (4 * digits)) - 1);
        let _ = write!(text, "{group:0digits$x}");
    }
    text
}

/// Whether a text is a UUID in its usual form, of any version.
pub fn is_uuid(text: &str) -> bool {
    let mut groups = text.split('-');
    let are_digits = GROUPS.iter().all(|digits| {
        groups.next().is_some_and(|group| {
            group.len() == *digits && group.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    });
    are_digits && groups.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_of_its_parts_and_well_formed() {
        let uuid = of(&["link", "prun-1"]);
        assert_eq!(uuid, of(&["link", "prun-1"]));
        assert!(is_uuid(&uuid), "{uuid}");
        assert_eq!(uuid.as_bytes()[14], b'8', "{uuid}");
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{uuid}");
        for other in [&["link", "prun-2"][..], &["linkprun-1"], &["linkp", "run-1"], &[]] {
            assert_ne!(uuid, of(other), "{other:?}");
        }
    }

    #[test]
    fn only_the_usual_form_is_a_uuid() {
        assert!(is_uuid("6989f1aa-f910-4c53-b3c5-69d1aa4ebf42"));
        assert!(is_uuid("6989F1AA-F910-4C53-B3C5-69D1AA4EBF42"));
        for bad in [
            "",
            "6989f1aaf9104c53b3c569d1aa4ebf42",
            "6989f1aa-f910-4c53-b3c5-69d1aa4ebf4",
            "6989f1aa-f910-4c53-b3c5-69d1aa4ebf42-",
            "6989f1ag-f910-4c53-b3c5-69d1aa4ebf42",
            "{6989f1aa-f910-4c53-b3c5-69d1aa4ebf42}",
        ] {
            assert!(!is_uuid(bad), "{bad}");
        }
    }
}
