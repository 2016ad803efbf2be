//! Which services nobody waits for.

use super::*;

#[test]
fn a_service_whose_sidecars_all_only_call_is_not_missing() {
    let proxy = |node: &str, only_calls| ProxyReport {
        node: node.to_owned(),
        only_calls,
        ..ProxyReport::default()
    };
    let proxies = [
        proxy("shop/web/i1", true),
        proxy("shop/web/i2", true),
        proxy("shop/api/i3", true),
        // This one's instance is leaving, or not registered yet.
        proxy("shop/api/i4", false),
    ];
    let service = |name: &str| ServiceReport {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        ..ServiceReport::default()
    };
    let mut services = ["web", "api", "none"].map(service);
    note_callers(&mut services, &proxies);
    let callers: Vec<&str> = services
        .iter()
        .filter(|one| one.only_calls)
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(callers, ["web"]);
}
