//! The two hello lines: `HELLO <versions> <share> [options]`.

use super::{AcceptError, LINE_BEFORE_OPEN, VERSION, base64};

/// Maximum number of options. There are three; more make a line expensive that anybody may send.
const OPTIONS: usize = 8;

/// A hello, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello<'a> {
    pub(super) versions: &'a str,
    /// An X25519 public key.
    pub(super) share: [u8; 32],
    /// `name` or `name=value`, each name once.
    options: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Hello<'a> {
    /// Reads a hello without its LF.
    pub(super) fn parse(line: &'a str) -> Result<Hello<'a>, AcceptError> {
        let is_plain = line.len() <= LINE_BEFORE_OPEN && line.bytes().all(|b| (0x20..=0x7e).contains(&b));
        let mut words = line.split(' ');
        if !is_plain || words.next() != Some("HELLO") {
            return Err(AcceptError::Hello);
        }
        let versions = words.next().filter(|versions| !versions.is_empty()).ok_or(AcceptError::Hello)?;
        if !versions.split(',').any(|version| version == VERSION) {
            return Err(AcceptError::Version);
        }
        let share = words.next().and_then(base64::decode::<32>).ok_or(AcceptError::Hello)?;
        let mut options: Vec<(&str, Option<&str>)> = Vec::new();
        for word in words {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let is_known = options.iter().any(|(earlier, _)| *earlier == name);
            if name.is_empty() || is_known || options.len() >= OPTIONS {
                return Err(AcceptError::Hello);
            }
            options.push((name, value));
        }
        Ok(Hello { versions, share, options })
    }

    /// The value of an option that is there. One without `=` has none, and is not what this asks for.
    pub(super) fn option(&self, name: &str) -> Option<&'a str> {
        self.options.iter().find(|(option, _)| *option == name).and_then(|(_, value)| *value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| *option == name)
    }

    pub(super) fn option_names(&self) -> impl Iterator<Item = &'a str> {
        self.options.iter().map(|(name, _)| *name)
    }
}

/// Writes a hello with its LF.
pub(super) fn write(share: &[u8], options: &[(&str, String)]) -> String {
    let mut line = format!("HELLO {VERSION} {}", base64::encode_string(share));
    for (name, value) in options {
        line.push(' ');
        line.push_str(name);
        if !value.is_empty() {
            line.push('=');
            line.push_str(value);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: &str = "2J47rXlDfb7Z+ENBgwT0YP8Fx/6B/kqVd6gEy5Nn/2Y=";

    #[test]
    fn hellos_are_strict() {
        let good = format!("HELLO snug/2,snug/1 {SHARE} psk=ab x-new");
        let hello = Hello::parse(&good).expect("a hello");
        assert_eq!(
            (hello.versions, hello.option("psk"), hello.option("x-new")),
            ("snug/2,snug/1", Some("ab"), None)
        );
        assert!(hello.has("x-new"));
        for (bad, error) in [
            (format!("HELLO snug/2 {SHARE}"), AcceptError::Version),
            (format!("HELLO snug/10 {SHARE}"), AcceptError::Version),
            (format!("HELLO  snug/1 {SHARE}"), AcceptError::Hello),
            (format!("HELLO snug/1 {SHARE} "), AcceptError::Hello),
            (format!("HELLO snug/1 {SHARE} a=1 a=2"), AcceptError::Hello),
            (format!("HELLO snug/1 {SHARE} =1"), AcceptError::Hello),
            (format!("HELLO snug/1 {SHARE}\r"), AcceptError::Hello),
            (format!("HELLO snug/1 {SHARE} \u{fc}"), AcceptError::Hello),
            (format!("hello snug/1 {SHARE}"), AcceptError::Hello),
            ("HELLO snug/1".to_owned(), AcceptError::Hello),
            ("HELLO snug/1 AAAA".to_owned(), AcceptError::Hello),
            (format!("HELLO snug/1 {}", SHARE.trim_end_matches('=')), AcceptError::Hello),
            (format!("HELLO snug/1 {SHARE} x={}", "y".repeat(LINE_BEFORE_OPEN)), AcceptError::Hello),
        ] {
            assert_eq!(Hello::parse(&bad), Err(error), "{bad:?}");
        }
    }
}
