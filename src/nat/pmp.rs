//! NAT-PMP (RFC 6886): how a router is asked for a port.
//!
//! Always true: reading and writing only. A response of another version,
//! another operation or another length is refused.

use std::net::Ipv4Addr;

use crate::nat::Transport;

/// The version of the protocol.
const VERSION: u8 = 0;

/// What a response adds to the operation it answers.
const RESPONSE: u8 = 128;

/// Asks for the address outside.
const ADDRESS: u8 = 0;

/// The longest response.
pub const MAX_RESPONSE: usize = 16;

/// The port routers are asked at.
pub const PORT: u16 = 5351;

/// What a router is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Its address outside.
    Address,
    /// To forward a port for so many seconds; 0 ends it.
    Map {
        /// Of which transport.
        transport: Transport,
        /// The port here.
        internal: u16,
        /// The port wanted outside; 0 with a lifetime of 0.
        external: u16,
        /// For how long, in seconds.
        lifetime: u32,
    },
}

/// What a router answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Its address outside.
    Address(Ipv4Addr),
    /// It forwards a port.
    Mapped {
        /// Of which transport.
        transport: Transport,
        /// The port here.
        internal: u16,
        /// The port outside, maybe another than was wanted.
        external: u16,
        /// For how long, in seconds.
        lifetime: u32,
    },
}

/// Why a response is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PmpError {
    /// It is no response of this protocol.
    #[error("{0} bytes that are no NAT-PMP response")]
    Malformed(usize),
    /// The router speaks another version.
    #[error("the router speaks version {0}, not NAT-PMP")]
    Version(u8),
    /// The router refuses.
    #[error("the router refuses: {}", match .0 {
        1 => "version not supported",
        2 => "not authorised",
        3 => "it has no network",
        4 => "out of resources",
        5 => "operation not supported",
        _ => "unknown result code",
    })]
    Refused(u16),
}

fn operation(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
    }
}

impl Request {
    /// The datagram that asks it.
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Address => vec![VERSION, ADDRESS],
            Self::Map {
                transport,
                internal,
                external,
                lifetime,
            } => {
                let mut bytes = vec![VERSION, operation(transport), 0, 0];
                bytes.extend(internal.to_be_bytes());
                bytes.extend(external.to_be_bytes());
                bytes.extend(lifetime.to_be_bytes());
                bytes
            }
        }
    }

    /// Whether a response is to this request.
    pub fn is_answered_by(&self, response: &Response) -> bool {
        match (self, response) {
            (Self::Address, Response::Address(_)) => true,
            (
                Self::Map {
                    transport,
                    internal,
                    ..
                },
                Response::Mapped {
                    transport: of,
                    internal: port,
                    ..
                },
            ) => transport == of && internal == port,
            _ => false,
        }
    }
}

impl Response {
    /// Reads a datagram.
    pub fn decode(bytes: &[u8]) -> Result<Self, PmpError> {
        let malformed = PmpError::Malformed(bytes.len());
        let [version, op, high, low, ..] = *bytes else {
            return Err(malformed);
        };
        if version != VERSION {
            return Err(PmpError::Version(version));
        }
        let operation = op.checked_sub(RESPONSE).ok_or(malformed)?;
        match u16::from_be_bytes([high, low]) {
            0 => {}
            code => return Err(PmpError::Refused(code)),
        }
        // Four more say since when the router counts.
        match (operation, bytes.get(8..).unwrap_or_default()) {
            (ADDRESS, &[a, b, c, d]) => Ok(Self::Address(Ipv4Addr::new(a, b, c, d))),
            (1 | 2, &[i0, i1, e0, e1, l0, l1, l2, l3]) => Ok(Self::Mapped {
                transport: if operation == 1 {
                    Transport::Udp
                } else {
                    Transport::Tcp
                },
                internal: u16::from_be_bytes([i0, i1]),
                external: u16::from_be_bytes([e0, e1]),
                lifetime: u32::from_be_bytes([l0, l1, l2, l3]),
            }),
            _ => Err(malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: Request = Request::Map {
        transport: Transport::Tcp,
        internal: 30303,
        external: 30303,
        lifetime: 1_200,
    };

    #[test]
    fn requests_are_as_the_rfc_draws_them() {
        assert_eq!(Request::Address.encode(), [0, 0]);
        assert_eq!(
            hex::encode(MAP.encode()),
            concat!("00020000", "765f", "765f", "000004b0")
        );
    }

    #[test]
    fn responses_are_read() {
        let address = hex::decode(concat!("00800000", "00000007", "cb007107")).unwrap();
        let address = Response::decode(&address).unwrap();
        assert_eq!(address, Response::Address(Ipv4Addr::new(203, 0, 113, 7)));
        assert!(Request::Address.is_answered_by(&address));
        assert!(!MAP.is_answered_by(&address));

        let mapped =
            hex::decode(concat!("00820000", "00000007", "765f", "7660", "00000e10")).unwrap();
        let mapped = Response::decode(&mapped).unwrap();
        assert!(MAP.is_answered_by(&mapped));
        let Response::Mapped {
            external, lifetime, ..
        } = mapped
        else {
            panic!("{mapped:?}");
        };
        assert_eq!((external, lifetime), (30304, 3_600));
    }

    #[test]
    fn other_datagrams_are_refused_for_what_they_are() {
        for (hex, error) in [
            ("", PmpError::Malformed(0)),
            ("008000", PmpError::Malformed(3)),
            ("02800000", PmpError::Version(2)),
            ("00000000", PmpError::Malformed(4)),
            ("00800000", PmpError::Malformed(4)),
            ("00820002", PmpError::Refused(2)),
            (
                "0082000000000000765f765f00000e1000",
                PmpError::Malformed(17),
            ),
            ("008300000000000000000000", PmpError::Malformed(12)),
        ] {
            assert_eq!(
                Response::decode(&hex::decode(hex).unwrap()),
                Err(error),
                "{hex}"
            );
        }
    }
}
