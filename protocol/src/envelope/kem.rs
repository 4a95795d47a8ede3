//! The seam to ML-KEM-768 (FIPS 203), and all that the envelope knows of it. Without the feature, the option is neither
//! offered nor answered.

/// The option's name in the hellos.
pub(super) const OPTION: &str = "mlkem768";

#[cfg(feature = "mlkem768")]
mod enabled {
    use ml_kem::kem::{Decapsulate, KeyExport, KeyInit};
    use ml_kem::{B32, DecapsulationKey, EncapsulationKey, MlKem768, Seed};
    use ring::rand::SecureRandom;
    use zeroize::{Zeroize, Zeroizing};

    use crate::envelope::base64;
    use crate::envelope::secret::Secret;

    /// A client's key, made for one handshake. It is wiped when it goes.
    pub(in crate::envelope) struct ClientKem(Box<DecapsulationKey<MlKem768>>);

    impl ClientKem {
        /// Makes a key.
        pub(in crate::envelope) fn generate(random: &dyn SecureRandom) -> Option<ClientKem> {
            let mut bytes = Zeroizing::new([0; 64]);
            random.fill(&mut *bytes).ok()?;
            let mut seed = Seed::from(*bytes);
            let key = DecapsulationKey::new(&seed);
            seed.zeroize();
            Some(ClientKem(Box::new(key)))
        }

        /// The option's value in the client's hello.
        pub(in crate::envelope) fn offer(&self) -> String {
            base64::encode_string(&self.0.encapsulation_key().to_bytes())
        }

        /// What both share, from the option's value in the server's hello.
        pub(in crate::envelope) fn finish(&self, answer: &str) -> Option<Secret> {
            let ciphertext = base64::decode_vec(answer)?;
            let mut shared = self.0.decapsulate(ciphertext.as_slice().try_into().ok()?);
            let mut bytes: [u8; 32] = shared.into();
            shared.zeroize();
            Some(Secret::take(&mut bytes))
        }
    }

    /// The server's part: from the client's offer to the option's value in the answer and what both share. An
    /// offered key that fails FIPS 203's check is refused.
    pub(in crate::envelope) fn answer(offer: &str, random: &dyn SecureRandom) -> Option<(String, Secret)> {
        let key = base64::decode_vec(offer)?;
        let key = EncapsulationKey::<MlKem768>::new(key.as_slice().try_into().ok()?).ok()?;
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(&mut *bytes).ok()?;
        let mut message = B32::from(*bytes);
        let (ciphertext, mut shared) = key.encapsulate_deterministic(&message);
        message.zeroize();
        let mut bytes: [u8; 32] = shared.into();
        shared.zeroize();
        Some((base64::encode_string(&ciphertext), Secret::take(&mut bytes)))
    }
}

#[cfg(not(feature = "mlkem768"))]
mod disabled {
    use std::convert::Infallible;

    use ring::rand::SecureRandom;

    use crate::envelope::secret::Secret;

    /// There is none.
    pub(in crate::envelope) struct ClientKem(Infallible);

    impl ClientKem {
        pub(in crate::envelope) fn generate(_: &dyn SecureRandom) -> Option<ClientKem> {
            None
        }

        pub(in crate::envelope) fn offer(&self) -> String {
            match self.0 {}
        }

        pub(in crate::envelope) fn finish(&self, _: &str) -> Option<Secret> {
            match self.0 {}
        }
    }

    pub(in crate::envelope) fn answer(_: &str, _: &dyn SecureRandom) -> Option<(String, Secret)> {
        None
    }
}

#[cfg(feature = "mlkem768")]
pub(super) use enabled::{ClientKem, answer};

#[cfg(not(feature = "mlkem768"))]
pub(super) use disabled::{ClientKem, answer};
