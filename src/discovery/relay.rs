//! Which addresses a node may tell of.
//!
//! Always true: what comes from the public network never leads into a private
//! one (geth's `netutil.CheckRelayIP`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not taken from whoever told it. The texts are geth's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// Nowhere.
    #[error("zero address")]
    Zero,
    /// Reserved for documentation, multicast and the like.
    #[error("special network")]
    Special,
    /// This machine, told by another.
    #[error("loopback address from non-loopback host")]
    Loopback,
    /// A private network, told from outside.
    #[error("LAN address from WAN host")]
    Lan,
}

/// Whether `address` may be taken from a node at `sender`.
pub fn check(sender: IpAddr, address: IpAddr) -> Result<(), RelayError> {
    if address.is_unspecified() {
        return Err(RelayError::Zero);
    }
    if is_special(address) {
        return Err(RelayError::Special);
    }
    if address.is_loopback() && !sender.is_loopback() {
        return Err(RelayError::Loopback);
    }
    if is_lan(address) && !is_lan(sender) {
        return Err(RelayError::Lan);
    }
    Ok(())
}

/// Whether an address is of a private network or this machine.
pub fn is_lan(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => is_special_v4(ip),
        IpAddr::V6(ip) => is_special_v6(ip),
    }
}

/// The special-purpose registry (RFC 6890) as geth has it, with multicast.
fn is_special_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, d] = ip.octets();
    matches!(
        (a, b, c),
        (192, 0, 0)
            | (192, 0, 2)
            | (192, 31, 196)
            | (192, 52, 193)
            | (192, 88, 99)
            | (192, 175, 48)
            | (198, 51, 100)
            | (203, 0, 113)
    ) || (a, b & 0xfe) == (198, 18)
        || [a, b, c, d] == [255; 4]
        || ip.is_multicast()
}

fn is_special_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    // Discard-only, IETF protocols, documentation, 6to4, direct delegation.
    (ip.segments()[..4] == [0x100, 0, 0, 0])
        || (a == 0x2001 && (b < 0x200 || b == 0x0db8))
        || a == 0x2002
        || ip.is_multicast()
}
