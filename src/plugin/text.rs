//! Text from guests, made fit for logs and answers.

/// Longest text of a guest that is passed on, in bytes.
pub(super) const TEXT_MAX: usize = 4096;

/// The text with control characters escaped and cut to [`TEXT_MAX`].
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(TEXT_MAX));
    for character in text.chars() {
        if clean.len() + character.len_utf8() > TEXT_MAX {
            clean.push_str("… (cut)");
            break;
        }
        if character.is_control() {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_stays() {
        assert_eq!(clean("größer als 5"), "größer als 5");
    }

    #[test]
    fn lines_cannot_be_forged_and_length_is_bounded() {
        assert_eq!(clean("a\nERROR b\u{1b}[2J"), "a\\nERROR b\\u{1b}[2J");
        let long = clean(&"ä".repeat(TEXT_MAX));
        assert!(long.ends_with("… (cut)") && long.len() < TEXT_MAX + 16);
    }
}
