//! The `Accept` header, as far as a gateway needs it (RFC 9110, section 12.5.1).
//!
//! Always true: no header makes more than [`MAX_CHOICES`] choices, and one that
//! cannot be read is passed over, as if it were a type nobody knows.

/// Choices read of a request; browsers send eight.
const MAX_CHOICES: usize = 32;

/// One media type that the client would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct Choice {
    /// Type and subtype, in lower case.
    pub(in crate::api) media: String,
    /// Its parameters but `q`, names in lower case.
    pub(super) parameters: Vec<(String, String)>,
    /// How much it is wanted, in thousandths.
    quality: u16,
}

impl Choice {
    /// The value of the parameter `name`.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Whether it stands for any type of the kind a gateway has.
    pub(super) fn is_wildcard(&self) -> bool {
        self.media == "*/*" || self.media == "application/*"
    }
}

/// What the headers `values` say would be taken, most wanted first; equally
/// wanted ones in their own order.
pub(in crate::api) fn choices<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<Choice> {
    let mut choices: Vec<_> = values
        .into_iter()
        .flat_map(|value| split(value, ','))
        .filter_map(read)
        .take(MAX_CHOICES)
        .filter(|choice| choice.quality > 0)
        .collect();
    choices.sort_by_key(|choice| std::cmp::Reverse(choice.quality));
    choices
}

fn read(text: &str) -> Option<Choice> {
    let mut parts = split(text, ';');
    let media = parts.next()?.trim().to_ascii_lowercase();
    media.split_once('/')?;
    let mut choice = Choice {
        media,
        parameters: Vec::new(),
        quality: 1_000,
    };
    for part in parts {
        let Some((name, value)) = part.split_once('=') else {
            continue;
        };
        let name = name.trim().to_ascii_lowercase();
        let value = value.trim().trim_matches('"').to_owned();
        if name == "q" {
            choice.quality = quality(&value)?;
        } else {
            choice.parameters.push((name, value));
        }
    }
    Some(choice)
}

/// `0.5` as 500: at most one digit before the point and three behind it.
fn quality(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let whole: u16 = match whole {
        "0" | "" => 0,
        "1" => 1_000,
        _ => return None,
    };
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    (digits && whole + thousandths <= 1_000).then_some(whole + thousandths)
}

/// Splits at `separator`, where it does not stand between quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medias(value: &str) -> Vec<String> {
        let choices = choices([value]);
        choices.into_iter().map(|choice| choice.media).collect()
    }

    #[test]
    fn the_most_wanted_comes_first_and_the_unwanted_not_at_all() {
        assert_eq!(
            medias("text/html;q=0.1, a/b;q=0.999, */*;q=0, C/D ,e/f;q=1.000"),
            ["c/d", "e/f", "a/b", "text/html"]
        );
        assert_eq!(medias(""), [""; 0]);
    }

    #[test]
    fn parameters_may_be_quoted() {
        let found = choices([r#"application/vnd.ipld.car; Version="1";order=dfs ; dups="a,b;c""#]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].parameter("version"), Some("1"));
        assert_eq!(found[0].parameter("order"), Some("dfs"));
        assert_eq!(found[0].parameter("dups"), Some("a,b;c"));
        assert_eq!(found[0].parameter("q"), None);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        assert_eq!(
            medias("nonsense, a/b;q=2, a/b;q=0.1234, a/b;q=x, c/d"),
            ["c/d"]
        );
        assert_eq!(choices(["a/b,"; 100]).len(), MAX_CHOICES);
    }
}
