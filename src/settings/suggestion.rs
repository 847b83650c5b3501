//! Suggests the word that was meant by a misspelt one.

use strsim::osa_distance;

/// The word in `known` most similar to `typed`. It differs by at most three typing errors, fewer in
/// a short word, or one word contains the other. None if no word is similar enough.
pub(super) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let slips_allowed = (typed.chars().count() / 3).clamp(1, 3);
    let is_part = |known: &str| {
        typed.len() >= 4 && known.len() >= 4 && (known.contains(typed) || typed.contains(known))
    };
    let candidates = known.into_iter().map(|known| (osa_distance(typed, known), known));
    candidates
        .filter(|(slips, known)| *slips <= slips_allowed || is_part(known))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

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
