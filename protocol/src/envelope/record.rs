//! Envelopes: one sealed record per line (PROTOCOL.md, *Envelopes*).

use ring::aead::{
    AES_256_GCM, Aad, BoundKey, NONCE_LEN, Nonce, NonceSequence, OpeningKey, SealingKey, UnboundKey,
};
use ring::error::Unspecified;
use zeroize::Zeroize;

use super::secret::Secret;
use super::{LINE_OPEN, OpenError, PAYLOAD, RECORDS_PER_KEY, SealError, base64};

/// What was in an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// One or more whole protocol lines, each with its LF.
    Lines(String),
    /// The bytes that the line before announced.
    Bytes(Vec<u8>),
    /// The sender goes on with a new key. Nothing to do.
    KeyUpdated,
    /// The sender says nothing more, for this reason, which may be empty.
    Closed(String),
}

/// How many zero bytes hide a payload's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// None: for bytes, whose length was announced anyway.
    None,
    /// To the next multiple of 128 up to 1 KiB, then Padmé (at most 12 % more): for lines.
    Buckets,
    /// To so many bytes, if it is not longer already.
    To(usize),
}

impl Padding {
    /// The padded length of an inner text of `length` bytes.
    fn apply(self, length: usize) -> usize {
        let padded = match self {
            Padding::None => length,
            Padding::To(size) => size.max(length),
            Padding::Buckets if length <= 1_024 => length.div_ceil(128) * 128,
            Padding::Buckets => padme(length),
        };
        padded.min(PAYLOAD + 1)
    }
}

/// Padmé: leaves only so many leading bits of the length as its exponent has (Nikitin et al., PETS 2019).
fn padme(length: usize) -> usize {
    let exponent = length.ilog2();
    let low_bits = exponent - (exponent.ilog2() + 1);
    let mask = (1usize << low_bits) - 1;
    (length + mask) & !mask
}

/// A record's type: the byte behind its payload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lines = b'L' as isize,
    Bytes = b'B' as isize,
    KeyUpdate = b'K' as isize,
    Close = b'X' as isize,
}

/// Nonces of one key, in order: the iv with a counter in its last 8 bytes.
struct Counter {
    iv: [u8; NONCE_LEN],
    next: u64,
}

impl NonceSequence for Counter {
    fn advance(&mut self) -> Result<Nonce, Unspecified> {
        if self.next >= RECORDS_PER_KEY {
            return Err(Unspecified);
        }
        let mut nonce = self.iv;
        for (byte, counter) in nonce[4..].iter_mut().zip(self.next.to_be_bytes()) {
            *byte ^= counter;
        }
        self.next += 1;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.iv.zeroize();
    }
}

/// The key of one direction and how it goes on.
struct Keyed<K> {
    traffic: Secret,
    key: K,
    /// Records under this key so far.
    count: u64,
}

impl<K: BoundKey<Counter>> Keyed<K> {
    fn new(traffic: Secret) -> Keyed<K> {
        let key = bind(&traffic);
        Keyed { traffic, key, count: 0 }
    }

    /// Goes on with the next key; the one before cannot be found from it.
    fn update(&mut self) {
        self.traffic = self.traffic.derive("rekey", b"");
        self.key = bind(&self.traffic);
        self.count = 0;
    }
}

fn bind<K: BoundKey<Counter>>(traffic: &Secret) -> K {
    let key = traffic.derive("key", b"");
    let iv = traffic.derive("iv", b"");
    let mut counter = Counter { iv: [0; NONCE_LEN], next: 0 };
    counter.iv.copy_from_slice(&iv.as_bytes()[..NONCE_LEN]);
    let unbound = UnboundKey::new(&AES_256_GCM, key.as_bytes()).expect("an AES-256 key has 32 bytes");
    K::new(unbound, counter)
}

/// Seals one direction of a channel.
pub struct Sealer {
    keyed: Keyed<SealingKey<Counter>>,
    is_closed: bool,
}

impl Sealer {
    pub(super) fn new(traffic: Secret) -> Sealer {
        Sealer { keyed: Keyed::new(traffic), is_closed: false }
    }

    /// Appends one envelope with whole lines, each with its LF, and no NUL or CR in them: at most
    /// [`PAYLOAD`] bytes.
    ///
    /// # Errors
    /// [`SealError`]; nothing is appended.
    pub fn seal_lines(&mut self, lines: &str, padding: Padding, out: &mut Vec<u8>) -> Result<(), SealError> {
        if !is_lines(lines.as_bytes()) {
            return Err(SealError::Payload);
        }
        self.seal(Kind::Lines, lines.as_bytes(), padding, &mut Vec::new(), out)
    }

    /// The same, for lines of which this is known. The envelope is made in `inner`, whose former contents go.
    pub(crate) fn seal_known_lines(
        &mut self,
        lines: &[u8],
        padding: Padding,
        inner: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        debug_assert!(std::str::from_utf8(lines).is_ok() && is_lines(lines), "{lines:?}");
        self.seal(Kind::Lines, lines, padding, inner, out)
    }

    /// Appends one envelope with bytes: exactly those that the line before announced.
    ///
    /// # Errors
    /// [`SealError`]; nothing is appended.
    pub fn seal_bytes(&mut self, bytes: &[u8], padding: Padding, out: &mut Vec<u8>) -> Result<(), SealError> {
        self.seal(Kind::Bytes, bytes, padding, &mut Vec::new(), out)
    }

    /// The same without padding, made in `inner`, whose former contents go.
    pub(crate) fn seal_known_bytes(
        &mut self,
        bytes: &[u8],
        inner: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        self.seal(Kind::Bytes, bytes, Padding::None, inner, out)
    }

    /// Appends a key update and goes on with the next key. Every key is updated after 2^20 records without being
    /// told; a live connection should do it every hour as well.
    ///
    /// # Errors
    /// [`SealError::Closed`].
    pub fn update_key(&mut self, out: &mut Vec<u8>) -> Result<(), SealError> {
        if self.is_closed {
            return Err(SealError::Closed);
        }
        self.append(Kind::KeyUpdate, b"", Padding::None, &mut Vec::new(), out)?;
        self.keyed.update();
        Ok(())
    }

    /// Appends the end of this direction. Nothing can be sealed after it.
    ///
    /// # Errors
    /// [`SealError`]; the reason is too long, or it was closed before.
    pub fn close(&mut self, reason: &str, out: &mut Vec<u8>) -> Result<(), SealError> {
        self.seal(Kind::Close, reason.as_bytes(), Padding::None, &mut Vec::new(), out)?;
        self.is_closed = true;
        Ok(())
    }

    fn seal(
        &mut self,
        kind: Kind,
        payload: &[u8],
        padding: Padding,
        inner: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        if self.is_closed {
            return Err(SealError::Closed);
        }
        if payload.len() > PAYLOAD {
            return Err(SealError::Payload);
        }
        // The last record of a key is its update, also before a close.
        if self.keyed.count + 1 >= RECORDS_PER_KEY {
            self.update_key(out)?;
        }
        self.append(kind, payload, padding, inner, out)
    }

    fn append(
        &mut self,
        kind: Kind,
        payload: &[u8],
        padding: Padding,
        inner: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        inner.clear();
        inner.reserve(padding.apply(payload.len() + 1) + AES_256_GCM.tag_len());
        inner.extend_from_slice(payload);
        inner.push(kind as u8);
        inner.resize(padding.apply(inner.len()), 0);
        self.keyed.key.seal_in_place_append_tag(Aad::empty(), inner).map_err(|_| SealError::Closed)?;
        self.keyed.count += 1;
        base64::encode(inner, out);
        out.push(b'\n');
        Ok(())
    }
}

/// Opens one direction of a channel. After a failure, and after a close, it opens nothing more.
pub struct Opener {
    keyed: Keyed<OpeningKey<Counter>>,
    is_over: bool,
}

impl Opener {
    pub(super) fn new(traffic: Secret) -> Opener {
        Opener { keyed: Keyed::new(traffic), is_over: false }
    }

    /// Opens an envelope, given without its LF.
    ///
    /// # Errors
    /// [`OpenError`], for whatever reason; the connection has to end.
    pub fn open(&mut self, line: &str) -> Result<Opened, OpenError> {
        if self.is_over {
            return Err(OpenError);
        }
        let opened = self.try_open(line);
        self.is_over = matches!(opened, None | Some(Opened::Closed(_)));
        opened.ok_or(OpenError)
    }

    fn try_open(&mut self, line: &str) -> Option<Opened> {
        if line.len() > LINE_OPEN || self.keyed.count >= RECORDS_PER_KEY {
            return None;
        }
        let mut inner = Vec::with_capacity(line.len() / 4 * 3);
        base64::decode_into(line, &mut inner)?;
        let length = self.keyed.key.open_in_place(Aad::empty(), &mut inner).ok()?.len();
        self.keyed.count += 1;
        inner.truncate(length);
        // The last record of a key has to be its update, or the end.
        let is_last = self.keyed.count == RECORDS_PER_KEY;
        let opened = parse_inner(inner)?;
        match opened {
            Opened::KeyUpdated => self.keyed.update(),
            Opened::Closed(_) => {}
            _ if is_last => return None,
            _ => {}
        }
        Some(opened)
    }
}

/// Takes `payload || type || zeros` apart.
pub(super) fn parse_inner(mut inner: Vec<u8>) -> Option<Opened> {
    if inner.len() > PAYLOAD + 1 {
        return None;
    }
    let type_at = inner.iter().rposition(|&byte| byte != 0)?;
    let kind = inner[type_at];
    inner.truncate(type_at);
    match kind {
        b'L' if is_lines(&inner) => Some(Opened::Lines(String::from_utf8(inner).ok()?)),
        b'B' => Some(Opened::Bytes(inner)),
        b'K' if inner.is_empty() => Some(Opened::KeyUpdated),
        b'X' => Some(Opened::Closed(String::from_utf8(inner).ok()?)),
        _ => None,
    }
}

/// Whether bytes are whole lines without NUL and CR. UTF-8 is looked at elsewhere.
fn is_lines(bytes: &[u8]) -> bool {
    // Folding without an early end lets the compiler look at many bytes at a time: a check byte by byte costs more
    // than the encryption.
    let has_bad = bytes.iter().fold(false, |bad, &byte| bad | (byte == 0) | (byte == b'\r'));
    bytes.last() == Some(&b'\n') && !has_bad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_hides_lengths_and_costs_little() {
        for (length, padded) in
            [(1, 128), (128, 128), (129, 256), (1_024, 1_024), (1_025, 1_088), (16_000, 16_384)]
        {
            assert_eq!(Padding::Buckets.apply(length), padded, "{length}");
        }
        for length in 1..=PAYLOAD + 1 {
            let padded = Padding::Buckets.apply(length);
            assert!((length..=PAYLOAD + 1).contains(&padded));
            assert!(length < 1_024 || padded as f64 <= length as f64 * 1.12, "{length}");
        }
    }

    #[test]
    fn an_inner_text_is_strict() {
        let parse = |bytes: &[u8]| parse_inner(bytes.to_vec());
        assert_eq!(parse(b"PING\nL\0\0"), Some(Opened::Lines("PING\n".to_owned())));
        assert_eq!(parse(b"\0\x01\0B"), Some(Opened::Bytes(vec![0, 1, 0])));
        assert_eq!(parse(b"K\0"), Some(Opened::KeyUpdated));
        assert_eq!(parse(b"X"), Some(Opened::Closed(String::new())));
        for bad in
            [&b""[..], b"\0\0", b"PINGL", b"L", b"P\r\nL", b"P\0\nL", b"\xff\nL", b"xK", b"Q", b"\xffX"]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        assert_eq!(parse_inner(vec![b'B'; PAYLOAD + 2]), None);
    }

    fn pair() -> (Sealer, Opener) {
        let secret = || Secret::take(&mut [7; 32]);
        (Sealer::new(secret()), Opener::new(secret()))
    }

    fn line(out: &[u8]) -> &str {
        std::str::from_utf8(out).expect("ASCII").strip_suffix('\n').expect("a line")
    }

    #[test]
    fn a_key_is_updated_at_its_limit_and_a_record_past_it_is_refused() {
        let (mut sealer, mut opener) = pair();
        // As if nearly all of the key's records had been made.
        let mut skip = Counter { iv: [0; NONCE_LEN], next: RECORDS_PER_KEY - 2 };
        skip.iv.copy_from_slice(&sealer.keyed.traffic.derive("iv", b"").as_bytes()[..NONCE_LEN]);
        let key = sealer.keyed.traffic.derive("key", b"");
        let unbound = || UnboundKey::new(&AES_256_GCM, key.as_bytes()).expect("a key");
        let counter = || Counter { iv: skip.iv, next: skip.next };
        sealer.keyed.key = SealingKey::new(unbound(), counter());
        sealer.keyed.count = RECORDS_PER_KEY - 2;
        opener.keyed.key = OpeningKey::new(unbound(), counter());
        opener.keyed.count = RECORDS_PER_KEY - 2;

        let mut out = Vec::new();
        sealer.seal_lines("one\n", Padding::None, &mut out).expect("sealed");
        sealer.seal_lines("two\n", Padding::None, &mut out).expect("sealed");
        let text = String::from_utf8(out).expect("ASCII");
        let opened: Vec<Opened> = text.lines().map(|line| opener.open(line).expect("opened")).collect();
        let expected = ["one\n", "two\n"].map(|text| Opened::Lines(text.to_owned()));
        assert_eq!(opened, [expected[0].clone(), Opened::KeyUpdated, expected[1].clone()]);

        // A sender that does not care: its last record is no update.
        let (_, mut opener) = pair();
        opener.keyed.key = OpeningKey::new(unbound(), Counter { iv: skip.iv, next: RECORDS_PER_KEY - 1 });
        opener.keyed.count = RECORDS_PER_KEY - 1;
        let mut careless = SealingKey::new(unbound(), Counter { iv: skip.iv, next: RECORDS_PER_KEY - 1 });
        let mut inner = b"three\nL".to_vec();
        careless.seal_in_place_append_tag(Aad::empty(), &mut inner).expect("sealed");
        assert_eq!(opener.open(&base64::encode_string(&inner)), Err(OpenError));
    }

    #[test]
    fn replay_reorder_and_loss_are_fatal_and_nothing_opens_after() {
        let seal = || {
            let (mut sealer, opener) = pair();
            let lines: Vec<String> = (0..3)
                .map(|n| {
                    let mut out = Vec::new();
                    sealer.seal_lines(&format!("{n}\n"), Padding::Buckets, &mut out).expect("sealed");
                    line(&out).to_owned()
                })
                .collect();
            (lines, opener)
        };
        for order in [&[0, 0][..], &[1], &[0, 2]] {
            let (lines, mut opener) = seal();
            let (last, before) = order.split_last().expect("an order");
            for &at in before {
                assert!(opener.open(&lines[at]).is_ok());
            }
            assert_eq!(opener.open(&lines[*last]), Err(OpenError), "{order:?}");
            assert_eq!(opener.open(&lines[1]), Err(OpenError), "use after an error");
        }
    }

    #[test]
    fn after_a_close_nothing_is_sealed_or_opened() {
        let (mut sealer, mut opener) = pair();
        let mut out = Vec::new();
        sealer.close("bye", &mut out).expect("closed");
        let closed = out.clone();
        assert_eq!(sealer.seal_lines("x\n", Padding::None, &mut out), Err(SealError::Closed));
        assert_eq!(sealer.update_key(&mut out), Err(SealError::Closed));
        assert_eq!(out, closed);
        assert_eq!(opener.open(line(&closed)), Ok(Opened::Closed("bye".to_owned())));
        assert_eq!(opener.open(line(&closed)), Err(OpenError));
    }

    #[test]
    fn a_payload_that_does_not_fit_is_refused_and_changes_nothing() {
        let (mut sealer, mut opener) = pair();
        let mut out = Vec::new();
        for bad in ["", "no end", "a\r\n", "a\0\n"] {
            assert_eq!(sealer.seal_lines(bad, Padding::None, &mut out), Err(SealError::Payload), "{bad:?}");
        }
        assert_eq!(sealer.seal_bytes(&[0; PAYLOAD + 1], Padding::None, &mut out), Err(SealError::Payload));
        assert!(out.is_empty());
        sealer.seal_bytes(&[0; PAYLOAD], Padding::None, &mut out).expect("sealed");
        assert_eq!(line(&out).len(), LINE_OPEN);
        assert_eq!(opener.open(line(&out)), Ok(Opened::Bytes(vec![0; PAYLOAD])));
    }
}
