//! Glob patterns of KEYS, SCAN, CONFIG GET and PSUBSCRIBE.

/// Most comparisons of one match, so that a hostile pattern cannot hold a lane: about 10 ms.
/// A pattern without `*` needs at most its own length; a guess, far above any sensible use.
pub const GLOB_STEPS_MAX: usize = 8 * 1024 * 1024;

/// Whether `pattern` matches all of `text`.
///
/// `*` any bytes, `?` one byte, `[abc]`, `[a-z]`, `[^a]` one byte of (not of) a class, `\x` the byte `x`.
/// `nocase` ignores ASCII case. A class that is not closed ends with the pattern; a range may be given
/// backwards; an escaped byte in a class is compared with case, all as in Redis. A match that would take
/// more than [`GLOB_STEPS_MAX`] comparisons counts as none.
///
/// Source: the behaviour of `stringmatchlen` in Redis 7 `util.c`, without its recursion: of several `*`
/// only the last one passed can need another try, because an earlier one that took more could only leave
/// less for the rest. One difference: `*` repeated matches the empty text.
pub fn glob_match(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let mut rest_pattern = pattern;
    let mut rest_text = text;
    // Behind the last `*` passed, and the text that it has not yet swallowed.
    let mut retry: Option<(&[u8], &[u8])> = None;
    let mut steps_left = GLOB_STEPS_MAX;
    loop {
        if let [b'*', tail @ ..] = rest_pattern {
            if tail.is_empty() {
                return true;
            }
            rest_pattern = tail;
            retry = Some((rest_pattern, rest_text));
            continue;
        }
        let matched = match rest_text.split_first() {
            Some((byte, tail)) => match_one(rest_pattern, *byte, nocase, &mut steps_left)
                .map(|pattern_tail| (pattern_tail, tail)),
            None if rest_pattern.is_empty() => return true,
            // What a star swallows more makes the text only shorter.
            None => return false,
        };
        let (pattern_tail, text_tail) = match (matched, retry) {
            (Some(tails), _) => tails,
            (None, Some((star_pattern, [_, star_text @ ..]))) => {
                retry = Some((star_pattern, star_text));
                (star_pattern, star_text)
            }
            (None, _) => return false,
        };
        if steps_left == 0 {
            return false;
        }
        rest_pattern = pattern_tail;
        rest_text = text_tail;
    }
}

/// Matches one byte against the first element of `pattern`, which is no `*`; returns the rest of it.
fn match_one<'p>(pattern: &'p [u8], byte: u8, nocase: bool, steps_left: &mut usize) -> Option<&'p [u8]> {
    *steps_left = steps_left.saturating_sub(1);
    match pattern {
        [] => None,
        [b'?', tail @ ..] => Some(tail),
        [b'[', tail @ ..] => match_class(tail, byte, nocase, steps_left),
        [b'\\', literal, tail @ ..] | [literal, tail @ ..] => same(*literal, byte, nocase).then_some(tail),
    }
}

/// Matches one byte against a class whose `[` has been read.
fn match_class<'p>(pattern: &'p [u8], byte: u8, nocase: bool, steps_left: &mut usize) -> Option<&'p [u8]> {
    let (negated, mut rest) = match pattern {
        [b'^', tail @ ..] => (true, tail),
        _ => (false, pattern),
    };
    let mut found = false;
    loop {
        *steps_left = steps_left.saturating_sub(1);
        rest = match rest {
            [] => break,
            [b'\\', literal, tail @ ..] => {
                found |= *literal == byte;
                tail
            }
            [b']', tail @ ..] => {
                rest = tail;
                break;
            }
            [low, b'-', high, tail @ ..] => {
                found |= in_range(*low, *high, byte, nocase);
                tail
            }
            [literal, tail @ ..] => {
                found |= same(*literal, byte, nocase);
                tail
            }
        };
    }
    (found != negated).then_some(rest)
}

fn same(literal: u8, byte: u8, nocase: bool) -> bool {
    literal == byte || (nocase && literal.eq_ignore_ascii_case(&byte))
}

fn in_range(low: u8, high: u8, byte: u8, nocase: bool) -> bool {
    // Ordered before the case is folded, as in Redis.
    let (low, high) = (low.min(high), low.max(high));
    if nocase {
        (low.to_ascii_lowercase()..=high.to_ascii_lowercase()).contains(&byte.to_ascii_lowercase())
    } else {
        (low..=high).contains(&byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    #[test]
    fn matches_as_redis_does() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*a", "banana", true),
            ("*an?", "banana", true),
            ("*an?", "bananas", false),
            ("*na*na", "banana", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h[a-b]llo", "hcllo", false),
            ("[a-]", "]", true),
            ("[a-]", "-", false),
            ("[abc", "c", true),
            ("[abc", "d", false),
            ("[", "a", false),
            ("[^", "a", true),
            ("[]", "]", false),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\", "\\", true),
            ("*\\", "a\\", true),
            ("a?", "a", false),
            ("plant*:temp", "plant1:temp", true),
            ("plant*:temp", "plant1:temps", false),
        ];
        for (pattern, text, expected) in cases {
            let got = glob_match(pattern.as_bytes(), text.as_bytes(), false);
            assert_eq!(got, *expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn case_is_ignored_on_request() {
        assert!(glob_match(b"MAX*", b"maxmemory", true));
        assert!(!glob_match(b"MAX*", b"maxmemory", false));
        assert!(glob_match(b"[A-C]x", b"bX", true));
        assert!(!glob_match(b"[\\A]", b"a", true));
    }

    #[test]
    fn hostile_pattern_ends_soon() {
        let pattern = b"*a".repeat(5_000);
        let mut text = b"a".repeat(10_000_000);
        text.push(b'b');
        let start = Instant::now();
        assert!(!glob_match(&[&pattern[..], b"c"].concat(), &text, false));
        let class = [&b"*["[..], &b"x".repeat(100_000), b"]"].concat();
        assert!(!glob_match(&class, &text, false));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    /// The textbook definition, exponential but evidently right.
    fn reference(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| reference(rest, &text[taken..])),
            (_, []) => false,
            ([b'?', rest @ ..], [_, tail @ ..]) => reference(rest, tail),
            ([literal, rest @ ..], [byte, tail @ ..]) => literal == byte && reference(rest, tail),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab?*]{0,8}", text in "[ab]{0,10}") {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(glob_match(pattern, text, false), reference(pattern, text));
        }

        #[test]
        fn any_bytes_end(
            pattern in prop::collection::vec(prop::sample::select(&b"*?[]^-\\ab"[..]), 0..20),
            text in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            glob_match(&pattern, &text, true);
            prop_assert!(glob_match(b"*", &text, false));
        }
    }
}
