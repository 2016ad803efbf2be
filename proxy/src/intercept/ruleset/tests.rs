//! Rules: a naive reader of the text decides as the settings do, for any settings and any connection.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn settings() -> Settings {
    let side = |listener: &str| Side {
        listener: listener.parse().unwrap(),
        include_ports: PortSet::All,
        exclude_ports: PortSet::NONE,
        include_addresses: AddressSet::All,
        exclude_addresses: AddressSet::NONE,
    };
    Settings {
        outbound: side("15001"),
        inbound: side("15006"),
        calls: Calls::HandedOver,
        mode: Inbound::Redirect,
        exclude_uids: vec![1337],
        only_cgroup: None,
    }
}

#[test]
fn the_default_ruleset_is_this() {
    assert_eq!(
        install(&settings()),
        "table inet usher-intercept\n\
         delete table inet usher-intercept\n\
         table inet usher-intercept {\n\
         \tchain outbound {\n\
         \t\ttype nat hook output priority -100; policy accept;\n\
         \t\tmeta l4proto != tcp return\n\
         \t\ttcp flags & (fin | syn | rst | ack) != syn return\n\
         \t\tip daddr 127.0.15.6 meta l4proto tcp redirect to :15006\n\
         \t\tmeta skuid { 1337 } return\n\
         \t\tip daddr 127.0.15.1 meta l4proto tcp redirect to :15001\n\
         \t\tip daddr 127.0.0.0/8 return\n\
         \t\tip6 daddr ::1 return\n\
         \t\tip6 daddr fe80::/10 return\n\
         \t\tmeta l4proto tcp redirect to :15001\n\
         \t}\n\
         \tchain inbound {\n\
         \t\ttype nat hook prerouting priority -100; policy accept;\n\
         \t\tmeta l4proto != tcp return\n\
         \t\ttcp flags & (fin | syn | rst | ack) != syn return\n\
         \t\tiifname \"lo\" return\n\
         \t\tfib daddr type != local return\n\
         \t\ttcp dport 15006 return\n\
         \t\tmeta l4proto tcp redirect to :15006\n\
         \t}\n\
         }\n"
    );
}

#[test]
fn inbound_can_be_handed_over_as_it_is_or_left_alone() {
    let tproxy = install(&Settings {
        mode: Inbound::Tproxy,
        ..settings()
    });
    assert!(tproxy.contains("type filter hook prerouting priority -150;"));
    // Who is handed over to nobody is handed to nobody else.
    assert!(tproxy.contains(
        "\t\tmeta l4proto tcp tproxy to :15006 accept\n\
         \t\tmeta l4proto tcp tcp flags & (fin | syn | rst | ack) == syn drop\n"
    ));
    let inbound = tproxy.split_once("chain inbound").unwrap().1;
    assert!(
        !inbound.contains("!= syn return"),
        "each packet is handed over"
    );
    let off = install(&Settings {
        mode: Inbound::Off,
        ..settings()
    });
    assert!(!off.contains("chain inbound"));
    assert!(!off.contains("127.0.15.6"), "nothing to bear witness to");
}

#[test]
fn a_control_group_has_a_table_of_its_own_that_others_never_enter() {
    let cgroup: super::super::Cgroup = "shop.slice/web".parse().unwrap();
    let text = install(&Settings {
        mode: Inbound::Off,
        exclude_uids: Vec::new(),
        only_cgroup: Some(cgroup.clone()),
        ..settings()
    });
    let table = cgroup.table();
    assert_eq!(
        text,
        format!(
            "table inet {table}\n\
             delete table inet {table}\n\
             table inet {table} {{\n\
             \tchain outbound {{\n\
             \t\tip daddr {{ 127.0.15.1, 127.0.15.2 }} meta l4proto tcp redirect to :15001\n\
             \t\tip daddr 127.0.0.0/8 return\n\
             \t\tip6 daddr ::1 return\n\
             \t\tip6 daddr fe80::/10 return\n\
             \t\tmeta l4proto tcp redirect to :15001\n\
             \t}}\n\
             \tchain of-cgroup {{\n\
             \t\ttype nat hook output priority -101; policy accept;\n\
             \t\tmeta l4proto != tcp return\n\
             \t\ttcp flags & (fin | syn | rst | ack) != syn return\n\
             \t\tsocket cgroupv2 level 2 \"shop.slice/web\" goto outbound\n\
             \t}}\n\
             }}\n"
        )
    );
}

#[test]
fn a_closed_group_reaches_nobody_and_answers_whoever_called_it() {
    let cgroup: super::super::Cgroup = "shop.slice/web".parse().unwrap();
    let text = install(&Settings {
        calls: Calls::Refused,
        mode: Inbound::Off,
        exclude_uids: Vec::new(),
        only_cgroup: Some(cgroup.clone()),
        ..settings()
    });
    let table = cgroup.table();
    assert_eq!(
        text,
        format!(
            "table inet {table}\n\
             delete table inet {table}\n\
             table inet {table} {{\n\
             \tchain outbound {{\n\
             \t\tip daddr {{ 127.0.15.1, 127.0.15.2 }} meta l4proto tcp reject with tcp reset\n\
             \t\tip daddr 127.0.0.0/8 return\n\
             \t\tip6 daddr ::1 return\n\
             \t\tip6 daddr fe80::/10 return\n\
             \t\tmeta l4proto tcp reject with tcp reset\n\
             \t}}\n\
             \tchain of-cgroup {{\n\
             \t\ttype filter hook output priority -150; policy accept;\n\
             \t\tmeta l4proto != tcp return\n\
             \t\tct direction reply return\n\
             \t\tsocket cgroupv2 level 2 \"shop.slice/web\" goto outbound\n\
             \t}}\n\
             }}\n"
        )
    );
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Whether a chain of the text would hand over a TCP connection that has not left it at its fixed rules.
fn hands_over(text: &str, chain: &str, address: IpAddr, port: u16) -> bool {
    let family = if address.is_ipv4() { "ip " } else { "ip6 " };
    let start = text.find(&format!("chain {chain} ")).unwrap();
    let rules = text[start..].lines().skip(2).map(str::trim);
    for rule in rules.take_while(|rule| *rule != "}") {
        let mut applies = true;
        let mut rest = rule;
        let set = |rest: &str| {
            rest.split_once('{')
                .unwrap()
                .1
                .split_once('}')
                .unwrap()
                .0
                .replace(' ', "")
        };
        if rule.starts_with("meta skuid")
            || rule.starts_with("meta l4proto !=")
            || rule.starts_with("iifname")
            || rule.starts_with("fib")
            || rule.starts_with("tcp flags")
            || rule.starts_with("ct direction")
            || rule.starts_with("ip daddr 127.0.15.")
        {
            continue;
        }
        if rest.starts_with("ip") {
            applies &= rest.starts_with(family);
            let Some((_, after)) = rest.split_once('}') else {
                // The fixed rules about loopback.
                if rest.contains("127.0.0.0/8") && address.is_loopback()
                    || rest.contains("::1") && address.is_loopback()
                    || rest.contains("fe80::") && is_link_local(address)
                {
                    return false;
                }
                continue;
            };
            applies &= set(rest).parse::<AddressSet>().unwrap().contains(address);
            rest = after.trim();
        }
        if rest.starts_with("tcp dport {") {
            applies &= set(rest).parse::<PortSet>().unwrap().contains(port);
        } else if let Some(only) = rest.strip_prefix("tcp dport ") {
            applies &= only.starts_with(&format!("{port} "));
        }
        if applies {
            return !rule.ends_with("return");
        }
    }
    false
}

fn ports() -> impl Strategy<Value = PortSet> {
    let ranges = prop::collection::vec((1u16..60_000, 0u16..5_000), 0..4);
    prop_oneof![
        Just(PortSet::All),
        Just(PortSet::NONE),
        ranges.prop_map(|ranges| {
            let text: Vec<String> = ranges
                .iter()
                .map(|(first, more)| format!("{first}-{}", first + more))
                .collect();
            if text.is_empty() {
                PortSet::NONE
            } else {
                text.join(",").parse().unwrap()
            }
        }),
    ]
}

fn addresses() -> impl Strategy<Value = AddressSet> {
    let blocks = [
        "10.0.0.0/8",
        "10.1.0.0/16",
        "192.0.2.0/24",
        "192.0.2.7",
        "0.0.0.0/0",
        "fd00::/8",
        "fd00:1::/32",
        "::/0",
        "2001:db8::1",
    ];
    prop_oneof![
        Just(AddressSet::All),
        Just(AddressSet::NONE),
        prop::sample::subsequence(blocks.to_vec(), 1..5)
            .prop_map(|blocks| blocks.join(",").parse().unwrap()),
    ]
}

fn side(listener: &'static str) -> impl Strategy<Value = Side> {
    (ports(), ports(), addresses(), addresses()).prop_map(
        move |(include_ports, exclude_ports, include_addresses, exclude_addresses)| Side {
            listener: listener.parse().unwrap(),
            include_ports,
            exclude_ports,
            include_addresses,
            exclude_addresses,
        },
    )
}

#[test]
fn the_witness_has_the_ports_of_what_comes_from_outside() {
    let with = |include: &str, exclude: &str| {
        let mut settings = settings();
        settings.inbound.include_ports = include.parse().unwrap();
        settings.inbound.exclude_ports = exclude.parse().unwrap();
        let text = install(&settings);
        let rules = text.lines().map(str::trim);
        let rules = rules.filter_map(|rule| rule.strip_prefix("ip daddr 127.0.15.6 "));
        rules.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        with("8080,9090", "22"),
        [
            "tcp dport { 22 } return",
            "tcp dport { 8080, 9090 } redirect to :15006"
        ]
    );
    assert!(with("all", "all").is_empty());
    assert_eq!(with("none", "22"), ["tcp dport { 22 } return"]);
}

proptest! {
    #[test]
    fn the_rules_do_what_the_settings_say(
        outbound in side("15001"),
        inbound in side("15006"),
        calls in prop_oneof![Just(Calls::HandedOver), Just(Calls::Refused)],
        address in prop::sample::select(vec!["10.0.0.1", "10.1.2.3", "192.0.2.7", "192.0.2.8", "203.0.113.1", "127.0.0.1", "fd00::1", "fd00:1::1", "2001:db8::1", "2001:db8::2", "::1", "fe80::1"]),
        port in prop_oneof![1u16.., Just(15006u16)],
    ) {
        let settings = Settings { outbound, inbound, calls, ..settings() };
        let text = install(&settings);
        let address: IpAddr = address.parse().unwrap();
        let wanted = |side: &Side| {
            side.include_ports.contains(port)
                && !side.exclude_ports.contains(port)
                && side.include_addresses.contains(address)
                && !side.exclude_addresses.contains(address)
        };
        prop_assert_eq!(hands_over(&text, "outbound", address, port), wanted(&settings.outbound) && !address.is_loopback() && !is_link_local(address));
        prop_assert_eq!(hands_over(&text, "inbound", address, port), wanted(&settings.inbound) && port != 15006);
    }
}
