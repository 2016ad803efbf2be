//! Admission against a control plane in this process.

use std::time::Duration;

use super::*;
use crate::control_plane::fake::{Fake, WORKLOAD};

fn question(fake: &Fake, control_plane: ControlPlane, service: &str) -> Question {
    Question {
        control_plane,
        material: Arc::new(ArcSwap::from_pointee(fake.authority.material(WORKLOAD))),
        service: service.parse().unwrap(),
        instance: "i".parse().unwrap(),
        serves: false,
        standing: Standing::default(),
        again: Duration::from_millis(10),
    }
}

async fn eventually(standing: &Standing, wanted: impl Fn(&super::super::standing::Facts) -> bool) {
    let seen = async {
        while !wanted(&standing.load()) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
    assert!(seen.is_ok(), "{:?}", standing.load());
}

#[tokio::test]
async fn an_identity_is_admitted_to_its_service_and_refused_by_others_with_both_names() {
    let fake = Fake::start().await;
    let own = question(&fake, fake.control_plane.clone(), "bank/transaction");
    let standing = own.standing.clone();
    tokio::spawn(own.ask());
    eventually(&standing, |facts| facts.admission == Admission::Admitted).await;

    let other = question(&fake, fake.control_plane.clone(), "bank/account");
    let standing = other.standing.clone();
    tokio::spawn(other.ask());
    eventually(&standing, |facts| match &facts.admission {
        Admission::Refused(reason) => {
            reason.contains("transaction") && reason.contains("bank/account")
        }
        Admission::Pending | Admission::Admitted => false,
    })
    .await;
}

#[tokio::test]
async fn a_control_plane_that_is_not_there_is_named_with_what_to_do() {
    let fake = Fake::start().await;
    let nobody = question(&fake, ControlPlane::new("127.0.0.1:1"), "bank/transaction");
    let standing = nobody.standing.clone();
    tokio::spawn(nobody.ask());
    eventually(&standing, |facts| {
        facts.waiting_for.as_deref().is_some_and(|reason| {
            reason.contains("control plane 127.0.0.1:1 does not answer")
                && reason.contains("usher serve")
        })
    })
    .await;
}

#[tokio::test]
async fn an_admission_that_is_taken_back_is_told_and_so_is_its_return() {
    let fake = Fake::start().await;
    let own = question(&fake, fake.control_plane.clone(), "bank/transaction");
    let standing = own.standing.clone();
    tokio::spawn(own.ask());
    let answers = async |status: Option<Status>, wanted: Admission| {
        *fake.admission.lock().unwrap() = status;
        eventually(&standing, |facts| facts.admission == wanted).await;
    };
    answers(None, Admission::Admitted).await;
    let refusal = Status::permission_denied("its workload is gone");
    let refused = Admission::Refused("its workload is gone".into());
    answers(Some(refusal.clone()), refused.clone()).await;
    let older = Status::unimplemented("no such method");
    answers(Some(older), Admission::Admitted).await;
    answers(Some(refusal), refused).await;
}

#[tokio::test]
async fn a_control_plane_that_goes_away_takes_no_admission_back() {
    let nobody = question(
        &Fake::start().await,
        ControlPlane::new("127.0.0.1:1"),
        "bank/transaction",
    );
    assert!(
        !nobody.unanswered(&Status::unavailable("away")),
        "soon again"
    );
    assert!(nobody.standing.load().waiting_for.is_some());
    assert!(nobody.admitted("admitted"));
    assert!(nobody.unanswered(&Status::unavailable("away")));
    assert_eq!(nobody.standing.load().admission, Admission::Admitted);
    assert_eq!(nobody.standing.load().waiting_for, None);
}

#[tokio::test]
async fn what_is_not_meant_is_said_once_and_remarks_are_passed_on_when_they_change() {
    let fake = Fake::start().await;
    let mut own = question(&fake, fake.control_plane.clone(), "bank/transaction");
    own.serves = true;
    // Not by the clock: what changes is told at once.
    own.again = Duration::from_secs(3600);
    let standing = own.standing.clone();
    tokio::spawn(own.ask());
    eventually(&standing, |facts| facts.admission == Admission::Admitted).await;
    let facts = standing.load();
    assert!(facts.uncalled);
    assert_eq!(facts.notices, ["nobody can call it"]);
    standing.tell(|facts| facts.remarks.push("listener web".to_owned()));
    let told = async {
        while fake.calls() != [r#"remarks ["listener web"]"#] {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(10), told).await;
    assert!(told.is_ok(), "{:?}", fake.calls());
    assert_eq!(standing.load().notices, ["nobody can call it"]);
}
