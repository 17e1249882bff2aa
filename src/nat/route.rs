//! The default gateway, as Linux lists it in `/proc/net/route`.
//!
//! Always true: a line that is not understood is passed over.

use std::net::Ipv4Addr;

/// Where Linux lists its routes.
pub const FILE: &str = "/proc/net/route";

/// The flag of a route that leads to a gateway.
const IS_GATEWAY: u32 = 2;

/// The gateway of the default route with the least metric.
pub fn default_gateway(routes: &str) -> Option<Ipv4Addr> {
    routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_ascii_whitespace().collect();
            let [_, destination, gateway, flags, _, _, metric, mask, ..] = columns[..] else {
                return None;
            };
            let hex = |text| u32::from_str_radix(text, 16).ok();
            let leads_anywhere = hex(destination)? == 0 && hex(mask)? == 0;
            let gateway = address(hex(gateway)?);
            let usable = hex(flags)? & IS_GATEWAY != 0 && !gateway.is_unspecified();
            let metric: u32 = metric.parse().ok()?;
            (leads_anywhere && usable).then_some((metric, gateway))
        })
        .min_by_key(|(metric, _)| *metric)
        .map(|(_, gateway)| gateway)
}

/// The kernel prints the four bytes as one number of this machine.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(if cfg!(target_endian = "little") {
        number.swap_bytes()
    } else {
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    #[cfg(target_endian = "little")]
    #[test]
    fn the_default_route_of_least_metric_names_the_gateway() {
        let routes = format!(
            "{HEAD}wlan0\t00000000\t0100000A\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
             eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
             eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
        );
        assert_eq!(
            default_gateway(&routes),
            Some(Ipv4Addr::new(192, 168, 1, 1))
        );
    }

    #[test]
    fn without_a_default_route_there_is_none() {
        for lines in [
            "",
            "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n",
            "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n",
            "eth0\t00000000\n",
            "eth0\tzz\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n",
        ] {
            assert_eq!(default_gateway(&format!("{HEAD}{lines}")), None, "{lines}");
        }
    }
}
