//! Who says whether an interface is paid by the byte, the surest first: what manages networks, the lease that came with the address,
//! and the kind of the interface.
//!
//! A kind can only say yes: behind a cable may stand a phone. PPP counts as metered, although a cable at home may speak it too; the
//! setting `network` says otherwise.

use ingle_engine::sysfs::Tree;

/// Where NetworkManager keeps its files while it runs.
const MANAGER: &str = "run/NetworkManager";
/// What a phone says of itself when it gives an address (DHCP option 43), in the hexadecimal of systemd-networkd's leases.
const PHONE: &[u8] = b"ANDROID_METERED";
/// Kinds of interfaces that are paid by the byte as a rule: the system's own word, beginnings of names, what they are.
const KINDS: &[(&str, &[&str], &str)] = &[
    ("wwan", &["ww", "rmnet", "ccmni", "cdc-wdm", "qmimux"], "mobile broadband"),
    ("ppp", &["ppp"], "a dialled connection"),
    ("bluetooth", &["bnep"], "a phone over Bluetooth"),
];

/// What is asked of a source.
pub struct Asked<'a> {
    pub tree: &'a Tree,
    pub interface: &'a str,
    /// What NetworkManager says of an interface.
    pub manager: &'a dyn Fn(&str) -> Option<String>,
}

/// What a source says.
pub struct Told {
    pub is_metered: bool,
    /// In words.
    pub why: String,
}

/// Who may know.
pub struct Source {
    pub name: &'static str,
    /// What it says; `None` where it does not know.
    pub read: fn(&Asked<'_>) -> Option<Told>,
}

/// All of them, the surest first.
pub static SOURCES: &[Source] = &[
    Source { name: "NetworkManager", read: manager },
    Source { name: "lease", read: lease },
    Source { name: "kind of interface", read: kind },
];

fn manager(asked: &Asked<'_>) -> Option<Told> {
    if asked.tree.names(MANAGER).is_empty() {
        return None;
    }
    let said = (asked.manager)(asked.interface)?;
    let said = said.trim();
    let is_metered = match said.split_whitespace().next()? {
        "yes" => true,
        "no" => false,
        _ => return None,
    };
    Some(Told { is_metered, why: format!("{} metered: {said}", asked.interface) })
}

fn lease(asked: &Asked<'_>) -> Option<Told> {
    let n = asked.tree.count(&format!("sys/class/net/{}/ifindex", asked.interface)).ok()?;
    let lease = asked.tree.text(&format!("run/systemd/netif/leases/{n}")).ok()?;
    let vendor = lease.lines().find_map(|line| line.strip_prefix("VENDOR_SPECIFIC="))?;
    let phone: String = PHONE.iter().map(|b| format!("{b:02x}")).collect();
    let is_phone = vendor.to_ascii_lowercase().contains(&phone);
    is_phone.then(|| Told { is_metered: true, why: format!("{} is shared by a phone", asked.interface) })
}

fn kind(asked: &Asked<'_>) -> Option<Told> {
    let uevent = asked.tree.text(&format!("sys/class/net/{}/uevent", asked.interface)).unwrap_or_default();
    let word = uevent.lines().find_map(|line| line.strip_prefix("DEVTYPE="));
    let is_meant = |names: &&[&str]| names.iter().any(|name| asked.interface.starts_with(name));
    let (.., what) = KINDS.iter().find(|(kind, names, _)| word == Some(kind) || is_meant(names))?;
    Some(Told { is_metered: true, why: format!("{} is {what}", asked.interface) })
}
