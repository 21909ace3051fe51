//! Default routes, from `/proc/net/route` and `/proc/net/ipv6_route`: by which interfaces packets would leave.
//!
//! Of several the one with the least metric counts, in each of the two families; what stands in other tables, as VPNs have them, is
//! not shown there. Of a tunnel the interfaces count that may carry it: all others with a gateway.

use ingle_engine::sysfs::Tree;

/// Bytes of a table that are read; a laptop's has a few hundred.
const TABLE_BYTES_MAX: u64 = 1 << 20;
/// The longest name of an interface.
const NAME_BYTES_MAX: usize = 15;
/// Interfaces that are looked at.
const WAYS_MAX: usize = 8;
/// Flags of routes: it is up; what takes it is refused.
const UP: u32 = 0x1;
const REJECT: u32 = 0x200;
/// Names of tunnels.
const TUNNELS: &[&str] = &["tun", "tap", "wg", "tailscale", "ipsec", "vti", "nordlynx", "proton"];

/// A route that leads somewhere.
struct Route {
    interface: String,
    metric: u32,
    is_default: bool,
    has_gateway: bool,
}

/// The interfaces by which packets would leave; none where there is no default route. `None` where the system shows no routes.
pub fn ways(tree: &Tree) -> Option<Vec<String>> {
    let table = |path, line: fn(&str) -> Option<Route>| {
        let text = tree.text_up_to(path, TABLE_BYTES_MAX).ok()?;
        Some(text.lines().filter_map(line).collect::<Vec<Route>>())
    };
    let (v4, v6) = (table("proc/net/route", v4), table("proc/net/ipv6_route", v6));
    if v4.is_none() && v6.is_none() {
        return None;
    }
    let mut out: Vec<String> = Vec::new();
    let mut add = |name: &String| {
        if !out.contains(name) && out.len() < WAYS_MAX {
            out.push(name.clone());
        }
    };
    for routes in [v4, v6].into_iter().flatten() {
        let defaults = || routes.iter().filter(|route| route.is_default);
        let Some(least) = defaults().map(|route| route.metric).min() else { continue };
        for best in defaults().filter(|route| route.metric == least) {
            let carriers = || routes.iter().filter(|r| r.has_gateway && !is_tunnel(&r.interface));
            if is_tunnel(&best.interface) && carriers().next().is_some() {
                carriers().for_each(|route| add(&route.interface));
            } else {
                add(&best.interface);
            }
        }
    }
    Some(out)
}

fn is_tunnel(name: &str) -> bool {
    TUNNELS.iter().any(|tunnel| name.starts_with(tunnel))
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask ...`, numbers in hexadecimal but for counts and the metric.
fn v4(line: &str) -> Option<Route> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [interface, destination, gateway, flags, _, _, metric, mask, ..] = words[..] else { return None };
    let [destination, gateway, mask] = [hex(destination)?, hex(gateway)?, hex(mask)?];
    route(interface, hex(flags)?, metric.parse().ok()?, destination == 0 && mask == 0, gateway != 0)
}

/// `destination length source length gateway metric count use flags interface`, all numbers in hexadecimal.
fn v6(line: &str) -> Option<Route> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [destination, length, _, _, gateway, metric, _, _, flags, interface] = words[..] else { return None };
    let is_zero = |address: &str| address.len() == 32 && address.bytes().all(|b| b == b'0');
    let is_default = is_zero(destination) && hex(length)? == 0;
    route(interface, hex(flags)?, hex(metric)?, is_default, !is_zero(gateway))
}

/// A route that is up, by an interface whose name can be part of a path.
fn route(interface: &str, flags: u32, metric: u32, is_default: bool, has_gateway: bool) -> Option<Route> {
    let is_name =
        interface.len() <= NAME_BYTES_MAX && !interface.contains('/') && !interface.starts_with('.');
    let leads = flags & UP != 0 && flags & REJECT == 0 && interface != "lo";
    (is_name && leads).then(|| Route { interface: interface.to_owned(), metric, is_default, has_gateway })
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use ingle_engine::sysfs::parse_recording;

    use super::*;

    fn of(v4: &str, v6: &str) -> Option<Vec<String>> {
        let line = |path: &str, table: &str| match table {
            "" => String::new(),
            table => format!("{path} {}\n", table.replace('\n', "\\n")),
        };
        let text = format!("@0\n{}{}", line("proc/net/route", v4), line("proc/net/ipv6_route", v6));
        ways(&parse_recording(&text).unwrap().remove(0).tree)
    }

    #[test]
    fn tables_of_a_real_machine_are_read() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        let (zero, from) = ("0".repeat(32), "fd000000000000000000000000000001");
        let v6 = format!(
            "fd000000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n\
             {zero} 00 {zero} 00 {from} 00000400 00000003 00000000 00000003     eth1\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo"
        );
        let names = |names: &[&str]| Some(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(v4, ""), names(&["eth0"]));
        assert_eq!(of(v4, &v6), names(&["eth0", "eth1"]));
        assert_eq!(of(&v4.replace("\t0003\t", "\t0203\t"), ""), names(&[]), "refused routes lead nowhere");
        assert_eq!(of(&v4.replace("00000000\t010200C0", "00000080\t010200C0"), ""), names(&[]));
        assert_eq!(of("", ""), None);
        let tunnel = "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n\
                      wlan0\t01020304\t010200C0\t0007\t0\t0\t0\tFFFFFFFF\t0\t0\t0";
        assert_eq!(of(tunnel, ""), names(&["wlan0"]), "what carries it");
        assert_eq!(of(tunnel.lines().next().unwrap(), ""), names(&["tun0"]));
    }

    #[test]
    fn lines_that_are_no_routes_are_passed_over() {
        let good = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        for wrong in ["", "x", &good.replace("eth0", "../../etc"), &good.replace("0003", "zz"), &good[..30]] {
            assert_eq!(of(&format!("head\n{wrong}\n"), ""), Some(Vec::new()), "{wrong}");
        }
        let many: String = (0..100).map(|i| good.replace("eth0", &format!("e{i}")) + "\n").collect();
        assert_eq!(of(&many, "").unwrap().len(), WAYS_MAX);
    }
}
