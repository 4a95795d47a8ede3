//! From a stream of bytes to lines, in the clear.

use crate::limits;

/// What a [`LineDecoder`] found next.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A line without its end: UTF-8, no control characters but TAB, within the limit.
    Line(&'a str),
    /// A piece of the bytes that [`LineDecoder::expect_bytes`] announced; `last` with the final one.
    Bytes {
        /// The piece.
        piece: &'a [u8],
        /// Whether the announced count is complete with it.
        last: bool,
    },
    /// A line that is refused. The stream goes on behind it unless [`Fault::is_fatal`].
    Fault(Fault),
}

/// Why a line is refused before it is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More bytes than the limit without an LF. Said once; the rest of the line is passed over.
    #[error("the line is longer than {limit} bytes; it was not read")]
    TooLong {
        /// The limit in force, in bytes.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("the line is not UTF-8; it was not read")]
    NotUtf8,
    /// A C0 control other than TAB, DEL, or a C1 control.
    #[error("the line holds a control character; only TAB may stand in a line (a newline in text is \\n)")]
    ControlCharacter,
    /// U+FEFF.
    #[error("the line holds a byte-order mark; send plain UTF-8 without one")]
    ByteOrderMark,
    /// A line that is refused announces bytes, so that nobody can say where the next line begins.
    #[error("a line that cannot be read announces bytes; what follows it cannot be told from lines")]
    BytesLost,
    /// What follows announced bytes is not an LF: the two sides no longer agree where a line begins.
    #[error("the bytes announced with bytes= were not followed by a newline")]
    BytesNotEnded,
}

impl Fault {
    /// Whether the stream has lost its lines, so that the connection has to end.
    pub fn is_fatal(self) -> bool {
        matches!(self, Fault::BytesLost | Fault::BytesNotEnded)
    }
}

/// Cuts a plain stream into lines ended by LF (a CR before it is ignored) and announced bytes.
///
/// It owns memory only for a line whose end has not come yet, at most the limit, and gives it back when the line
/// is done: an idle connection costs no buffer.
///
/// ```
/// use snug_protocol::{Decoded, LineDecoder};
///
/// let mut decoder = LineDecoder::new(4096);
/// let mut input = &b"NICK alice\r\nMSG #lob"[..];
/// assert_eq!(decoder.next(&mut input), Some(Decoded::Line("NICK alice")));
/// assert_eq!(decoder.next(&mut input), None);
/// let mut input = &b"by hi\n"[..];
/// assert_eq!(decoder.next(&mut input), Some(Decoded::Line("MSG #lobby hi")));
/// ```
#[derive(Debug)]
pub struct LineDecoder {
    partial: Vec<u8>,
    limit: usize,
    state: State,
    carriage_return: CarriageReturn,
    had_carriage_return: bool,
}

/// What a CR before the LF is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarriageReturn {
    /// Ignored: people's terminals send it.
    Ignored,
    /// A control character like any other: on a sealed connection there is one spelling of each line.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Gathering a line in `partial`.
    Line,
    /// `partial` holds a line that was handed out and is dropped at the next call.
    Spent,
    /// A line was too long: waiting for its LF.
    PassOver,
    /// So many announced bytes are still to come.
    Bytes(u64),
    /// The LF behind announced bytes is still to come.
    BytesEnd,
}

/// The beginning of a line is so long that its buffer gets the size of the longest line at once.
const LONG: usize = 16 << 10;

impl LineDecoder {
    /// A decoder that takes lines of at most `limit` bytes, counted without their LF or CR LF.
    pub fn new(limit: usize) -> LineDecoder {
        LineDecoder {
            partial: Vec::new(),
            limit,
            state: State::Line,
            carriage_return: CarriageReturn::Ignored,
            had_carriage_return: false,
        }
    }

    /// The same decoder, with another rule for CR.
    pub fn carriage_return(self, carriage_return: CarriageReturn) -> LineDecoder {
        LineDecoder { carriage_return, ..self }
    }

    /// Whether a CR was ignored at the end of the line that was handed out last.
    pub fn had_carriage_return(&self) -> bool {
        self.had_carriage_return
    }

    /// Sets another limit for the lines whose end has not come yet.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Says that `count` bytes and an LF follow the line that was handed out last.
    pub fn expect_bytes(&mut self, count: u64) {
        debug_assert!(count <= limits::BYTES, "the caller refuses larger counts");
        self.release();
        self.state = if count == 0 { State::BytesEnd } else { State::Bytes(count) };
    }

    /// Takes from the front of `input` until something is complete. `None` means that all of `input` was taken
    /// and more is needed.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Option<Decoded<'a>> {
        if self.state == State::Spent {
            self.release();
            self.state = State::Line;
        }
        loop {
            match self.state {
                State::Bytes(left) => return self.bytes(left, input),
                State::BytesEnd => {
                    let (&first, rest) = input.split_first()?;
                    *input = rest;
                    self.state = State::Line;
                    if first != b'\n' {
                        return Some(Decoded::Fault(Fault::BytesNotEnded));
                    }
                }
                State::PassOver => {
                    let end = find_newline(input);
                    *input = end.map_or(&[][..], |at| &input[at + 1..]);
                    end?;
                    self.state = State::Line;
                }
                State::Line | State::Spent => return self.line(input),
            }
        }
    }

    fn line<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Option<Decoded<'a>> {
        // One more than the limit may be a CR that is not part of the line.
        let ceiling = self.limit + 1;
        let Some(end) = find_newline(input) else {
            let piece = std::mem::take(input);
            if self.partial.len() + piece.len() > ceiling {
                self.state = State::PassOver;
                return Some(Decoded::Fault(self.too_long(piece)));
            }
            if self.partial.is_empty() && piece.len() > LONG {
                // It will be longer: once is enough for all of it.
                self.partial.reserve_exact(ceiling);
            }
            self.partial.extend_from_slice(piece);
            return None;
        };
        let head = &input[..end];
        *input = &input[end + 1..];
        if self.partial.len() + head.len() > ceiling {
            return Some(Decoded::Fault(self.too_long(head)));
        }
        let line = if self.partial.is_empty() {
            head
        } else {
            self.partial.extend_from_slice(head);
            self.state = State::Spent;
            &self.partial
        };
        let line = match self.carriage_return {
            CarriageReturn::Ignored => {
                let stripped = line.strip_suffix(b"\r");
                self.had_carriage_return = stripped.is_some();
                stripped.unwrap_or(line)
            }
            CarriageReturn::Refused => line,
        };
        let checked =
            if line.len() > self.limit { Err(Fault::TooLong { limit: self.limit }) } else { check(line) };
        Some(match checked {
            Ok(line) => Decoded::Line(line),
            Err(_) if announces_bytes(line) => Decoded::Fault(Fault::BytesLost),
            Err(fault) => Decoded::Fault(fault),
        })
    }

    /// Judges a line of which `partial` and `piece` are the beginning, and gives the memory back.
    fn too_long(&mut self, piece: &[u8]) -> Fault {
        let missing = limits::LINE_BEFORE_NAME.saturating_sub(self.partial.len()).min(piece.len());
        self.partial.extend_from_slice(&piece[..missing]);
        let lost = announces_bytes(&self.partial);
        self.release();
        if lost { Fault::BytesLost } else { Fault::TooLong { limit: self.limit } }
    }

    fn bytes<'a>(&mut self, left: u64, input: &mut &'a [u8]) -> Option<Decoded<'a>> {
        if input.is_empty() {
            return None;
        }
        let count = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let (piece, rest) = input.split_at(count);
        *input = rest;
        let left = left - count as u64;
        self.state = if left == 0 { State::BytesEnd } else { State::Bytes(left) };
        Some(Decoded::Bytes { piece, last: left == 0 })
    }

    /// Gives the memory of the partial line back.
    fn release(&mut self) {
        self.partial = Vec::new();
    }
}

fn find_newline(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes)
}

/// Whether a line that cannot be read has the tag `bytes`, as far as one can tell.
fn announces_bytes(line: &[u8]) -> bool {
    let Some(tagged) = line.strip_prefix(b"@") else { return false };
    let section = tagged.split(|&b| b == b' ').next().unwrap_or_default();
    section.split(|&b| b == b';').any(|tag| tag.starts_with(b"bytes="))
}

/// Holds a line's bytes against the character rules.
fn check(line: &[u8]) -> Result<&str, Fault> {
    // Folding without an early end lets the compiler check many bytes at a time.
    let control = line.iter().fold(false, |bad, &b| bad | ((b < 0x20) & (b != b'\t')) | (b == 0x7f));
    if control {
        return Err(Fault::ControlCharacter);
    }
    let text = std::str::from_utf8(line).map_err(|_| Fault::NotUtf8)?;
    if !text.is_ascii() {
        if text.contains('\u{feff}') {
            return Err(Fault::ByteOrderMark);
        }
        if text.contains(|c: char| ('\u{80}'..='\u{9f}').contains(&c)) {
            return Err(Fault::ControlCharacter);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes `pieces` one after another into owned results, joining pieces of bytes.
    fn decode(limit: usize, pieces: &[&[u8]]) -> Vec<Result<String, Fault>> {
        let mut decoder = LineDecoder::new(limit);
        let mut found = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(decoded) = decoder.next(&mut piece) {
                match decoded {
                    Decoded::Line(line) => {
                        let count = line.strip_prefix("BYTES ").and_then(|n| n.parse().ok());
                        found.push(Ok(line.to_owned()));
                        if let Some(count) = count {
                            found.push(Ok(String::new()));
                            decoder.expect_bytes(count);
                        }
                    }
                    Decoded::Bytes { piece, .. } => {
                        let joined = found.last_mut().expect("a line came before").as_mut().expect("a line");
                        // Byte by byte: a piece may end within a character.
                        joined.extend(piece.iter().map(|&byte| char::from(byte)));
                    }
                    Decoded::Fault(fault) => found.push(Err(fault)),
                }
            }
        }
        found
    }

    #[test]
    fn each_kind_of_bad_line_has_its_fault_and_the_next_line_is_read() {
        for (bytes, fault) in [
            (&b"a\0b"[..], Fault::ControlCharacter),
            (b"a\x1b[31m", Fault::ControlCharacter),
            (b"a\x7f", Fault::ControlCharacter),
            (b"a\rb", Fault::ControlCharacter),
            ("a\u{85}b".as_bytes(), Fault::ControlCharacter),
            ("\u{feff}NICK".as_bytes(), Fault::ByteOrderMark),
            (b"\xff\xfe", Fault::NotUtf8),
            (b"123456789", Fault::TooLong { limit: 8 }),
            (b"1234567890123", Fault::TooLong { limit: 8 }),
        ] {
            let stream = [bytes, b"\nok\n"].concat();
            assert_eq!(decode(8, &[&stream]), [Err(fault), Ok("ok".to_owned())], "{bytes:?}");
        }
    }

    #[test]
    fn the_limit_counts_neither_lf_nor_cr() {
        let eight = Ok("12345678".to_owned());
        assert_eq!(decode(8, &[b"12345678\n"]), vec![eight.clone()]);
        assert_eq!(decode(8, &[b"12345678\r\n"]), vec![eight.clone()]);
        assert_eq!(decode(8, &[b"12345678", b"\r", b"\n"]), [eight]);
        assert_eq!(decode(8, &[b"12345678", b"9", b"\n"]), [Err(Fault::TooLong { limit: 8 })]);
    }

    #[test]
    fn a_hundred_megabytes_without_newline_hold_no_memory() {
        let mut decoder = LineDecoder::new(limits::LINE);
        let block = vec![b'x'; 1 << 20];
        let mut faults = 0;
        for _ in 0..100 {
            let mut input = &block[..];
            while let Some(decoded) = decoder.next(&mut input) {
                assert_eq!(decoded, Decoded::Fault(Fault::TooLong { limit: limits::LINE }));
                faults += 1;
            }
            assert_eq!(decoder.partial.capacity(), 0);
        }
        assert_eq!(faults, 1);
        assert_eq!(decoder.next(&mut &b"\nPING\n"[..]), Some(Decoded::Line("PING")));
    }

    #[test]
    fn announced_bytes_are_never_read_as_lines() {
        let found = decode(64, &[b"BYTES 9\nSHUTDOWN\n\nPING\n"]);
        assert_eq!(found, ["BYTES 9", "SHUTDOWN\n", "PING"].map(|s| Ok(s.to_owned())));
        assert_eq!(decode(64, &[b"BYTES 0\n\nPING\n"]), ["BYTES 0", "", "PING"].map(|s| Ok(s.to_owned())));
        assert_eq!(decode(64, &[b"BYTES 1\nab"])[2], Err(Fault::BytesNotEnded));
        assert_eq!(decode(64, &[b"@a;bytes=9 X\x01\n"]), [Err(Fault::BytesLost)]);
        assert_eq!(decode(16, &[b"@bytes=9 X", b"01234567890123456789\n"]), [Err(Fault::BytesLost)]);
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same(
            parts in prop::collection::vec("(BYTES [0-9]\n|[a\u{e9}\r\n]|aaaaaaaaaaaa|\u{1})", 0..40),
            cuts in prop::collection::vec(0usize..400, 0..12),
        ) {
            let stream = parts.concat();
            let whole = decode(10, &[stream.as_bytes()]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([stream.len()]) {
                pieces.push(&stream.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(decode(10, &pieces), whole);
        }
    }
}
