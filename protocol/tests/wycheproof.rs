//! Project Wycheproof's vectors for exactly the four primitives that the envelope is made of: they catch a bad build
//! of ring.

use ring::aead::{self, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{hkdf, signature};
use wycheproof::TestResult;

#[test]
fn aes_256_gcm_agrees() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).expect("the vectors");
    let mut tried = 0;
    for group in set.test_groups.iter().filter(|group| group.key_size == 256 && group.nonce_size == 96) {
        for test in group.tests.iter().filter(|_| group.tag_size == 128) {
            let key = || LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &test.key).expect("a key"));
            let nonce = || Nonce::try_assume_unique_for_key(&test.nonce).expect("a nonce");
            let mut sealed = test.pt.to_vec();
            key().seal_in_place_append_tag(nonce(), Aad::from(&test.aad), &mut sealed).expect("sealed");
            let expected = [&test.ct[..], &test.tag[..]].concat();
            assert_eq!(sealed == expected, test.result != TestResult::Invalid, "{}", test.tc_id);
            let mut opened = expected;
            let result: Result<&mut [u8], _> =
                key().open_in_place(nonce(), Aad::from(&test.aad), &mut opened);
            assert_eq!(result.is_ok(), test.result != TestResult::Invalid, "{}", test.tc_id);
            tried += 1;
        }
    }
    assert!(tried >= 60, "{tried}");
    assert_eq!(AES_256_GCM.tag_len(), aead::MAX_TAG_LEN);
}

#[test]
fn ed25519_agrees() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).expect("the vectors");
    let mut tried = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let key = signature::UnparsedPublicKey::new(&signature::ED25519, &group.key.pk);
            let is_valid = key.verify(&test.msg, &test.sig).is_ok();
            assert_eq!(is_valid, test.result == TestResult::Valid, "{}", test.tc_id);
            tried += 1;
        }
    }
    assert!(tried >= 100, "{tried}");
}

#[test]
fn hkdf_sha256_agrees() {
    /// A length of output that is known when the test runs.
    struct Length(usize);

    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }

    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).expect("the vectors");
    let mut tried = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &test.salt).extract(&test.ikm);
        let info = [&test.info[..]];
        let mut okm = vec![0; test.size];
        let is_done = prk.expand(&info, Length(test.size)).and_then(|okm_of| okm_of.fill(&mut okm)).is_ok();
        assert_eq!(is_done && okm == test.okm[..], test.result != TestResult::Invalid, "{}", test.tc_id);
        tried += 1;
    }
    assert!(tried >= 80, "{tried}");
}

/// ring makes no X25519 key from given bytes but through its fixed random source.
#[test]
#[allow(deprecated, reason = "ring's fixed random source is hidden, and the only way to known answers")]
fn x25519_agrees_and_refuses_exactly_the_zero_results() {
    use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
    use ring::test::rand::FixedSliceSequenceRandom;

    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).expect("the vectors");
    let mut tried = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let bytes: &[&[u8]] = &[&test.private_key];
        let random = FixedSliceSequenceRandom { bytes, current: 0.into() };
        let private = EphemeralPrivateKey::generate(&X25519, &random).expect("a key");
        let shared =
            agree_ephemeral(private, &UnparsedPublicKey::new(&X25519, &test.public_key), <[u8]>::to_vec);
        let is_zero = test.shared_secret.iter().all(|&byte| byte == 0);
        assert_eq!(shared.is_err(), is_zero, "{}", test.tc_id);
        if let Ok(shared) = shared {
            assert_eq!(shared, test.shared_secret[..], "{}", test.tc_id);
        }
        tried += 1;
    }
    assert!(tried >= 500, "{tried}");
}
