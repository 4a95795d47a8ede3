//! Long-term keys: Ed25519, and how people compare them.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::digest;
use ring::rand::SecureRandom;
use ring::signature::{self, Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

/// A server's key. It has no `Debug`.
pub struct ServerKey {
    pair: Ed25519KeyPair,
    seed: Box<Zeroizing<[u8; 32]>>,
}

/// A public key that is not one of the weak ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

/// `SHA256:` and unpadded base64 of the SHA-256 of a public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// Why bytes or a text are no key or fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A key of small order: anybody could sign for it.
    #[error("the key is weak")]
    Weak,
    /// Not a key or a fingerprint at all.
    #[error("a fingerprint is SHA256: and 43 characters of base64")]
    Malformed,
    /// The random source failed.
    #[error("the system's random source failed")]
    Random,
}

impl ServerKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`IdentityError::Random`].
    pub fn generate(random: &dyn SecureRandom) -> Result<ServerKey, IdentityError> {
        let mut seed = Zeroizing::new([0; 32]);
        random.fill(&mut *seed).map_err(|_| IdentityError::Random)?;
        ServerKey::from_seed(&seed)
    }

    /// The key of a seed.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`] if ring does not take it, which it always does.
    pub fn from_seed(seed: &[u8; 32]) -> Result<ServerKey, IdentityError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| IdentityError::Malformed)?;
        Ok(ServerKey { pair, seed: Box::new(Zeroizing::new(*seed)) })
    }

    /// The seed, for the file it is kept in: whoever has it is this server.
    pub fn reveal_seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// What others know it by.
    pub fn public_key(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair.sign(message).as_ref());
        bytes
    }
}

/// A key with which somebody logs in to accounts. It has no `Debug`.
pub struct ClientKey(ServerKey);

/// What a login's signature covers before the channel: it can be no other message of snug, and none of SSH.
const CLIENT_SIGNATURE: &[u8] = b"snug/1 client signature\0";

impl ClientKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`IdentityError::Random`].
    pub fn generate(random: &dyn SecureRandom) -> Result<ClientKey, IdentityError> {
        ServerKey::generate(random).map(ClientKey)
    }

    /// The key of a seed.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`] if ring does not take it, which it always does.
    pub fn from_seed(seed: &[u8; 32]) -> Result<ClientKey, IdentityError> {
        ServerKey::from_seed(seed).map(ClientKey)
    }

    /// The seed, for the file it is kept in: whoever has it is its owner.
    pub fn reveal_seed(&self) -> &[u8; 32] {
        self.0.reveal_seed()
    }

    /// What accounts know it by.
    pub fn public_key(&self) -> PublicKey {
        self.0.public_key()
    }

    /// The signature that logs in to an account over one channel, and over no other. `account` is the name as it will
    /// stand on the line.
    pub fn sign_login(&self, binding: &[u8; 32], account: &str) -> [u8; 64] {
        self.0.sign(&login_message(binding, &self.public_key(), account))
    }
}

fn login_message(binding: &[u8; 32], key: &PublicKey, account: &str) -> Vec<u8> {
    [CLIENT_SIGNATURE, binding, &key.0, account.as_bytes()].concat()
}

impl PublicKey {
    /// Whether a signature logs in to an account with this key over the channel with this binding. `account` is the
    /// name as it stood on the line.
    pub fn verifies_login(&self, binding: &[u8; 32], account: &str, signature: &[u8; 64]) -> bool {
        self.verifies(&login_message(binding, self, account), signature)
    }

    /// The seven encodings of points of small order, with the top bit cleared (PROTOCOL.md, *Identities*).
    const WEAK: [[u8; 32]; 7] = [
        [0; 32],
        first(0x01, 0x00, 0x00),
        first(0xec, 0xff, 0x7f),
        first(0xed, 0xff, 0x7f),
        first(0xee, 0xff, 0x7f),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];

    /// Takes a key of an account or a server.
    ///
    /// # Errors
    /// [`IdentityError::Weak`] for a point of small order.
    pub fn new(bytes: [u8; 32]) -> Result<PublicKey, IdentityError> {
        let mut cleared = bytes;
        cleared[31] &= 0x7f;
        if PublicKey::WEAK.contains(&cleared) {
            return Err(IdentityError::Weak);
        }
        Ok(PublicKey(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What people compare.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, &self.0).as_ref());
        Fingerprint(bytes)
    }

    /// Whether `signature` is this key's, over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        signature::UnparsedPublicKey::new(&signature::ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// A first byte, thirty equal ones, a last byte.
const fn first(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Fingerprint, IdentityError> {
        let base64 = text.strip_prefix("SHA256:").ok_or(IdentityError::Malformed)?;
        let bytes = STANDARD_NO_PAD.decode(base64).map_err(|_| IdentityError::Malformed)?;
        Ok(Fingerprint(bytes.try_into().map_err(|_| IdentityError::Malformed)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fourteen_weak_encodings_are_refused() {
        for weak in PublicKey::WEAK {
            for top in [0x00, 0x80] {
                let mut bytes = weak;
                bytes[31] |= top;
                assert_eq!(PublicKey::new(bytes), Err(IdentityError::Weak), "{bytes:02x?}");
            }
        }
    }

    /// Why the list is there: ring takes a signature of nobody under a key of small order. Were one of the seven
    /// written down wrongly, this would find it, because then ring would not know it as a point of small order.
    #[test]
    fn the_weak_keys_are_those_for_which_anybody_can_sign() {
        for weak in PublicKey::WEAK {
            let forged = (0u32..200).any(|attempt| {
                // R = the neutral element, s = 0: valid if H(R, A, M) * A is neutral, for one in eight messages.
                let mut signature = [0; 64];
                signature[0] = 1;
                PublicKey(weak).verifies(&attempt.to_le_bytes(), &signature)
            });
            // Encodings that are not reduced (ed.., ee..) are refused by ring itself or taken as their reduced twin.
            let is_reduced = weak[0] < 0xed || weak[31] != 0x7f || weak[1] != 0xff;
            assert!(forged || !is_reduced, "{weak:02x?}");
        }
    }

    #[test]
    fn fingerprints_read_back() {
        let key = ServerKey::from_seed(&[7; 32]).expect("a key").public_key();
        let text = key.fingerprint().to_string();
        assert_eq!(text.len(), 50);
        assert_eq!(text.parse(), Ok(key.fingerprint()));
        for bad in ["", "SHA256:", "sha256:x", &text[..49], &format!("{text}=")] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad:?}");
        }
    }
}
