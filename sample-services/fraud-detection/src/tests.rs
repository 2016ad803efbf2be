//! Facts about the model and the history.

use bank_chassis::proto::fraud::Decision;
use bank_chassis::settings::Setting;

use super::*;
use crate::model::Features;

const REGULAR: Features = Features {
    amount_cents: 2_500.0,
    payments: 40,
    mean_cents: 2_500.0,
    deviation_cents: 1_000.0,
    payee_is_new: false,
    last_minute: 1,
};

#[test]
fn the_more_unusual_the_higher_the_score() {
    let cases = [
        (REGULAR, Decision::Approve),
        (
            Features {
                payee_is_new: true,
                last_minute: 60,
                ..REGULAR
            },
            Decision::Approve,
        ),
        (
            Features {
                amount_cents: 8_500.0,
                ..REGULAR
            },
            Decision::Review,
        ),
        (
            Features {
                amount_cents: 99_000.0,
                payee_is_new: true,
                ..REGULAR
            },
            Decision::Decline,
        ),
    ];
    let mut last = 0.0;
    for (features, decision) in cases {
        let answer = features.score();
        assert_eq!(
            answer.decision(),
            decision,
            "{features:?} scored {}",
            answer.score
        );
        assert!(answer.score > last, "{features:?}");
        last = answer.score;
    }
}

#[test]
fn the_weightiest_reason_comes_first() {
    let features = Features {
        amount_cents: 6_000.0,
        payee_is_new: true,
        last_minute: 30,
        ..REGULAR
    };
    assert_eq!(
        features.score().reasons,
        ["unusual-amount", "new-payee", "velocity"]
    );
}

#[test]
fn a_new_account_has_no_habits_to_break() {
    let features = Features {
        amount_cents: 900_000.0,
        payee_is_new: true,
        ..Features::default()
    };
    assert_eq!(features.score().decision(), Decision::Approve);
}

async fn open(folder: &tempfile::TempDir) -> Database {
    let path = folder.path().join("fraud.db");
    let url = DatabaseUrl::parse(path.to_str().expect("text")).expect("path");
    Database::open(&url, Durability::ProcessDeath, &MIGRATIONS)
        .await
        .expect("opened")
}

fn payment(id: usize, amount_cents: i64) -> Assess {
    let payment = AssessRequest {
        payment_id: format!("p{id}"),
        from_account: "a".into(),
        to_account: "b".into(),
        amount_cents,
        currency: "EUR".into(),
    };
    Assess { payment }
}

#[tokio::test]
async fn history_makes_an_unusual_amount_stand_out() {
    let folder = tempfile::tempdir().expect("folder");
    let database = open(&folder).await;
    let (writer, _task) = Writer::start(&database);
    for id in 0..20 {
        let answer = writer.submit(payment(id, 2_000)).await.expect("assessed");
        assert_eq!(answer.decision(), Decision::Approve);
    }
    let answer = writer.submit(payment(20, 500_000)).await.expect("assessed");
    assert_eq!(answer.decision(), Decision::Decline, "{answer:?}");
    assert_eq!(
        answer.reasons.first().map(String::as_str),
        Some("unusual-amount")
    );
}

#[tokio::test]
async fn a_repeated_question_is_answered_as_the_first_time_and_learned_once() {
    let folder = tempfile::tempdir().expect("folder");
    let database = open(&folder).await;
    let (writer, _task) = Writer::start(&database);
    let first = writer.submit(payment(1, 2_000)).await.expect("assessed");
    let again = writer.submit(payment(1, 2_000)).await.expect("assessed");
    assert_eq!(first, again);
    let learned: i64 = sqlx::query_scalar("SELECT sum(payments) FROM habits")
        .fetch_one(&database.readers)
        .await
        .expect("count");
    assert_eq!(learned, 1);
}
