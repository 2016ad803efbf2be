//! What is said of an object, for everything that may be known of it.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, SystemTime},
};

use usher_config::{kind::ObjectKey, parse::parse_files};

use super::*;
use crate::{
    compile::{Compiled, compile, reach::Reach},
    registry::{World, object_key},
    status::{NackReport, ProxyReport, Refusals},
};

const BANK: &str = "
apiVersion: v1
kind: Service
metadata: {name: account, namespace: bank}
spec: {selector: {app: account}, ports: [{port: 8080}]}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: account, namespace: bank, labels: {app: account}}
spec: {serviceAccount: account}
---
apiVersion: usher.dev/v1alpha1
kind: Workload
metadata: {name: teller, namespace: bank}
spec: {serviceAccount: teller}
";

fn compiled() -> Compiled {
    let parsed = parse_files(&[("bank.yaml".into(), BANK.to_owned())]);
    let reading = World::default().read(&parsed, Path::new(""), SystemTime::UNIX_EPOCH);
    assert_eq!(reading.rejected, []);
    compile(&reading.world)
}

fn proxy(name: &str, calls: &[&str], applied: u64) -> ProxyReport {
    ProxyReport {
        node: format!("bank/{name}/i1"),
        identity: format!("spiffe://usher.local/ns/bank/sa/{name}"),
        calls: calls.iter().map(|&one| one.to_owned()).collect(),
        applied,
        ..ProxyReport::default()
    }
}

fn callers_and_itself() -> Reach {
    let account: BTreeSet<_> = ["bank/account".parse().expect("valid")].into();
    Reach {
        services: account.clone(),
        inbound: account,
        ..Reach::default()
    }
}

fn found(reason: &str, message: &str) -> Condition {
    Condition {
        object: "TrafficPolicy bank/patience".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

/// Of an object of revision 3, when 5 is the newest.
fn told(
    found: &[Condition],
    refused: Option<&RejectedObject>,
    reached: &Reached<'_>,
) -> Vec<(String, ConditionStatus, String, String)> {
    let found: Vec<&Condition> = found.iter().collect();
    let known = Known {
        revision: Some(3),
        newest: 5,
        refused,
        unreadable: None,
        waits: None,
        found: &found,
        reached,
    };
    let all = conditions(&known).into_iter();
    all.map(|one| (one.r#type, one.status, one.reason, one.message))
        .collect()
}

fn of<'t>(
    told: &'t [(String, ConditionStatus, String, String)],
    name: &str,
) -> (ConditionStatus, &'t str, &'t str) {
    let found = told.iter().find(|(of, ..)| of == name);
    let (_, status, reason, message) = found.unwrap_or_else(|| panic!("{name} in {told:?}"));
    (*status, reason, message)
}

#[test]
fn programmed_counts_those_who_are_told_of_it_and_names_those_who_lack_it() {
    let compiled = compiled();
    let reach = callers_and_itself();
    let mut all = vec![
        proxy("account", &[], 5),
        proxy("teller", &["bank/account"], 2),
        // Calls something else: nothing of this object is its matter.
        proxy("teller", &["bank/ledger"], 0),
        // May not be the service: it is told nothing about it.
        ProxyReport {
            identity: "spiffe://usher.local/ns/bank/sa/teller".to_owned(),
            ..proxy("account", &[], 0)
        },
    ];
    let proxies = Proxies::new(&all, &compiled);
    let reached = proxies.reached(Some(&reach));
    assert_eq!((reached.programmed(3), reached.of()), (1, 2));
    let pending = told(&[], None, &reached);
    let (status, reason, message) = of(&pending, "Programmed");
    assert_eq!((status, reason), (ConditionStatus::False, "Pending"));
    assert_eq!(message, "1/2: not yet in bank/teller/i1");

    // Refused under the revision of the object: applied, but without the service.
    all[1] = ProxyReport {
        refuses: Refusals {
            services: [("bank/account".to_owned(), 3)].into(),
            ..Refusals::default()
        },
        last_nack: Some(NackReport {
            revision: 3,
            message: "weights add up to 0".to_owned(),
            at: String::new(),
        }),
        ..proxy("teller", &["bank/account"], 3)
    };
    let proxies = Proxies::new(&all, &compiled);
    let refused = told(&[], None, &proxies.reached(Some(&reach)));
    let (status, reason, message) = of(&refused, "Programmed");
    assert_eq!((status, reason), (ConditionStatus::False, "Refused"));
    assert_eq!(
        message,
        "1/2: bank/teller/i1 refused revision 3: weights add up to 0"
    );

    // Of a later revision: what came with this one it has.
    all[1].refuses.services = [("bank/account".to_owned(), 4)].into();
    let proxies = Proxies::new(&all, &compiled);
    let reached = proxies.reached(Some(&reach));
    assert_eq!((reached.programmed(3), reached.programmed(4)), (2, 1));

    all[1] = proxy("teller", &["bank/account"], 3);
    let proxies = Proxies::new(&all, &compiled);
    let done = told(&[], None, &proxies.reached(Some(&reach)));
    assert_eq!(
        of(&done, "Programmed"),
        (
            ConditionStatus::True,
            "Programmed",
            "2/2 proxies run revision 3"
        )
    );
    assert_eq!(of(&done, "Accepted").0, ConditionStatus::True);
    assert_eq!(of(&done, "ResolvedRefs").0, ConditionStatus::True);
}

#[test]
fn what_another_proxy_refused_of_another_service_is_not_this_objects_matter() {
    let compiled = compiled();
    let reach = callers_and_itself();
    let all = [ProxyReport {
        refuses: Refusals {
            services: [("bank/ledger".to_owned(), 3)].into(),
            ..Refusals::default()
        },
        ..proxy("teller", &["bank/account", "bank/ledger"], 5)
    }];
    let proxies = Proxies::new(&all, &compiled);
    let all = told(&[], None, &proxies.reached(Some(&reach)));
    assert_eq!(of(&all, "Programmed").0, ConditionStatus::True);
}

#[test]
fn an_object_without_any_effect_is_not_accepted_and_one_with_some_says_which_part_has_none() {
    let compiled = compiled();
    let proxies = Proxies::new(&[], &compiled);
    let reach = callers_and_itself();
    for reason in ["Conflicted", "TargetNotFound", "NotAllowedByListeners"] {
        let why = [found(reason, "Service bank/x does not exist")];
        let nothing = told(&why, None, &proxies.reached(None));
        let accepted = of(&nothing, "Accepted");
        let message = "Service bank/x does not exist";
        assert_eq!(accepted, (ConditionStatus::False, reason, message));
        assert_eq!(of(&nothing, "Programmed").1, "NotAccepted");

        let partly = told(&why, None, &proxies.reached(Some(&reach)));
        assert_eq!(of(&partly, "Accepted").0, ConditionStatus::True);
        let part = of(&partly, "PartiallyInvalid");
        assert_eq!(part, (ConditionStatus::True, reason, message));
        // Nobody is there whom it could be told.
        assert_eq!(of(&partly, "Programmed").0, ConditionStatus::Unknown);
    }
}

#[test]
fn references_and_warnings_leave_it_accepted() {
    let compiled = compiled();
    let proxies = Proxies::new(&[], &compiled);
    let reach = callers_and_itself();
    let why = [
        found("RefNotPermitted", "Service shop/x is another namespace's"),
        found("RefNotResolved", "Service bank/y does not exist"),
        found("LateFallback", "too late"),
    ];
    let all = told(&why, None, &proxies.reached(Some(&reach)));
    assert_eq!(of(&all, "Accepted").0, ConditionStatus::True);
    let (status, reason, message) = of(&all, "ResolvedRefs");
    assert_eq!(
        (status, reason),
        (ConditionStatus::False, "RefNotPermitted")
    );
    assert!(message.contains("shop/x") && message.contains("RefNotResolved: Service bank/y"));
    assert_eq!(of(&all, "Warning").1, "LateFallback");
}

#[test]
fn a_refused_text_is_told_with_its_place_beside_what_goes_on_running() {
    let compiled = compiled();
    let reach = callers_and_itself();
    let all = [proxy("account", &[], 5)];
    let proxies = Proxies::new(&all, &compiled);
    let mistake = |at: &str| MistakeReport {
        at: at.to_owned(),
        path: "spec.retry.attempts".to_owned(),
        message: "found `many`, allowed: 0 to 10".to_owned(),
    };
    let refused = RejectedObject {
        object: "TrafficPolicy bank/patience".to_owned(),
        last_good: true,
        mistakes: vec![mistake("retries.yaml:7:5"), mistake("retries.yaml:8:5")],
    };
    let kept = told(&[], Some(&refused), &proxies.reached(Some(&reach)));
    let (status, reason, message) = of(&kept, "Accepted");
    assert_eq!((status, reason), (ConditionStatus::False, "Invalid"));
    assert_eq!(
        message,
        "retries.yaml:7:5: spec.retry.attempts: found `many`, allowed: 0 to 10 (and 1 more: usher status); \
         the version of revision 3 stays in force"
    );
    assert_eq!(of(&kept, "Programmed").0, ConditionStatus::True);
    assert_eq!(of(&kept, "ResolvedRefs").0, ConditionStatus::True);
}

#[test]
fn what_waits_for_a_held_revision_is_told_beside_what_goes_on_running() {
    let compiled = compiled();
    let reach = callers_and_itself();
    let all = [proxy("account", &[], 5)];
    let proxies = Proxies::new(&all, &compiled);
    for (revision, reach, fate, programmed) in [
        (
            Some(3),
            Some(&reach),
            "the version of revision 3 stays in force",
            ConditionStatus::True,
        ),
        (
            None,
            None,
            "no version of it is in force",
            ConditionStatus::False,
        ),
    ] {
        let all = conditions(&Known {
            revision,
            newest: 5,
            refused: None,
            unreadable: None,
            waits: Some(4),
            found: &[],
            reached: &proxies.reached(reach),
        });
        let said = |of: &str| all.iter().find(|one| one.r#type == of).expect("said");
        let accepted = said("Accepted");
        assert_eq!(accepted.status, ConditionStatus::False);
        assert_eq!(accepted.reason, "RevisionHeld");
        assert_eq!(accepted.observed_revision, 5);
        for part in ["revision 4 is held", "usher rollback --release", fate] {
            assert!(accepted.message.contains(part), "{}", accepted.message);
        }
        assert_eq!(said("Programmed").status, programmed);
    }
}

#[test]
fn since_when_is_kept_as_long_as_the_status_and_forgotten_with_the_object() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let key: ObjectKey = object_key("TrafficPolicy bank/patience").expect("valid");
    let mut transitions = Transitions::default();
    let mut look = |status, now, is_there: bool| {
        let mut conditions = ["Accepted", "Programmed"].map(|of| ConditionReport {
            r#type: of.to_owned(),
            status,
            ..ConditionReport::default()
        });
        let object = (&key, Some(at(10)), conditions.as_mut_slice());
        transitions.stamp(is_there.then_some(object).into_iter(), at(now));
        conditions.map(|one| one.last_transition_time)
    };
    use ConditionStatus::{False, True};
    let text = |seconds| crate::clock::text(at(seconds));
    // Accepted when it was accepted; of the rest only now is known.
    assert_eq!(look(True, 50, true), [text(10), text(50)]);
    assert_eq!(look(True, 60, true), [text(10), text(50)]);
    assert_eq!(look(False, 70, true), [text(70), text(70)]);
    assert_eq!(look(False, 80, true), [text(70), text(70)]);
    look(False, 90, false);
    assert_eq!(look(False, 100, true), [text(100), text(100)]);
}

#[test]
fn a_policy_that_never_was_valid_is_not_accepted() {
    let compiled = compiled();
    let reach = callers_and_itself();
    let proxies = Proxies::new(&[], &compiled);
    let unread = RejectedObject {
        object: "guard.yaml".to_owned(),
        last_good: false,
        mistakes: Vec::new(),
    };
    for (unreadable, status, reason) in [
        (None, ConditionStatus::False, "NeverValid"),
        (Some(&unread), ConditionStatus::Unknown, "FileUnreadable"),
    ] {
        let all = conditions(&Known {
            revision: None,
            newest: 5,
            refused: None,
            unreadable,
            waits: None,
            found: &[],
            reached: &proxies.reached(Some(&reach)),
        });
        let accepted = all.iter().find(|one| one.r#type == "Accepted");
        let accepted = accepted.expect("said");
        assert_eq!((accepted.status, &*accepted.reason), (status, reason));
        assert_eq!(accepted.observed_revision, 5);
    }
}

#[test]
fn of_many_findings_a_condition_tells_the_first_ones() {
    let compiled = compiled();
    let proxies = Proxies::new(&[], &compiled);
    let reach = callers_and_itself();
    let why: Vec<Condition> = (0..1000)
        .map(|number| {
            found(
                "RefNotResolved",
                &format!("Service bank/s{number} does not exist"),
            )
        })
        .collect();
    let all = told(&why, None, &proxies.reached(Some(&reach)));
    let (_, _, message) = of(&all, "ResolvedRefs");
    assert!(
        message.contains("bank/s4 ") && !message.contains("bank/s5 "),
        "{message}"
    );
    assert!(message.contains("and 995 more"), "{message}");
}

#[test]
fn a_route_that_others_are_asked_before_is_accepted_and_says_what_it_does_not_get() {
    let compiled = compiled();
    let reach = callers_and_itself();
    let all = [proxy("teller", &["bank/account"], 5)];
    let proxies = Proxies::new(&all, &compiled);
    let shadowed = found("Shadowed", "no request reaches it: rule 0 of HTTPRoute a/b");
    let told = told(&[shadowed], None, &proxies.reached(Some(&reach)));
    assert_eq!(of(&told, "Accepted").0, ConditionStatus::True);
    let (status, reason, message) = of(&told, "PartiallyInvalid");
    assert_eq!((status, reason), (ConditionStatus::True, "Shadowed"));
    assert_eq!(message, "no request reaches it: rule 0 of HTTPRoute a/b");
}
