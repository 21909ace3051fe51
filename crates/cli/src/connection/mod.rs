//! The way to the network, as the system shows it: whether there is one, and whether it is paid by the byte.
//!
//! There is one where a default route is ([`routes`]), or where an endpoint stands in a network of one's own, which needs none. Whether it is
//! metered say [`metered::SOURCES`], the first of them that knows; a setting outranks them. What nobody says stays unknown and meets no rule.
//! Rules get a word, people also the reason.
//!
//! Left out: whether the network works. A route may lead nowhere, and who asks finds out. Linux alone shows all this in files; elsewhere only
//! settings speak.

mod manager;
mod metered;
mod routes;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ingle_engine::sysfs::Tree;
use ingle_route::policy::{Network, Policy};

use crate::env::Env;
use metered::{Asked, SOURCES};

/// How long a reading is good for: a program may be asked for it.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// What is known of the way to the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// In the word of rules; `None` where it is not known to be metered or not.
    pub network: Option<Network>,
    /// Who says so, or what was seen.
    pub seen: String,
}

/// Who looks at it.
#[derive(Debug)]
pub struct Watch {
    /// What the settings say of it.
    said: Option<Connection>,
    /// Whether the settings say whether it is metered.
    is_metered: Option<bool>,
    /// Whether somebody may be asked without a way out of one's own network.
    is_near: bool,
    tree: Tree,
    last: Mutex<Option<(Instant, Connection)>>,
}

impl Watch {
    /// For the endpoints of `policy`.
    pub fn new(policy: &Policy, env: &Env) -> Self {
        let offline =
            || Connection { network: Some(Network::Offline), seen: "the setting offline".to_owned() };
        let is_metered = match env.settings.text("network") {
            Some("metered") => Some(true),
            Some("unmetered") => Some(false),
            _ => None,
        };
        Self {
            said: env.settings.is_on("offline").then(offline),
            is_metered,
            is_near: policy.endpoints.iter().any(|endpoint| endpoint.url.origin.is_near()),
            tree: Tree::system(),
            last: Mutex::default(),
        }
    }

    /// What is known now, or was a few seconds ago.
    pub fn now(&self) -> Connection {
        if let Some(said) = &self.said {
            return said.clone();
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, connection)) = last.as_ref()
            && at.elapsed() < GOOD_FOR
        {
            return connection.clone();
        }
        let connection = read(&self.tree, self.is_metered, self.is_near, &manager::metered);
        *last = Some((Instant::now(), connection.clone()));
        connection
    }
}

/// What `tree` shows and `manager` says of an interface; `is_metered` is what the settings say.
fn read(
    tree: &Tree,
    is_metered: Option<bool>,
    is_near: bool,
    manager: &dyn Fn(&str) -> Option<String>,
) -> Connection {
    let kind = |is_metered| Some(if is_metered { Network::Metered } else { Network::Unmetered });
    let ways = routes::ways(tree);
    if ways.as_ref().is_some_and(|ways| ways.is_empty()) && !is_near {
        return Connection { network: Some(Network::Offline), seen: "no default route".to_owned() };
    }
    if let Some(is_metered) = is_metered {
        return Connection { network: kind(is_metered), seen: "the setting network".to_owned() };
    }
    let Some(ways) = ways else {
        return Connection { network: None, seen: "this system shows no routes".to_owned() };
    };
    if ways.is_empty() {
        let seen = "no default route, and an endpoint in a network of one's own".to_owned();
        return Connection { network: None, seen };
    }
    let told: Vec<_> = (ways.iter())
        .map(|interface| {
            let asked = Asked { tree, interface, manager };
            SOURCES.iter().find_map(|source| (source.read)(&asked).map(|told| (source, told)))
        })
        .collect();
    let by = |(source, told): &(&metered::Source, metered::Told)| format!("{}: {}", source.name, told.why);
    // One that is metered is enough: who knows which of them it will be.
    if let Some(told) = told.iter().flatten().find(|(_, told)| told.is_metered) {
        return Connection { network: kind(true), seen: by(told) };
    }
    match told.into_iter().collect::<Option<Vec<_>>>() {
        Some(all) => {
            Connection { network: kind(false), seen: all.iter().map(by).collect::<Vec<_>>().join("; ") }
        }
        None => Connection {
            network: None,
            seen: format!("default route by {}, of which nobody says whether it is metered", ways.join(", ")),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ingle_engine::sysfs::parse_recording;

    use super::*;

    const HEAD: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT";

    /// A tree with default routes by these interfaces, as (name, metric), and more lines of a recording.
    fn tree(ways: &[(&str, u32)], more: &str) -> Tree {
        let ways = ways
            .iter()
            .map(|(name, metric)| format!("\\n{name} 00000000 0102A8C0 0003 0 0 {metric} 00000000 0 0 0"));
        let route = format!("proc/net/route {HEAD}{}", ways.collect::<String>());
        parse_recording(&format!("@0\n{route}\n{more}\n")).unwrap().remove(0).tree
    }

    /// What is read where nobody manages networks.
    fn seen(ways: &[(&str, u32)], more: &str) -> Connection {
        read(&tree(ways, more), None, false, &|_| None)
    }

    #[test]
    fn without_a_default_route_it_is_offline_unless_an_endpoint_is_near() {
        let none = seen(&[], "");
        assert_eq!((none.network, none.seen.as_str()), (Some(Network::Offline), "no default route"));
        let near = read(&tree(&[], ""), None, true, &|_| None);
        assert!(near.network.is_none() && near.seen.contains("of one's own"), "{near:?}");
        // No setting makes a way where there is none.
        let said = read(&tree(&[], ""), Some(false), false, &|_| None);
        assert_eq!(said.network, Some(Network::Offline));
        let no_files = Tree::Frame(Default::default());
        assert_eq!(read(&no_files, None, false, &|_| None).network, None);
    }

    #[test]
    fn a_phone_is_metered_and_what_nobody_knows_is_unknown() {
        for name in ["wwan0", "wwp0s20u4", "rmnet_data0", "ppp0", "ccmni1", "bnep0"] {
            let phone = seen(&[(name, 700)], "");
            assert_eq!(phone.network, Some(Network::Metered), "{phone:?}");
            assert!(phone.seen.contains(name), "{phone:?}");
        }
        let by_type = seen(&[("modem", 0)], "sys/class/net/modem/uevent DEVTYPE=wwan\\nINTERFACE=modem");
        assert_eq!(by_type.network, Some(Network::Metered));
        let cable = seen(&[("eth0", 100)], "");
        assert!(cable.network.is_none() && cable.seen.contains("eth0"), "{cable:?}");
        // The best way counts, and any of those that are as good.
        assert_eq!(seen(&[("eth0", 100), ("wwan0", 700)], "").network, None);
        assert_eq!(seen(&[("eth0", 100), ("wwan0", 100)], "").network, Some(Network::Metered));
        // What carries a tunnel counts, not the tunnel.
        assert_eq!(seen(&[("wg0", 50), ("wwan0", 700)], "").network, Some(Network::Metered));
    }

    #[test]
    fn a_lease_of_a_phone_says_so_itself() {
        let hex: String = "ANDROID_METERED".bytes().map(|b| format!("{b:02x}")).collect();
        let lease = |hex: &str| {
            let more = format!(
                "sys/class/net/wlan0/ifindex 3\nrun/systemd/netif/leases/3 # private\\nADDRESS=192.168.43.7\\nVENDOR_SPECIFIC={hex}"
            );
            seen(&[("wlan0", 600)], &more)
        };
        let phone = lease(&hex);
        assert_eq!(phone.network, Some(Network::Metered), "{phone:?}");
        assert!(phone.seen.contains("lease"), "{phone:?}");
        for other in ["", "zz", "0a", "4"] {
            assert_eq!(lease(other).network, None, "{other:?}");
        }
    }

    #[test]
    fn who_manages_networks_is_asked_first_and_a_setting_outranks_all() {
        let n_asked = Cell::new(0);
        let says = |answer: &'static str| move |_: &str| Some(answer.to_owned());
        let run = "run/NetworkManager/no-stub-resolv.conf x";
        let of =
            |name: &str, answer: &'static str| read(&tree(&[(name, 100)], run), None, false, &says(answer));
        for (answer, expected) in [
            ("yes\n", Some(Network::Metered)),
            ("yes (guessed)", Some(Network::Metered)),
            ("no (guessed)", Some(Network::Unmetered)),
            ("no", Some(Network::Unmetered)),
            ("unknown", None),
            ("", None),
            ("Error: yes", None),
        ] {
            assert_eq!(of("eth0", answer).network, expected, "{answer:?}");
        }
        assert_eq!(of("ppp0", "no").network, Some(Network::Unmetered), "a cable at home");
        assert_eq!(of("ppp0", "unknown").network, Some(Network::Metered));
        // Where it does not run, it is not asked.
        let counts = |_: &str| {
            n_asked.set(n_asked.get() + 1);
            None
        };
        read(&tree(&[("eth0", 100)], ""), None, false, &counts);
        assert_eq!(n_asked.get(), 0);
        let said = read(&tree(&[("wwan0", 700)], run), Some(false), false, &counts);
        assert_eq!((said.network, said.seen.as_str()), (Some(Network::Unmetered), "the setting network"));
        assert_eq!(n_asked.get(), 0);
    }
}
