//! TLS for everything that leaves this machine.
//!
//! One implementation of its ciphers serves all clients of the program; which
//! certificates are trusted is what this machine's administrator set.

use std::sync::Once;

/// Makes `ring` what every TLS client of this process works with. Clients of
/// libraries look for such a default when they are built, so this comes before.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Refused only where the program around this library chose already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A client of HTTP, with TLS.
pub fn http_client() -> reqwest::ClientBuilder {
    install();
    reqwest::Client::builder()
}
