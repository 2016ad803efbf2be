//! A store of an old backup takes nothing away.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_set_back_takes_nothing_away_until_something_is_applied() {
    for kept in [0, 1] {
        let hub = Arc::<Hub>::default();
        let planes = [hub.join(0).await.0, hub.join(1).await.0];
        let mut backup = Stored::default();
        for number in 1..4 {
            let services: Vec<u8> = (1..=number).collect();
            let applied = planes[0]
                .apply(configuration(&services), Path::new(""))
                .await;
            applied.expect("written");
            if number == kept {
                backup = hub.stored();
            }
        }
        let revision = |state: &State| state.status().revision.number;
        let told = |state: &State| {
            state
                .status()
                .conditions
                .iter()
                .any(|one| one.reason == "StoreSetBack")
        };
        for state in &planes {
            until("all have it", || revision(state) == 3).await;
        }
        hub.restore(backup);
        for state in &planes {
            until("it is told", || told(state)).await;
            assert_eq!((revision(state), state.status().services.len()), (3, 3));
        }
        let applied = planes[1]
            .apply(configuration(&[1, 2, 3, 4]), Path::new(""))
            .await;
        assert_eq!(
            applied.expect("written").expect("new").number,
            u64::from(kept) + 1
        );
        for state in &planes {
            until("it is in force", || state.status().services.len() == 4).await;
            until("and it was said", || !told(state)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_a_store_has_forgotten_stay_until_their_lease_would_end() {
    for is_beyond in [false, true] {
        let hub = Arc::<Hub>::default();
        let (state, _) = hub.join(0).await;
        let services = configuration(&[1]);
        state.apply(services, Path::new("")).await.expect("written");
        let other: InstanceName = "bank/s1/b".parse().expect("valid");
        for name in [&name(), &other] {
            state.enter(name, instance()).await.expect("registered");
        }
        let before = *state.0.position.borrow();
        match is_beyond {
            true => hub.restore_beyond(hub.stored()),
            false => hub.restore(hub.stored()),
        }
        let at = || *state.0.position.borrow();
        until("it was heard of", || at() != before).await;
        assert_eq!(endpoints(&state), 2);
        let said = || state.0.departures.borrow().acknowledgement();
        let at = at();
        assert!(said().covers(at) && !said().covers(at + 1), "{:?}", said());
        let lease = state.enter(&name(), instance()).await.expect("registered");
        let later = Instant::now() + LEASE;
        let ended = lock(&state.0.registry).instances.expire(later);
        assert_eq!(ended, [other], "one has come back");
        let identity = instance().identity;
        state
            .leave(&name(), &lease, &identity)
            .await
            .expect("known");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_lease_ended_while_nobody_reached_the_store_stays_for_another_one() {
    let hub = Arc::<Hub>::default();
    let (state, _) = hub.join(0).await;
    let services = configuration(&[1]);
    state.apply(services, Path::new("")).await.expect("written");
    let named = |name: &str| -> InstanceName { format!("bank/s1/{name}").parse().expect("valid") };
    let names = ["ended", "ends-soon", "back", "leaves"].map(named);
    let mut leases = Vec::new();
    for name in &names {
        leases.push(state.enter(name, instance()).await.expect("registered"));
    }
    let [ended, ends_soon, back, leaves] = &names;
    let mut position = *state.0.position.borrow();
    let mut say = async |event: &dyn Fn(u64) -> Event| {
        position += 1;
        let events = vec![event(position)];
        hub.send(&Batch { position, events });
        until("it was heard of", || *state.0.position.borrow() == position).await;
    };
    let registration = |index: usize| Registration {
        name: names[index].clone(),
        instance: instance(),
        lease: leases[index].clone(),
    };
    say(&|_| Event::Missed(vec![registration(1), registration(3)])).await;
    assert_eq!(endpoints(&state), 4, "nobody is taken out at once");
    say(&|at| Event::Lapsed(ends_soon.clone(), at)).await;
    assert_eq!(endpoints(&state), 4, "also whose lease ends a moment later");
    say(&|_| Event::Put(registration(2).into())).await;
    say(&|at| Event::Gone(leaves.clone(), at)).await;
    assert_eq!(endpoints(&state), 3, "who leaves has left");
    let later = Instant::now() + LEASE;
    let gone = lock(&state.0.registry).instances.expire(later);
    assert_eq!(gone, [ended.clone(), ends_soon.clone()]);
    lock(&state.0.registry).doubts_until = Some(Instant::now());
    say(&|at| Event::Lapsed(back.clone(), at)).await;
    assert_eq!(endpoints(&state), 0, "and then a lease that ends is one");
}
