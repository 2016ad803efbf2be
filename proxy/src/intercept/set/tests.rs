//! Sets: parsing is total, keeps every member, and leaves no overlap for nft to refuse.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_written_is_what_is_meant() {
    let ports: PortSet = "80,22, 8000-8999,8500-9000,81".parse().unwrap();
    assert_eq!(
        ports.elements().as_deref(),
        Some("{ 22, 80-81, 8000-9000 }")
    );
    let addresses: AddressSet = "10.1.0.0/16,10.0.0.0/8,192.0.2.7,fd00::/8,::/0"
        .parse()
        .unwrap();
    let (ipv4, ipv6) = addresses.elements();
    assert_eq!(ipv4.as_deref(), Some("{ 10.0.0.0/8, 192.0.2.7/32 }"));
    assert_eq!(ipv6.as_deref(), Some("{ ::/0 }"));
}

#[test]
fn mistakes_are_refused() {
    for text in [
        "", "0", "65536", "9-8", "1,,2", "a", "1-", "80;drop", "none,1",
    ] {
        assert!(text.parse::<PortSet>().is_err(), "{text}");
    }
    for text in [
        "",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "::/129",
        "fd00::1/8",
        "x",
        "10.0.0.0/8,all",
        "10.0.0.0/+8/",
    ] {
        assert!(text.parse::<AddressSet>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_set_or_a_mistake(text in ".{0,40}") {
        let _ = text.parse::<PortSet>();
        let _ = text.parse::<AddressSet>();
    }

    #[test]
    fn ports_are_those_written(ranges in prop::collection::vec((1u16.., 0u16..300), 1..12), probe in 1u16..) {
        let ranges: Vec<(u16, u16)> = ranges.iter().map(|(first, more)| (*first, first.saturating_add(*more))).collect();
        let text = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect::<Vec<_>>().join(",");
        let set: PortSet = text.parse().unwrap();
        for port in ranges.iter().flat_map(|(first, last)| [*first, *last]).chain([probe]) {
            let written = ranges.iter().any(|(first, last)| (*first..=*last).contains(&port));
            prop_assert_eq!(set.contains(port), written);
        }
        let PortSet::Ranges(merged) = set else { panic!("ranges") };
        prop_assert!(merged.windows(2).all(|pair| u32::from(pair[0].1) + 1 < u32::from(pair[1].0)));
    }

    #[test]
    fn addresses_are_those_written(blocks in prop::collection::vec((any::<u32>(), 0u8..=32), 1..12), probe: u32) {
        let blocks: Vec<(Ipv4Addr, u8)> = blocks
            .iter()
            .map(|(bits, prefix)| (network4(Ipv4Addr::from_bits(*bits), *prefix), *prefix))
            .collect();
        let text = blocks.iter().map(|(first, prefix)| format!("{first}/{prefix}")).collect::<Vec<_>>().join(",");
        let set: AddressSet = text.parse().unwrap();
        for address in blocks.iter().map(|(first, _)| *first).chain([Ipv4Addr::from_bits(probe)]) {
            let written = blocks.iter().any(|(first, prefix)| network4(address, *prefix) == *first);
            prop_assert_eq!(set.contains(address.into()), written);
        }
        let AddressSet::Blocks { ipv4, .. } = set else { panic!("blocks") };
        for (at, (first, _)) in ipv4.iter().enumerate() {
            let within = |(other, prefix): &(Ipv4Addr, u8)| network4(*first, *prefix) == *other;
            prop_assert!(!ipv4.iter().enumerate().any(|(other, block)| other != at && within(block)));
        }
    }
}
