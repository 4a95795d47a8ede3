//! Secrets of 32 bytes: wiped when they go, never shown, derived from each other.

use ring::hmac;
use ring::rand::SecureRandom;
use zeroize::{Zeroize, Zeroizing};

use super::base64;

/// A secret. It is boxed, so that moving it leaves no copies behind.
pub(super) struct Secret(Box<Zeroizing<[u8; 32]>>);

impl Secret {
    /// Takes a secret over and wipes where it was.
    pub(super) fn take(bytes: &mut [u8; 32]) -> Secret {
        let secret = Secret(Box::new(Zeroizing::new(*bytes)));
        bytes.zeroize();
        secret
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HKDF-Extract (RFC 5869) with this as the salt: `HMAC(key = self, ikm)`.
    pub(super) fn extract(&self, ikm: &[u8]) -> Secret {
        self.hmac(&[ikm])
    }

    /// `Derive(self, label, context)`: HKDF-Expand to 32 bytes, which is a single HMAC (PROTOCOL.md, *Notation*).
    pub(super) fn derive(&self, label: &str, context: &[u8]) -> Secret {
        self.hmac(&[b"snug/1 ", label.as_bytes(), &[0], context, &[1]])
    }

    fn hmac(&self, parts: &[&[u8]]) -> Secret {
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.as_bytes()));
        for part in parts {
            mac.update(part);
        }
        let mut bytes = [0; 32];
        // HMAC-SHA256 has 32 bytes.
        bytes.copy_from_slice(mac.sign().as_ref());
        Secret::take(&mut bytes)
    }
}

/// A server-wide pre-shared key: 32 random bytes, made by the daemon and kept in a file. Not a passphrase: either
/// side of a handshake could be used to guess one.
pub struct Psk(Secret);

impl Psk {
    /// Makes a new key.
    ///
    /// # Errors
    /// `None` if the random source fails.
    pub fn generate(random: &dyn SecureRandom) -> Option<Psk> {
        let mut bytes = [0; 32];
        random.fill(&mut bytes).ok()?;
        Some(Psk(Secret::take(&mut bytes)))
    }

    /// Reads a key as [`Psk::reveal`] writes it.
    ///
    /// # Errors
    /// `None` if it is not canonical base64 of 32 bytes.
    pub fn parse(text: &str) -> Option<Psk> {
        let mut bytes = Zeroizing::new(base64::decode::<32>(text)?);
        Some(Psk(Secret::take(&mut bytes)))
    }

    /// Writes the key out, for the file it is kept in. The copy is wiped when it goes.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(base64::encode_string(self.0.as_bytes()))
    }

    /// What both hellos name it by: the first 8 bytes of a derived value, in hexadecimal. It tells nothing about the
    /// key.
    pub fn id(&self) -> String {
        let id = self.0.derive("psk id", b"");
        id.as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.0
    }
}

impl Clone for Psk {
    fn clone(&self) -> Psk {
        let mut bytes = *self.0.as_bytes();
        Psk(Secret::take(&mut bytes))
    }
}

/// What stands for this one channel, and is the same at both ends: a client signs it to prove its own identity.
pub struct Binding(pub(super) Secret);

impl Binding {
    /// The 32 bytes. Whoever has them can make no envelope, but could have a signature of them replayed nowhere else.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}
