//! An etcd of three members: any one of them may die.

use super::*;

#[test]
fn a_member_that_dies_costs_no_commit_and_no_registration() {
    let Some(mut servers) = Server::start_members(3) else {
        return;
    };
    let runtime = Runtime::new().expect("runtime");
    let options = EtcdOptions {
        members: servers.iter().map(|server| server.client.clone()).collect(),
        ..servers[0].options("/members")
    };
    let store = runtime.block_on(connect(options));
    let health = store.health();
    let name = "bank/account/a".parse().expect("valid");
    let registered = runtime.block_on(store.register(&name, instance("account"), &|_| true));
    let (lease, _) = registered.expect("registered");
    for number in 1..=6 {
        // Whichever is used, and whichever leads, is among those that die, one at a time.
        let victim = &mut servers[usize::try_from(number).expect("small") % 3];
        victim.kill();
        let began = Instant::now();
        while store.commit(&commit(number, &["a"], &[])).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{:?}",
                *health.borrow()
            );
        }
        assert_eq!(store.load().expect("loaded").number(), number);
        assert_eq!(runtime.block_on(store.renew(&lease)), Ok(()));
        victim.run();
    }
}
