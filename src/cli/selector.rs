//! Labels as kubectl's -l has them, to a selector: `site=home,tier!=test,gpu,!old,zone in (a,b)`.

use kube::core::{Expression, Selector};
use std::collections::BTreeSet;

/// Reads a selector.
///
/// # Errors
/// A sentence that says which part is none.
pub fn parse(text: &str) -> Result<Selector, String> {
    requirements(text).into_iter().map(requirement).collect()
}

/// The parts between commas that no parenthesis holds.
fn requirements(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(text: &str) -> Result<Expression, String> {
    let text = text.trim();
    let wrong = || {
        format!(
            "{text:?} is not a label selector: write key=value, key!=value, key, !key, key in (a,b) or key notin (a,b)"
        )
    };
    let key = |text: &str| word(text, "./").filter(|key| !key.is_empty()).ok_or_else(wrong);
    let value = |text: &str| word(text, ".").ok_or_else(wrong);
    if let Some((left, right)) = text.split_once('(') {
        let list = right.strip_suffix(')').ok_or_else(wrong)?;
        let values = list.split(',').map(value).collect::<Result<BTreeSet<_>, _>>()?;
        let (name, operator) = left.trim().rsplit_once(char::is_whitespace).ok_or_else(wrong)?;
        return match operator {
            "in" => Ok(Expression::In(key(name)?, values)),
            "notin" => Ok(Expression::NotIn(key(name)?, values)),
            _ => Err(wrong()),
        };
    }
    if let Some((left, right)) = text.split_once("!=") {
        return Ok(Expression::NotEqual(key(left)?, value(right)?));
    }
    if let Some((left, right)) = text.split_once('=') {
        return Ok(Expression::Equal(key(left)?, value(right.strip_prefix('=').unwrap_or(right))?));
    }
    match text.strip_prefix('!') {
        Some(absent) => Ok(Expression::DoesNotExist(key(absent)?)),
        None => Ok(Expression::Exists(key(text)?)),
    }
}

/// One word of letters, digits, `-`, `_` and what else is allowed.
fn word(text: &str, also: &str) -> Option<String> {
    let text = text.trim();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter) || also.contains(letter);
    text.chars().all(plain).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::SelectorExt;

    #[test]
    fn labels_are_selected_as_kubectl_selects_them() {
        let labels = [("site", "home"), ("dockseal.dev/tier", "test")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        for (text, selected) in [
            ("site=home", true),
            ("site==home", true),
            ("site = home , dockseal.dev/tier=test", true),
            ("site=home,dockseal.dev/tier!=test", false),
            ("site!=away,gpu!=yes", true),
            ("site", true),
            ("!site", false),
            ("!gpu", true),
            ("site in (away, home)", true),
            ("site notin (away,home),gpu", false),
            ("gpu=", false),
        ] {
            assert_eq!(parse(text).expect(text).matches(&labels), selected, "{text}");
        }
        for wrong in ["", "=x", "site=home,", "site in away", "site of (x)", "site=a b", "site in (a", "a=b=c"] {
            let said = parse(wrong).expect_err(wrong);
            assert!(said.contains("is not a label selector: write key=value"), "{said}");
        }
    }
}
