//! Random values for keys, nonces and initialisation vectors.
//!
//! Always true: they come from the operating system's generator. Protocol code
//! is handed them and draws none, so that its tests know them.

use rand::TryRng;
use rand::rngs::SysRng;
use secp256k1::SecretKey;
use zeroize::Zeroizing;

/// `N` random bytes.
///
/// # Panics
/// When the operating system gives no randomness: nothing secret may be made
/// then.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .expect("the operating system has randomness");
    bytes
}

/// A random secret key.
///
/// # Panics
/// As [`random_bytes`] does.
pub fn random_secret_key() -> SecretKey {
    // One in 2^128 byte strings is no key, so this ends at the first attempt.
    loop {
        let bytes = Zeroizing::new(random_bytes());
        if let Ok(key) = SecretKey::from_secret_bytes(*bytes) {
            return key;
        }
    }
}
