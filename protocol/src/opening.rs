//! The first line decides what a connection is.

/// What the first line of a connection makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// `HELLO …`: the envelope's handshake.
    Hello,
    /// Lines in the clear.
    Plain,
    /// HTTP, or a binary protocol: a web page must not be able to talk to a plain port.
    NotChat,
}

impl Opening {
    /// Judges a connection by its first byte, before a line is complete.
    ///
    /// `None` means that the whole line is needed, for [`Opening::of_line`].
    pub fn of_byte(first: u8) -> Option<Opening> {
        (first < 0x20 && first != b'\n' && first != b'\r').then_some(Opening::NotChat)
    }

    /// Judges a connection by its first line, without the line's end.
    pub fn of_line(line: &str) -> Opening {
        if line == "HELLO" || line.starts_with("HELLO ") {
            return Opening::Hello;
        }
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default();
        let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
        if is_method && words.any(|word| word.starts_with("HTTP/")) {
            return Opening::NotChat;
        }
        Opening::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_decides() {
        for (line, opening) in [
            ("HELLO snug/1 abc", Opening::Hello),
            ("HELLO", Opening::Hello),
            ("HELLOO", Opening::Plain),
            ("hello snug/1", Opening::Plain),
            ("@ref=1 HELLO snug/1", Opening::Plain),
            ("NICK alice", Opening::Plain),
            ("GET / HTTP/1.1", Opening::NotChat),
            ("POST /MSG%20#lobby HTTP/1.0", Opening::NotChat),
            ("", Opening::Plain),
        ] {
            assert_eq!(Opening::of_line(line), opening, "{line:?}");
        }
        assert_eq!(Opening::of_byte(0x16), Some(Opening::NotChat), "a TLS record");
        assert_eq!(Opening::of_byte(b'N'), None);
    }
}
