//! Patterns for the parts of a reply that change from run to run.

/// Whether `pattern` describes the whole of `text`.
///
/// Everything stands for itself except `<any>` (any text, also none), `<int>` (an integer), `<hex>` (one or
/// more lower-case hex digits), `<a|b|c>` (one of them) and `<1..5>` (an integer from 1 to 5, both included).
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some(start) = pattern.find('<') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(&pattern[..start]) else {
        return false;
    };
    let end = start
        + pattern[start..]
            .find('>')
            .unwrap_or_else(|| panic!("`<` without `>` in {pattern}"));
    let (hole, after) = (&pattern[start + 1..end], &pattern[end + 1..]);
    let cuts = (0..=rest.len()).filter(|&cut| rest.is_char_boundary(cut));
    cuts.rev()
        .any(|cut| fits(hole, &rest[..cut]) && matches(after, &rest[cut..]))
}

fn fits(hole: &str, text: &str) -> bool {
    if hole == "any" {
        return true;
    }
    if hole == "int" {
        return text.parse::<i64>().is_ok();
    }
    if hole == "hex" {
        return !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    }
    if let Some((low, high)) = hole.split_once("..") {
        let bounds = (low.parse::<i64>(), high.parse::<i64>());
        let (Ok(low), Ok(high)) = bounds else {
            panic!("bounds of <{hole}>")
        };
        return text
            .parse::<i64>()
            .is_ok_and(|number| (low..=high).contains(&number));
    }
    hole.split('|').any(|choice| choice == text)
}
