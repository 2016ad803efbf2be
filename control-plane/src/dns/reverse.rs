//! Names of addresses that are the mesh's own to give: all of `virtualCidr`, whether a service has one or not. Pure.
//!
//! Nobody else can know anything of such an address, so that there is no name is said here (RFC 2308), and asked nowhere:
//! it would tell the world, and the asker would wait for it. Zones end between labels, hence a block of /12 is sixteen of
//! them, each of a /16.

use std::net::IpAddr;

use hickory_proto::rr::{Name as DnsName, RecordType};
use usher_config::kind::VirtualCidr;

use super::{Asked, View};

/// `in-addr.arpa`, `ip6.arpa`.
const STEM_LABELS: usize = 2;

/// Hexadecimal digits before the address that stands for an IPv4 one (`::ffff:0:0/96`).
const MAPPED_DIGITS: usize = 24;

/// Labels of a whole name under `in-addr.arpa`, which is what every shorter one is of, too.
const LABELS_V4: usize = STEM_LABELS + 4;

/// The zone that a name of addresses is in, if that is ours.
pub(super) fn zone(name: &DnsName, asked: &Asked, block: VirtualCidr) -> Option<DnsName> {
    let octets = usize::from(block.prefix().div_ceil(8));
    match asked {
        Asked::Elsewhere | Asked::Here { .. } | Asked::Address(IpAddr::V6(_)) => None,
        Asked::Address(IpAddr::V4(address)) => block.contains(*address).then(|| {
            let labels = match usize::from(name.num_labels()) {
                LABELS_V4 => octets,
                _ => MAPPED_DIGITS + usize::from(block.prefix().div_ceil(4)),
            };
            name.trim_to(STEM_LABELS + labels)
        }),
        Asked::Addresses { first, known, .. } => {
            (block.contains(*first) && *known >= octets).then(|| name.trim_to(STEM_LABELS + octets))
        }
    }
}

/// Whether a question is answered here, or by others.
pub(super) fn is_ours(name: &DnsName, record_type: RecordType, asked: &Asked, view: &View) -> bool {
    match asked {
        Asked::Here { .. } => true,
        Asked::Elsewhere => false,
        // Of an address that is not the mesh's to give and that it has, it knows the name and nothing else.
        Asked::Address(_) if record_type == RecordType::PTR && !view.named.is_empty() => true,
        Asked::Address(_) | Asked::Addresses { .. } => {
            let block = view.virtual_block;
            block.is_some_and(|block| zone(name, asked, block).is_some())
        }
    }
}
