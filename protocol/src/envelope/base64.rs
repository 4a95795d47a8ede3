//! Base64 as the envelope has it: standard alphabet, padded, canonical, one spelling for each value.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::GeneralPurposeConfig;
use base64::engine::simd::Simd;
use zeroize::Zeroizing;

/// Strict: padding is required and unused bits are zero, so that decoding refuses any other spelling. It finds out
/// once what the processor can do.
static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::standard(GeneralPurposeConfig::new()));

/// Appends `bytes` to `out`.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exactly what padded base64 takes.
    let written = ENGINE.encode_slice(bytes, &mut out[start..]).unwrap_or_default();
    out.truncate(start + written);
}

pub(super) fn encode_string(bytes: &[u8]) -> String {
    ENGINE.encode(bytes)
}

/// Decodes into `out`, whose former contents go.
pub(super) fn decode_into(text: &str, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    ENGINE.decode_vec(text, out).ok()
}

/// Decodes exactly `LENGTH` bytes, which may be a secret: nothing is left behind on the way.
pub(super) fn decode<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    // Room for all that could come, so that the buffer never moves.
    let mut buffer = Zeroizing::new(Vec::with_capacity(text.len()));
    ENGINE.decode_vec(text, &mut buffer).ok()?;
    buffer.as_slice().try_into().ok()
}

pub(super) fn decode_vec(text: &str) -> Option<Vec<u8>> {
    ENGINE.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling_of_each_value() {
        assert_eq!(decode::<1>("QQ=="), Some([0x41]));
        for other in ["QQ", "QQ=", "QR==", "QQ==\n", " QQ==", "QQ==QQ==", "Q-==", "====", "QQ=="[..3].trim()]
        {
            assert_eq!(decode::<1>(other), None, "{other:?}");
        }
        // Also where the vector code is at work, and in its tail.
        let text = encode_string(&[7; 97]);
        assert_eq!(decode::<97>(&text), Some([7; 97]));
        for at in [0, 40, 90, text.len() - 3] {
            let mut bad = text.clone().into_bytes();
            bad[at] = b'\n';
            assert_eq!(decode_vec(std::str::from_utf8(&bad).expect("ASCII")), None);
        }
    }
}
