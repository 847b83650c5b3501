//! What somebody who misspelt a word probably meant.

/// The word among `known` that is nearest to `typed`, if one is near enough to be what was meant: a slip or two away, or one within the other.
pub(super) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let slips_allowed = (typed.chars().count() / 3).clamp(1, 3);
    let is_part = |known: &str| {
        typed.len() >= 4 && known.len() >= 4 && (known.contains(typed) || typed.contains(known))
    };
    let candidates = known.into_iter().map(|known| (slips(typed, known), known));
    candidates
        .filter(|(slips, known)| *slips <= slips_allowed || is_part(known))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, known)| known)
}

/// How many letters have to be put in, left out, replaced or swapped with their neighbour to turn one word into the other.
fn slips(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, letter) in from.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, wanted) in to.iter().enumerate() {
            let at =
                |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&last, column) + usize::from(letter != *wanted);
            let mut least = replaced.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            let is_swapped =
                column > 0 && previous == Some(*wanted) && to.get(column - 1) == Some(&letter);
            if is_swapped {
                least = least.min(at(&before_last, column - 1) + 1);
            }
            current.push(least);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(letter);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (from, to, count) in [
            ("", "", 0),
            ("lake", "lake", 0),
            ("", "ab", 2),
            ("lkae", "lake", 1),
            ("timezon", "timezone", 1),
            ("abc", "xyz", 3),
        ] {
            assert_eq!((slips(from, to), slips(to, from)), (count, count), "{from} {to}");
        }
    }

    #[test]
    fn what_is_near_is_suggested_and_what_is_not_is_not() {
        let known = ["appid", "secret_file", "access_token_command", "timezone", "lake"];
        for (typed, meant) in [
            ("time_zone", Some("timezone")),
            ("timezome", Some("timezone")),
            ("app_id", Some("appid")),
            ("secret", Some("secret_file")),
            ("token_command", Some("access_token_command")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }
}
