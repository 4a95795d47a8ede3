//! The kinds of values in a config file. An error about a value says which values are allowed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A setting that is either `"auto"` or a value.
///
/// ```
/// use std::path::Path;
///
/// use snug_daemon::Config;
/// use snug_daemon::config::Fallback;
///
/// let config = Config::from_toml("data = \"/var/lib/chat\"\n")?;
/// assert_eq!(config.data.as_set().map(|folder| folder.as_path()), Some(Path::new("/var/lib/chat")));
/// assert_eq!(config.listen.unix, Fallback::Auto);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fallback<T> {
    /// `"auto"`: the embedding program decides.
    #[default]
    Auto,
    /// The value that is set.
    Set(T),
}

impl<T> Fallback<T> {
    /// Returns the value, or `None` for [`Fallback::Auto`].
    pub fn as_set(&self) -> Option<&T> {
        match self {
            Fallback::Auto => None,
            Fallback::Set(value) => Some(value),
        }
    }
}

impl<'de> Deserialize<'de> for Fallback<PathBuf> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        Ok(if path.as_os_str() == "auto" { Fallback::Auto } else { Fallback::Set(path) })
    }
}

impl Serialize for Fallback<PathBuf> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Fallback::Auto => serializer.serialize_str("auto"),
            Fallback::Set(path) => path.serialize(serializer),
        }
    }
}

/// The setting that says where plaintext connections are accepted from.
///
/// ```
/// use snug_daemon::Config;
/// use snug_daemon::config::Plaintext;
///
/// assert_eq!(Config::default().listen.plaintext, Plaintext::Loopback);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Plaintext {
    /// `"never"`: from the Unix socket only.
    Never,
    /// `"loopback"`: from this machine.
    Loopback,
    /// `"anywhere"`: from every address. Others can read the messages on their way.
    Anywhere,
}

/// A length of time such as `"500ms"`, `"30s"`, `"5m"`, `"4h"` or `"30d"`: at least `LEAST` milliseconds, at most 10 years.
///
/// ```
/// use snug_daemon::config::Span;
///
/// assert_eq!(Span::<100>::from_millis(90_000).to_string(), "90s");
/// assert_eq!(Span::<100>::from_millis(7).duration().as_millis(), 100); // moved into the bounds
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span<const LEAST: u64>(Duration);

impl<const LEAST: u64> Span<LEAST> {
    /// The longest span: some 10 years.
    const MOST: u64 = 10 * 366 * 24 * 3_600_000;

    /// Returns a span of so many milliseconds, or the nearest one that is within the bounds.
    pub fn from_millis(millis: u64) -> Span<LEAST> {
        Span(Duration::from_millis(millis.clamp(LEAST, Span::<LEAST>::MOST)))
    }

    /// Returns the length of time.
    pub fn duration(self) -> Duration {
        self.0
    }
}

/// The units of a span, the largest last.
const SPAN_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl<'de, const LEAST: u64> Deserialize<'de> for Span<LEAST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer, "a time: \"500ms\", \"30s\", \"5m\", \"4h\" or \"30d\"")?;
        let millis = parse_with_unit(&text, &SPAN_UNITS).ok_or_else(|| {
            D::Error::custom(format!(
                "\"{text}\" is no time; allowed are \"500ms\", \"30s\", \"5m\", \"4h\" or \"30d\""
            ))
        })?;
        if !(LEAST..=Span::<LEAST>::MOST).contains(&millis) {
            return Err(D::Error::custom(format!(
                "\"{text}\" is out of range: at least {LEAST}ms, at most 10 years"
            )));
        }
        Ok(Span(Duration::from_millis(millis)))
    }
}

impl<const LEAST: u64> Serialize for Span<LEAST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<const LEAST: u64> fmt::Display for Span<LEAST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_measure(f, millis, &SPAN_UNITS, "")
    }
}

/// An amount of memory or disk space such as `"64 KiB"` or `"2 GiB"`: at least `LEAST` bytes, at most 1 TiB.
///
/// ```
/// use snug_daemon::config::Size;
///
/// let size: Size<0> = "64 KiB".parse()?;
/// assert_eq!((size.bytes(), size.to_string()), (65_536, "64 KiB".to_owned()));
/// assert!("1 B".parse::<Size<512>>().is_err(), "it is too small");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size<const LEAST: u64>(u64);

impl<const LEAST: u64> Size<LEAST> {
    /// The largest size: 1 TiB.
    const MOST: u64 = 1 << 40;

    /// Returns a size of so many bytes, or the nearest one that is within the bounds.
    pub fn from_bytes(bytes: u64) -> Size<LEAST> {
        Size(bytes.clamp(LEAST, Size::<LEAST>::MOST))
    }

    /// Returns the amount in bytes.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The units of a size, the largest last.
const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl<const LEAST: u64> std::str::FromStr for Size<LEAST> {
    type Err = String;

    fn from_str(text: &str) -> Result<Size<LEAST>, String> {
        let bytes =
            parse_with_unit(text, &SIZE_UNITS).filter(|bytes| (LEAST..=Size::<LEAST>::MOST).contains(bytes));
        bytes.map(Size).ok_or_else(|| {
            format!("allowed are \"64 KiB\", \"1 MiB\" and the like, at least {LEAST} B and at most 1 TiB")
        })
    }
}

impl<'de, const LEAST: u64> Deserialize<'de> for Size<LEAST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer, "a size: \"64 KiB\", \"1 MiB\" or \"2 GiB\"")?;
        let allowed =
            format!("allowed are \"64 KiB\", \"1 MiB\" and the like, at least {LEAST} B and at most 1 TiB");
        match parse_with_unit(&text, &SIZE_UNITS) {
            Some(bytes) if (LEAST..=Size::<LEAST>::MOST).contains(&bytes) => Ok(Size(bytes)),
            Some(_) => Err(D::Error::custom(format!("\"{text}\" is out of range; {allowed}"))),
            None => Err(D::Error::custom(format!("\"{text}\" is no size; {allowed}"))),
        }
    }
}

impl<const LEAST: u64> Serialize for Size<LEAST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<const LEAST: u64> fmt::Display for Size<LEAST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_measure(f, self.0, &SIZE_UNITS, " ")
    }
}

/// A whole number from `MIN` to `MAX`, both included.
pub(super) fn between<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    deserializer: D,
) -> Result<u64, D::Error> {
    struct Between<const MIN: u64, const MAX: u64>;

    impl<const MIN: u64, const MAX: u64> Visitor<'_> for Between<MIN, MAX> {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from {MIN} to {MAX}")
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
            match u64::try_from(value) {
                Ok(value) => self.visit_u64(value),
                Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
            }
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
            if (MIN..=MAX).contains(&value) {
                Ok(value)
            } else {
                Err(E::invalid_value(Unexpected::Unsigned(value), &self))
            }
        }
    }

    deserializer.deserialize_u64(Between::<MIN, MAX>)
}

/// User ids and the accounts that they have.
pub(super) fn users<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<std::collections::BTreeMap<String, String>, D::Error> {
    let users = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
    for (user, name) in &users {
        if user.parse::<u32>().is_err() {
            return Err(D::Error::custom(format!("\"{user}\" is no user id; `id -u` tells one's own")));
        }
        if let Err(error) = snug_protocol::Nick::parse(name) {
            return Err(D::Error::custom(format!("\"{name}\" is no account's name: {error}")));
        }
    }
    Ok(users)
}

/// A folder that has a name.
pub(super) fn data_folder<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fallback<PathBuf>, D::Error> {
    let folder = Fallback::deserialize(deserializer)?;
    if folder == Fallback::Set(PathBuf::new()) {
        return Err(D::Error::custom("the data folder has no name; allowed are a path and \"auto\""));
    }
    Ok(folder)
}

/// The longest path of a socket in bytes (`sun_path` of unix(7), less its NUL).
pub(crate) const SOCKET_PATH: usize = 107;

/// A path that a socket can have, or an empty one.
pub(super) fn socket_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fallback<PathBuf>, D::Error> {
    let path = Fallback::deserialize(deserializer)?;
    if path.as_set().is_some_and(|path| path.as_os_str().len() > SOCKET_PATH) {
        return Err(D::Error::custom(format!(
            "the path has more than {SOCKET_PATH} bytes; choose a shorter one"
        )));
    }
    Ok(path)
}

/// Reads a string, and says what is allowed if it is something else.
fn text<'de, D: Deserializer<'de>>(deserializer: D, allowed: &'static str) -> Result<String, D::Error> {
    struct Text(&'static str);

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
            Ok(value.to_owned())
        }
    }

    deserializer.deserialize_str(Text(allowed))
}

/// Reads a whole number and its unit, with or without a space between. `"0"` needs no unit.
fn parse_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes an amount in the largest unit that takes it whole.
fn write_measure(
    f: &mut fmt::Formatter<'_>,
    amount: u64,
    units: &[(&str, u64)],
    between: &str,
) -> fmt::Result {
    let unit = units.iter().rev().find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor));
    let (name, factor) = unit.unwrap_or(&units[0]);
    write!(f, "{}{between}{name}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_written_as_a_person_would() {
        assert_eq!(Span::<0>::from_millis(14_400_000).to_string(), "4h");
        assert_eq!(Span::<0>::from_millis(1_500).to_string(), "1500ms");
        assert_eq!(Size::<0>::from_bytes(1 << 20).to_string(), "1 MiB");
        assert_eq!(parse_with_unit("64KiB", &SIZE_UNITS), Some(65_536));
        assert_eq!(parse_with_unit("99999999999999999999h", &SPAN_UNITS), None);
        assert_eq!(parse_with_unit("h", &SPAN_UNITS), None);
    }
}
