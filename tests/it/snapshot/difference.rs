//! The difference of two texts, line by line.

use std::fmt::Write as _;

/// Unchanged lines that are shown around a change.
const CONTEXT: usize = 3;

/// Returns the lines that only `old` (`-`) or only `new` (`+`) has, with a few lines around them.
pub(super) fn lines(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let common = common(&old, &new);
    let (mut a, mut b) = (0, 0);
    let mut all = Vec::new();
    while a < old.len() || b < new.len() {
        if a < old.len() && b < new.len() && old[a] == new[b] {
            all.push((' ', old[a]));
            (a, b) = (a + 1, b + 1);
        } else if b == new.len() || (a < old.len() && common[a + 1][b] >= common[a][b + 1]) {
            all.push(('-', old[a]));
            a += 1;
        } else {
            all.push(('+', new[b]));
            b += 1;
        }
    }
    let mut shown = String::new();
    let mut is_gap = false;
    for (at, (sign, line)) in all.iter().enumerate() {
        let around = &all[at.saturating_sub(CONTEXT)..all.len().min(at + CONTEXT + 1)];
        if around.iter().any(|(sign, _)| *sign != ' ') {
            let _ = writeln!(shown, "{sign} {line}");
            is_gap = false;
        } else if !std::mem::replace(&mut is_gap, true) {
            shown.push_str("…\n");
        }
    }
    shown
}

/// Length of the longest common subsequence of the lines from each pair of positions on.
fn common(old: &[&str], new: &[&str]) -> Vec<Vec<usize>> {
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            common[a][b] = if old[a] == new[b] {
                common[a + 1][b + 1] + 1
            } else {
                common[a + 1][b].max(common[a][b + 1])
            };
        }
    }
    common
}

#[test]
fn a_difference_shows_what_changed_and_what_is_around_it() {
    let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
    let new = "a\nb\nc\nd\nE\nf\ng\nh\ni\n";
    let shown = "…\n  b\n  c\n  d\n- e\n+ E\n  f\n  g\n  h\n+ i\n";
    assert_eq!(lines(old, new), shown);
    assert_eq!(lines("", "a\n"), "+ a\n");
    assert_eq!(lines("a\n", "a\n"), "…\n");
}
