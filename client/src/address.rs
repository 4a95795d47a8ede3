//! Addresses of servers.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use snug_protocol::envelope::Fingerprint;

/// The TCP port of a server whose address names no port.
pub const DEFAULT_PORT: u16 = 7684;

/// The address of a server: `host[:port]`, `snug://host[:port]`, `snug://host[:port]/#SHA256:…` or `unix:/path`.
///
/// `Display` leaves the pin out. The result is the name under which [`KnownServers`](crate::KnownServers),
/// [`FileAccounts`](crate::FileAccounts) and [`FileTokens`](crate::FileTokens) remember the server.
///
/// ```
/// use snug_client::{Address, AddressError, DEFAULT_PORT};
///
/// let address: Address = "chat.example".parse()?;
/// assert_eq!(address.to_string(), "chat.example:7684");
/// assert!(matches!(address, Address::Tcp { port: DEFAULT_PORT, pin: None, .. }));
///
/// let pinned: Address = "snug://[::1]:99/#SHA256:AC5jt/3F/vaDC7Lk0pLMswVCtpOd40ZuBPXtjLk285A".parse()?;
/// assert!(matches!(pinned, Address::Tcp { pin: Some(_), .. }));
/// assert_eq!(pinned.to_string(), "[::1]:99");
/// # Ok::<(), AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A server that listens on TCP.
    Tcp {
        /// A host name or a numeric address; IPv6 without its brackets.
        host: String,
        /// The port.
        port: u16,
        /// The fingerprint that the server must have. It overrides a fingerprint that is remembered for the address.
        pin: Option<Fingerprint>,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// The error for a text that is not an address.
///
/// ```
/// use snug_client::Address;
///
/// let error = "http://chat.example".parse::<Address>().unwrap_err();
/// assert_eq!(error.text, "http://chat.example");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no address; allowed are host, host:port, snug://host[:port], snug://host[:port]/#SHA256:… and unix:/path"
)]
pub struct AddressError {
    /// The text that is not an address.
    pub text: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let failed = || AddressError { text: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(failed()) } else { Ok(Address::Unix(path.into())) };
        }
        let mut pin = None;
        let place = match text.strip_prefix("snug://") {
            Some(rest) => {
                let (place, fragment) =
                    rest.split_once('#').map_or((rest, None), |(place, pin)| (place, Some(pin)));
                pin = fragment.map(str::parse).transpose().map_err(|_| failed())?;
                place.strip_suffix('/').unwrap_or(place)
            }
            None => text,
        };
        let (host, port) = split_port(place).ok_or_else(failed)?;
        let is_host = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._:%".contains(c));
        if !is_host {
            return Err(failed());
        }
        Ok(Address::Tcp { host: host.to_owned(), port, pin })
    }
}

/// Splits `host`, `host:port`, `[v6]`, `[v6]:port` and a bare IPv6 address.
fn split_port(place: &str) -> Option<(&str, u16)> {
    let parse = |port: &str| port.parse().ok().filter(|&port| port != 0);
    if let Some(rest) = place.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        return match behind.strip_prefix(':') {
            Some(port) => Some((host, parse(port)?)),
            None => behind.is_empty().then_some((host, DEFAULT_PORT)),
        };
    }
    match place.split_once(':') {
        None => Some((place, DEFAULT_PORT)),
        Some((_, rest)) if rest.contains(':') => Some((place, DEFAULT_PORT)),
        Some((host, port)) => Some((host, parse(port)?)),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("chat.example", "chat.example:7684"),
            ("chat.example:80", "chat.example:80"),
            ("snug://chat.example", "chat.example:7684"),
            ("snug://127.0.0.1:99/", "127.0.0.1:99"),
            ("[::1]:99", "[::1]:99"),
            ("::1", "[::1]:7684"),
            ("unix:/run/snug.sock", "unix:/run/snug.sock"),
        ] {
            let address: Address = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse(), Ok(address));
        }
    }

    #[test]
    fn a_pin_stands_behind_the_address() {
        let pin = format!("SHA256:{}A", "A".repeat(42));
        let address: Address = format!("snug://chat.example/#{pin}").parse().expect("an address");
        let Address::Tcp { pin: Some(read), .. } = &address else { panic!("no pin") };
        assert_eq!(read.to_string(), pin);
        assert_eq!(address.to_string(), "chat.example:7684");
        assert!(format!("snug://chat.example/#{}", &pin[..40]).parse::<Address>().is_err());
        assert!(format!("chat.example#{pin}").parse::<Address>().is_err());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "unix:", "host:", "host:0", "host:99999", "host:x", "http://host", "a b", "[::1", "[::1]x"]
        {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
