//! Who is mentioned in a text.

/// Returns whether a text mentions a name: as a word of its own, in any case, with or without an `@`. What stands before
/// and behind it is no letter, digit, `-` or `_`.
///
/// ```
/// use snug_protocol::mentions;
///
/// assert!(mentions("ask @Alice!", "alice"));
/// assert!(!mentions("malice", "alice"));
/// ```
pub fn mentions(text: &str, name: &str) -> bool {
    if name.is_empty() || name.len() > text.len() && text.is_ascii() && name.is_ascii() {
        return false;
    }
    let is_inner = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    text.match_indices(&name).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        !before.is_some_and(is_inner) && !after.is_some_and(is_inner)
    })
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn a_name_is_mentioned_as_a_word() {
        for (text, is_named) in [
            ("hi @Alice!", true),
            ("alice: look", true),
            ("ask ALICE", true),
            ("malice", false),
            ("alice-2 did", false),
            ("alice_2 did", false),
            ("alice2, malice and Alice", true),
            ("", false),
        ] {
            assert_eq!(mentions(text, "alice"), is_named, "{text:?}");
        }
        assert!(mentions("Zo\u{cb}, look", "zo\u{eb}") && !mentions("anything", ""));
    }

    proptest::proptest! {
        #[test]
        fn a_name_between_other_signs_is_always_found(before in "[ .,:!@(]{0,3}", after in "[ .,:!)]{0,3}", name in "[a-z0-9\u{e9}][a-z0-9_-]{0,8}") {
            let text = format!("{before}{}{after}", name.to_uppercase());
            proptest::prop_assert!(mentions(&text, &name), "{}", text);
            let inner = format!("x{}x", name);
            proptest::prop_assert!(!mentions(&inner, &name), "{}", inner);
        }
    }
}
